"""The tables of a server's database as a whole: their rows as streams of bytes, out and in.

Names of tables and columns are this program's own, so that nothing of a stranger becomes a part
of a statement; what comes in is data to the server, never a statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, MetaData, Table, func, inspect, select, text

from db.models import Base, Dataset

REVISION = "alembic_version"
"""The table that names the schema's revision."""
_PIECE = 1 << 20


def tables(connection: Connection) -> dict[str, Table]:
    """This program's tables that are there, each before those that point to it."""
    ours = {*Base.metadata.tables, REVISION} & set(inspect(connection).get_table_names())
    found = MetaData()
    found.reflect(connection, only=sorted(ours))
    return {table.name: table for table in found.sorted_tables if table.name in ours}


def revision(connection: Connection, table: Table) -> str:
    """What the table ``REVISION`` says."""
    return str(connection.scalar(select(table.c.version_num)))


def drop_all(connection: Connection, wait: str) -> None:
    """Drop this program's tables, waiting so long (``10s``) for others who use them."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{wait}'"))
    there = ", ".join(tables(connection))
    if there:
        connection.execute(text(f"DROP TABLE {there} CASCADE"))


def copy_out(connection: Connection, table: Table, path: Path) -> int:
    """Write a table's rows to a file; returns how many they are."""
    cursor = cast("Any", connection.connection.cursor())
    place = f"{table.name} ({', '.join(column.name for column in table.c)})"
    with path.open("wb") as file, cursor.copy(f"COPY {place} TO STDOUT") as copy:
        for piece in copy:
            file.write(piece)
    return int(cursor.rowcount)


def copy_in(connection: Connection, table: Table, columns: Sequence[str], path: Path) -> None:
    """Read rows that ``copy_out`` wrote into an empty table; later ids go on behind theirs.

    Args:
        connection: Writes.
        table: Where to.
        columns: Those of the file in its order: all of the table's.
        path: The file.
    """
    cursor = cast("Any", connection.connection.cursor())
    place = f"{table.name} ({', '.join(columns)})"
    with path.open("rb") as file, cursor.copy(f"COPY {place} FROM STDIN") as copy:
        while piece := file.read(_PIECE):
            copy.write(piece)
    if "id" in columns:
        _count_on(connection, table)


def picture_places(connection: Connection) -> list[tuple[str, list[str]]]:
    """Each dataset's name, and where its pictures are."""
    rows = connection.execute(select(Dataset.name, Dataset.image_root, Dataset.more_roots))
    return [(name, [root, *more]) for name, root, more in rows]


def _count_on(connection: Connection, table: Table) -> None:
    sequence = connection.scalar(select(func.pg_get_serial_sequence(table.name, "id")))
    newest = connection.scalar(select(func.max(table.c.id)))
    if sequence is not None and newest is not None:
        connection.execute(select(func.setval(sequence, newest)))
