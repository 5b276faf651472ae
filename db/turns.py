"""Taking turns at writing to SQLite, across threads and processes.

SQLite's own waiting for its one writer looks more and more seldom, so that a process which writes
again and again keeps all others out. Here they look often, and show meanwhile that they wait: a
long writer sees it and lets them go first.
"""

from __future__ import annotations

import sqlite3
import time
from threading import Lock
from typing import Any

from filelock import FileLock, Timeout

__all__ = ["IMMEDIATE", "Turns"]

IMMEDIATE = "BEGIN IMMEDIATE"
POLL_SECONDS = 0.002


class Turns:
    """The writers of one database file.

    Args:
        path: The database file; None for one in memory, for which nobody else waits.
        patience: Seconds that a transaction waits for its turn.
    """

    def __init__(self, path: str | None, patience: float) -> None:
        self._marker = None if path is None else f"{path}-waiting"
        self._patience = patience
        self._next = Lock()  # of several threads that wait, one looks and the others sleep

    def begin(self, cursor: Any) -> bool:
        """Begin a writing transaction on a connection that does not wait by itself.

        Returns:
            False when it cannot begin, or others did not let it for too long.
        """
        end = time.monotonic() + self._patience
        if not self._next.acquire(timeout=self._patience):
            return False
        try:
            return _begun(cursor) or self._wait(cursor, end)
        except sqlite3.OperationalError:
            return False
        finally:
            self._next.release()

    def _wait(self, cursor: Any, end: float) -> bool:
        marker = self._new_marker()
        try:
            while time.monotonic() < end:
                if marker is not None and not marker.is_locked:
                    _try(marker)
                time.sleep(POLL_SECONDS)
                if _begun(cursor):
                    return True
            return False
        finally:
            if marker is not None:
                marker.release()

    def wanted(self) -> bool:
        """Whether somebody waits to write."""
        marker = self._new_marker()
        if marker is None or _try(marker):
            if marker is not None:
                marker.release()
            return False
        return True

    def _new_marker(self) -> FileLock | None:
        # One object for each wait: locks of one object exclude nobody.
        return None if self._marker is None else FileLock(self._marker)


def _begun(cursor: Any) -> bool:
    """Whether a writing transaction could begin; other faults than a busy database pass."""
    try:
        cursor.execute(IMMEDIATE)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # whatever the reason for it
            raise
        return False
    return True


def _try(marker: FileLock) -> bool:
    try:
        marker.acquire(timeout=0)
    except Timeout:
        return False
    return True
