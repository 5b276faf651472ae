"""Engines and transactions: the same rules on SQLite and on PostgreSQL.

A reading transaction sees one state of the database. Writing transactions on the same matter come
one after the other, so that what one of them has read is still true when it writes.

On SQLite each of them begins with BEGIN IMMEDIATE: a transaction that first reads and then writes
under a deferred BEGIN fails with "database is locked" as soon as another writer came between, and
no busy timeout helps it. SQLite has one writer at a time, whatever the matter is.

On PostgreSQL each first takes an advisory lock for its matter: a dataset, the jobs, the people. One
that names none excludes all others. Readers never wait.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from clsl_core.errors import DatabaseError, InputError
from db.file_identity import FileIdentity
from db.turns import IMMEDIATE, Turns

BUSY_TIMEOUT_MS = 30_000
KEPT_CONNECTIONS = 20
"""To a server, of one process; more are closed after their use, and opening one costs the server
a process. As many requests as that come at once when many people answer."""
SMALL_CACHE = 2
"""Megabytes of pages that a connection to SQLite holds, as SQLite itself has it."""
WRITERS = 0x636C736C
"""Number of the advisory locks that PostgreSQL's writing transactions take: "clsl"."""

Matter = int | str
"""What a transaction writes about: a dataset's id, or a word."""
JOBS: Matter = "jobs"
PEOPLE: Matter = "people"

BACKENDS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


