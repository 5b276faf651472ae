"""Many rows at once: as few statements as the database allows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

from sqlalchemy import update
from sqlalchemy.orm import Session


def insert_rows(
    session: Session, table: type[Any], names: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows; each has one value for each of the columns."""
    connection = session.connection()
    kinds = [table.__table__.c[name].type.dialect_impl(connection.dialect) for name in names]
    binds = [kind.bind_processor(connection.dialect) for kind in kinds]
    columns = [
        values if bind is None else map(bind, values)
        for values, bind in zip(zip(*rows, strict=True), binds, strict=True)
    ]
    bound = zip(*columns, strict=True)
    places = f"{table.__tablename__} ({', '.join(names)})"  # our own tables and columns
    if connection.dialect.name == "postgresql":
        cursor = cast("Any", connection.connection.cursor())
        with cursor.copy(f"COPY {places} FROM STDIN") as copy:
            for row in bound:
                copy.write_row(row)
        return
    # One statement for all of them: the driver holds the interpreter's lock between statements
    # only, so that the next rows are made meanwhile.
    marks = ", ".join([f"({', '.join('?' * len(names))})"] * len(rows))
    statement = f"INSERT INTO {places} VALUES {marks}"  # noqa: S608
    connection.exec_driver_sql(statement, tuple(chain.from_iterable(bound)))


def update_rows(session: Session, table: type[Any], rows: Sequence[dict[str, Any]]) -> None:
    """Change rows by primary key; those with different columns are sent apart."""
    by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        by_columns.setdefault(tuple(row), []).append(row)
    for group in by_columns.values():
        session.execute(update(table), group)
