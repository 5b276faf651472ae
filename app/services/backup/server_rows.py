"""The rows of a database on a server as files, and back: one state out, one transaction in.

The tables are not taken along but made by this program's own migrations, so that nothing in an
archive is ever run. Tables of others in the same database, such as a queue's, are left alone.
"""

from __future__ import annotations

import json
from pathlib import Path

from alembic import command

import migrations
from app.services.backup.picture_places import Places, require_known
from clsl_core.errors import DatabaseError, InputError
from db import server_rows
from db.session import Database, wait_for_writers

__all__ = ["TABLES", "read_rows", "write_rows"]

TABLES = "tables.json"
"""Names of the tables with their columns, each before those that point to it."""
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
        tables = server_rows.tables(connection)
        if server_rows.REVISION not in tables:
            raise DatabaseError(
                f"there is no database of this program at {database.url.render_as_string()}"
            )
        revision = server_rows.revision(connection, tables.pop(server_rows.REVISION))
        for table in tables.values():
            rows[table.name] = server_rows.copy_out(connection, table, _file(folder, table.name))
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
        server_rows.drop_all(connection, WAIT)
        command.upgrade(migrations.alembic_config(connection), revision)
        tables = server_rows.tables(connection)
        tables.pop(server_rows.REVISION)
        made = {name: [column.name for column in table.c] for name, table in tables.items()}
        if {name: sorted(names[name]) for name in names} != {n: sorted(made[n]) for n in made}:
            raise InputError(f"the archive's tables are not those of revision {revision}")
        for name, columns in names.items():
            # Both names are the migrations' own by now.
            server_rows.copy_in(connection, tables[name], columns, _file(folder, name))
        command.upgrade(migrations.alembic_config(connection), "head")
        require_known(server_rows.picture_places(connection), known)


def _file(folder: Path, table: str) -> Path:
    return folder / "tables" / f"{table}.copy"
