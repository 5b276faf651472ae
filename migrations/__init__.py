"""The one truth of the schema, on SQLite and PostgreSQL."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine

from clsl_core.errors import DatabaseError
from db.session import wait_for_writers


def alembic_config(connection: Connection) -> Config:
    """A configuration that needs no ini file and works on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


@cache
def head() -> str | None:
    """The newest revision this program knows."""
    return ScriptDirectory(str(Path(__file__).parent)).get_current_head()


def known(revision: str) -> bool:
    """Whether this program has the migration of that name."""
    script = ScriptDirectory(str(Path(__file__).parent))
    return any(one.revision == revision for one in script.walk_revisions())


def current(engine: Engine) -> str | None:
    """The revision the database is at; None when it is empty."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest revision; nothing happens when it is there.

    Raises:
        DatabaseError: The database was made by a newer version of the program.
    """
    if current(engine) == head():
        return
    with engine.execution_options(clsl_begin="BEGIN IMMEDIATE").begin() as connection:
        wait_for_writers(connection)  # another process may be about it: then nothing is left
        try:
            command.upgrade(alembic_config(connection), "head")
        except CommandError as error:
            raise DatabaseError(
                f"the database is at revision {current(engine)}, which this version of the "
                f"program does not know (its newest is {head()}): install the newer version "
                "that made it, or point CLSL_DATA_DIR at another directory"
            ) from error
