"""Whether SQLite's file is still the one that was opened.

A file that is removed, or replaced by another of its name, stays open: SQLite goes on writing to
what nobody will ever find again, and says that all is stored. So the file under the name is
compared with the one that was opened, before anything is acknowledged. Its write-ahead log is one
of its halves and counts as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from clsl_core.errors import DatabaseError

__all__ = ["FileIdentity"]

_LOG = "clsl_log"
"""Key of a connection's notes: which write-ahead log it has opened."""

NO_NOTES: Mapping[str, Any] = {}
Identity = tuple[int, int]
"""Device and number of a file."""


class FileIdentity:
    """Remembers which file a database is.

    Args:
        url: Of the database; of one without a file nothing is remembered.
    """

    def __init__(self, url: URL) -> None:
        held = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
        self._path = Path(url.database or "").absolute() if held else None
        self._opened: Identity | None = None

    def before_connect(self, *_given: object) -> None:
        """SQLite is about to open the file, and would make a new one where there is none.

        Raises:
            DatabaseError: It is not the file that was opened first.
        """
        self.require()

    def connected(self, connection: Any, record: Any) -> None:
        """A connection was made: note what it opened."""
        if self._path is None:
            return
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()  # opens the log
        if self._opened is None:
            self._opened = _identity(self._path)
        record.info[_LOG] = _identity(self._log(self._path))

    def require(self, notes: Mapping[str, Any] = NO_NOTES) -> None:
        """See that the file under the name is the one that was opened.

        Args:
            notes: Those of a connection: its write-ahead log is looked at, too.

        Raises:
            DatabaseError: It was removed or replaced.
        """
        if self._path is None or self._opened is None:
            return
        self._compare(self._path, self._opened)
        log = notes.get(_LOG)
        if log is not None:
            self._compare(self._log(self._path), log)

    @staticmethod
    def _log(path: Path) -> Path:
        return path.with_name(path.name + "-wal")

    @staticmethod
    def _compare(path: Path, opened: Identity) -> None:
        found = _identity(path)
        if found == opened:
            return
        what = "removed" if found is None else "replaced by another one"
        raise DatabaseError(
            f"the database's file was {what} while the program runs, and nothing is stored any "
            f"more: {path}. Put it back (`clsl restore` brings a backup back), then start the "
            "program again"
        )


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
