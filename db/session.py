"""Engines and transactions.

On SQLite every writing transaction begins with BEGIN IMMEDIATE: a transaction that first reads
and then writes under a deferred BEGIN fails with "database is locked" as soon as another writer
came between, and no busy timeout helps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

BUSY_TIMEOUT_MS = 30_000


class Database:
    """One database, and the only way to a session.

    Args:
        url: ``sqlite:///…`` or ``postgresql+psycopg://…``.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.engine = _make_engine(url)
        writing = self.engine.execution_options(clsl_begin="BEGIN IMMEDIATE")
        self._read = sessionmaker(self.engine, expire_on_commit=False)
        self._write = sessionmaker(writing, expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading; whatever it changed is rolled back."""
        with self._read() as session:
            yield session

    @contextmanager
    def write(self, cache_megabytes: int = 2) -> Iterator[Session]:
        """A session in a writing transaction: committed at the end, rolled back on an error.

        Args:
            cache_megabytes: What SQLite may hold in memory meanwhile. A transaction that changes
                more writes the same pages again and again.
        """
        with self._write() as session, session.begin():
            connection = session.connection()
            if cache_megabytes == 2 or connection.dialect.name != "sqlite":
                yield session
                return
            connection.exec_driver_sql(f"PRAGMA cache_size = {-1024 * cache_megabytes}")
            try:
                yield session
            finally:
                connection.exec_driver_sql("PRAGMA cache_size = -2048")

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _make_engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own BEGIN is switched off, so that _begin_sqlite alone decides which one is sent.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    statement = connection.get_execution_options().get("clsl_begin", "BEGIN")
    connection.exec_driver_sql(str(statement))