class Database:
    """One database, and the only way to a session.

    Args:
        url: ``sqlite:///…`` or ``postgresql://…``.

    Raises:
        InputError: The URL names another kind of database, or cannot be read.
        DatabaseError: The driver for PostgreSQL is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = _checked(url)
        self._turns = Turns(self.url.database, BUSY_TIMEOUT_MS / 1000)
        self._file = FileIdentity(self.url)
        self.engine = _make_engine(self.url, self._turns, self._file)
        self._writing = self.engine.execution_options(clsl_begin=IMMEDIATE)
        reading = self.engine
        if self.shared:
            reading = self.engine.execution_options(isolation_level="REPEATABLE READ")
        self._read = sessionmaker(reading, expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading; whatever it changed is rolled back.

        Raises:
            DatabaseError: The disk or the server gave up, or the file is not the one it was.
        """
        with self.explained(), self._read() as session:
            self._file.require(session.connection().info)
            yield session

    @contextmanager
    def write(
        self, matter: Matter | None = None, *, cache_megabytes: int = SMALL_CACHE
    ) -> Iterator[Session]:
        """A session in a writing transaction: committed at the end, rolled back on an error.

        Args:
            matter: Only transactions on the same matter, and those that name none, exclude one
                another on PostgreSQL. None excludes all: right for whatever touches several.
            cache_megabytes: What SQLite may hold in memory meanwhile. A transaction that changes
                more writes the same pages again and again.

        Raises:
            DatabaseError: The disk or the server gave up, or the file is not the one it was;
                nothing was stored.
        """
        with (
            self.writing(matter, cache_megabytes=cache_megabytes) as transaction,
            transaction() as session,
        ):
            yield session

    @contextmanager
    def writing(
        self,
        matter: Matter | None = None,
        *,
        cache_megabytes: int = SMALL_CACHE,
        check_references: bool = True,
    ) -> Iterator[Callable[[], AbstractContextManager[Session]]]:
        """As ``write``, for several transactions one after another on the same connection.

        Args:
            matter: As for ``write``.
            cache_megabytes: As for ``write``.
            check_references: Whether SQLite looks up each row that a new row points to. Leave it
                out only where all of them are sure to be there.

        Yields:
            Begins the next one; others may write before it is called again.
        """
        with self.explained(), self._writing.connect() as connection:

            @contextmanager
            def transaction() -> Iterator[Session]:
                self._file.require(connection.info)
                with Session(connection, expire_on_commit=False) as session, session.begin():
                    wait_for_writers(session.connection(), matter)
                    yield session
                self._file.require(connection.info)  # before anybody says that it is stored

            if self.shared or (cache_megabytes == SMALL_CACHE and check_references):
                yield transaction
                return
            _configure(connection, cache_megabytes, check_references)
            try:
                yield transaction
            finally:
                _configure(connection, SMALL_CACHE, True)

    def analyse(self, *tables: type[DeclarativeBase]) -> None:
        """Let PostgreSQL count anew what tables hold, after very much was written to them.

        Its own counting comes up to a minute later, and until then it reads a queue of 200,000
        proposals whole instead of the first few through the index: 690 ms instead of 2.
        """
        if not self.shared:
            return
        names = ", ".join(table.__tablename__ for table in tables)
        with self.explained(), self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"ANALYZE {names}")

    def also(self, session: Session, matter: Matter) -> None:
        """Let a writing transaction be the only one on a further matter, too."""
        wait_for_writers(session.connection(), matter)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say what to do when the disk or the server gives up; other errors pass.

        Raises:
            DatabaseError: It did.
        """
        try:
            yield
        except DBAPIError as error:
            message = _advice(error)
            if message is None:
                raise
            raise DatabaseError(f"{message} ({self.url.render_as_string()})") from error

    def wanted(self) -> bool:
        """Whether others wait for the one writer of SQLite: a long one may let them go first."""
        return not self.shared and self._turns.wanted()

    @property
    def shared(self) -> bool:
        """Whether processes of several machines may work on it: a server, not a file."""
        return self.engine.dialect.name == "postgresql"

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def wait_for_writers(connection: Connection, matter: Matter | None = None) -> None:
    """Let the connection's transaction be the only one that writes on a matter, until it ends.

    On SQLite its BEGIN IMMEDIATE does that already.
    """
    if connection.dialect.name != "postgresql":
        return
    if matter is None:
        connection.execute(select(func.pg_advisory_xact_lock(WRITERS)))
        return
    if isinstance(matter, str):
        place = (WRITERS + 1, zlib.crc32(matter.encode()) - 2**31)
    else:
        place = (WRITERS + 2, matter)
    connection.execute(
        select(func.pg_advisory_xact_lock_shared(WRITERS), func.pg_advisory_xact_lock(*place))
    )


class Presence:
    """Shows all others that a process of some name lives: an advisory lock of its own session.

    The server lets it go by itself when the process, its machine or its network is gone. On
    SQLite, where a file lock tells who is there, nothing happens.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._connection: Connection | None = None

    def keep(self) -> None:
        """Take the lock, or take it again after the server was away.

        Raises:
            DBAPIError: The server is not there.
        """
        if not self._database.shared:
            return
        try:
            if self._connection is None:
                engine = self._database.engine.execution_options(isolation_level="AUTOCOMMIT")
                self._connection = engine.connect()
                self._connection.execute(select(func.pg_advisory_lock_shared(*_place(self._name))))
            else:
                self._connection.execute(select(1))
        except DBAPIError:
            if self._connection is not None:
                self._connection.invalidate()
            self._connection = None
            raise

    def end(self) -> None:
        """Let the lock go."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def absent(session: Session, names: Collection[str]) -> list[str]:
    """Which of some processes show no presence (PostgreSQL only; a writing transaction)."""
    return [
        name
        for name in names
        if session.scalar(select(func.pg_try_advisory_xact_lock(*_place(name))))
    ]


def _place(name: str) -> tuple[int, int]:
    """A name as the two numbers of an advisory lock."""
    return WRITERS, zlib.crc32(name.encode()) - 2**31


_ADVICE = {
    "SQLITE_FULL": "the disk is full and nothing was stored: make room, then try again",
    "SQLITE_READONLY": "the database is read-only: make the data directory writable",
    "SQLITE_CANTOPEN": "the database cannot be opened: make the data directory writable",
    "SQLITE_PERM": "the database cannot be opened: make the data directory writable",
    "SQLITE_IOERR": "the disk failed and nothing was stored: check it, and `clsl doctor`",
    "SQLITE_CORRUPT": "the database is damaged: `clsl doctor` says how, `clsl restore` helps",
    "SQLITE_NOTADB": "the file is no database: `clsl restore` brings a backup back",
    "SQLITE_BUSY": "another process kept the database for too long: try again",
    "53100": "the server's disk is full and nothing was stored: make room, then try again",
    "25006": "the server allows no writing at the moment: see its log",
    "55P03": "another process kept the database for too long: try again",
}
"""What went wrong by SQLite's name of the error or PostgreSQL's code, and what to do."""


def _advice(error: DBAPIError) -> str | None:
    name = str(getattr(error.orig, "sqlite_errorname", None) or "")
    state = str(getattr(error.orig, "sqlstate", None) or "")
    for code, message in _ADVICE.items():
        if name.startswith(code) or state == code:
            return message
    away = error.connection_invalidated or state[:2] == "08" or state[:3] == "57P"
    if away or (isinstance(error, OperationalError) and not name and not state):
        return "the database server cannot be reached: start it, or correct CLSL_DATABASE_URL"
    return None


def _checked(url: str) -> URL:
    try:
        found = make_url(url)
        driver = BACKENDS[found.get_backend_name()]
    except (ArgumentError, KeyError) as error:
        raise InputError(
            "the database URL begins with neither sqlite:/// nor postgresql://: correct "
            "CLSL_DATABASE_URL, or leave it out to use a file in the data directory"
        ) from error
    return found.set(drivername=driver)


def _make_engine(url: URL, turns: Turns, file: FileIdentity) -> Engine:
    if url.get_backend_name() == "postgresql":
        options = f"-c lock_timeout={BUSY_TIMEOUT_MS}"
        try:
            return create_engine(
                url,
                pool_pre_ping=True,
                pool_size=KEPT_CONNECTIONS,
                connect_args={"options": options},
            )
        except ModuleNotFoundError as error:
            raise DatabaseError(
                "the driver for PostgreSQL is not installed: install the extra `postgres` "
                "(pip install psycopg[binary])"
            ) from error
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "do_connect", file.before_connect)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "connect", file.connected)
    event.listen(engine, "begin", partial(_begin_sqlite, turns))
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own BEGIN is switched off, so that _begin_sqlite alone decides which one is sent.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Use the write-ahead log; for a new file SQLite does not wait until others have done so."""
    end = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.01)


def _configure(connection: Connection, cache_megabytes: int, check_references: bool) -> None:
    """SQLite's connection, outside a transaction."""
    cursor = connection.connection.cursor()
    cursor.execute(f"PRAGMA cache_size = {-1024 * cache_megabytes}")
    cursor.execute(f"PRAGMA foreign_keys = {'ON' if check_references else 'OFF'}")
    cursor.close()


def _begin_sqlite(turns: Turns, connection: Connection) -> None:
    statement = str(connection.get_execution_options().get("clsl_begin", "BEGIN"))
    if statement != IMMEDIATE:
        connection.exec_driver_sql(statement)
        return
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 0")
    try:
        if not turns.begin(cursor):
            connection.exec_driver_sql(statement)  # raises as all else does
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.close()
