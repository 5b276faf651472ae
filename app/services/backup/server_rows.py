"""The rows of a database on a server as files, and back: one state out, one transaction in.

The tables are not taken along but made by this program's own migrations, so that nothing in an
archive is ever run. Tables of others in the same database, such as a queue's, are left alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from alembic import command
from sqlalchemy import Connection, MetaData, Table, func, inspect, select, text

import migrations
from app.services.backup.picture_places import Places, require_known
from clsl_core.errors import DatabaseError, InputError
from db.models import Base, Dataset
from db.session import Database, wait_for_writers

__all__ = ["TABLES", "read_rows", "write_rows"]

TABLES = "tables.json"
"""Names of the tables with their columns, each before those that point to it."""
REVISION = "alembic_version"
WAIT = "10s"
"""How long for others who work with the database at this moment."""


def write_rows(database: Database, folder: Path) -> tuple[str, dict[str, int]]:
    """Write every row of one moment below a folder: ``TABLES``, and a file for each table.

    Returns:
        The schema's revision, and the number of rows of each table.

    Raises:
        DatabaseError: The server cannot be reached, or holds no database of this program.
    """
    rows = {}
    (folder / "tables").mkdir()
    with database.explained(), database.engine.connect() as plain:
        connection = plain.execution_options(isolation_level="REPEATABLE READ")
        tables = _tables(connection)
        if REVISION not in tables:
            raise DatabaseError(
                f"there is no database of this program at {database.url.render_as_string()}"
            )
        revision = str(connection.scalar(select(tables.pop(REVISION).c.version_num)))
        for table in tables.values():
            cursor = cast("Any", connection.connection.cursor())
            with (
                _file(folder, table.name).open("wb") as file,
                cursor.copy(f"COPY {_columns(table)} TO STDOUT") as copy,
            ):
                for piece in copy:
                    file.write(piece)
            rows[table.name] = int(cursor.rowcount)
        columns = {name: [column.name for column in table.c] for name, table in tables.items()}
    (folder / TABLES).write_text(json.dumps(columns, indent=1))
    return revision, rows


def read_rows(database: Database, folder: Path, revision: str, known: Places | None = None) -> None:
    """Put the rows below a folder in the place of all that is there, or change nothing.

    Args:
        database: Where to.
        folder: What ``write_rows`` wrote.
        revision: That of the schema then; afterwards it is this program's newest.
        known: Where pictures may be; None for anywhere.

    Raises:
        InputError: The files are not of that revision.
        ConflictError: Pictures are in places that are not known.
        DatabaseError: The server cannot be reached, or others work with the database.
    """
    try:
        stated: dict[str, list[str]] = json.loads((folder / TABLES).read_text())
        names = {name: list(map(str, columns)) for name, columns in stated.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{TABLES} of the archive cannot be read: {error}") from error
    with database.explained(), database.engine.begin() as connection:
        wait_for_writers(connection)
        connection.execute(text(f"SET LOCAL lock_timeout = '{WAIT}'"))
        there = ", ".join(_tables(connection))
        if there:
            connection.execute(text(f"DROP TABLE {there} CASCADE"))
        command.upgrade(migrations.alembic_config(connection), revision)
        tables = _tables(connection)
        tables.pop(REVISION)
        made = {name: [column.name for column in table.c] for name, table in tables.items()}
        if {name: sorted(names[name]) for name in names} != {n: sorted(made[n]) for n in made}:
            raise InputError(f"the archive's tables are not those of revision {revision}")
        for name, columns in names.items():
            cursor = cast("Any", connection.connection.cursor())
            place = f"{name} ({', '.join(columns)})"  # both are the migrations' own names
            with (
                _file(folder, name).open("rb") as file,
                cursor.copy(f"COPY {place} FROM STDIN") as copy,
            ):
                while piece := file.read(1 << 20):
                    copy.write(piece)
            if "id" in columns:
                _count_on(connection, tables[name])
        command.upgrade(migrations.alembic_config(connection), "head")
        rows = connection.execute(select(Dataset.name, Dataset.image_root, Dataset.more_roots))
        require_known(((name, [root, *more]) for name, root, more in rows), known)


def _tables(connection: Connection) -> dict[str, Table]:
    """This program's tables that are there, each before those that point to it."""
    ours = {*Base.metadata.tables, REVISION} & set(inspect(connection).get_table_names())
    found = MetaData()
    found.reflect(connection, only=sorted(ours))
    return {table.name: table for table in found.sorted_tables if table.name in ours}


def _columns(table: Table) -> str:
    return f"{table.name} ({', '.join(column.name for column in table.c)})"


def _file(folder: Path, table: str) -> Path:
    return folder / "tables" / f"{table}.copy"


def _count_on(connection: Connection, table: Table) -> None:
    """Let the ids go on behind the ones that were brought in."""
    sequence = connection.scalar(select(func.pg_get_serial_sequence(table.name, "id")))
    newest = connection.scalar(select(func.max(table.c.id)))
    if sequence is not None and newest is not None:
        connection.execute(select(func.setval(sequence, newest)))
