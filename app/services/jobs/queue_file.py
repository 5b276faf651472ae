"""The bell's own SQLite file: it holds nothing that the job table does not know.

So a damaged one is set aside and made anew, and one that another program keeps is waited for as
the database is.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from huey import Huey, SqliteHuey

from clsl_core.errors import DatabaseError
from db.session import BUSY_TIMEOUT_MS
from db.types import now

__all__ = ["NAME", "damage", "open_queue_file", "set_aside", "set_aside_before"]

_NOT_THE_FILE = tuple(
    f"SQLITE_{name}" for name in ["BUSY", "LOCKED", "FULL", "READONLY", "IOERR", "CANTOPEN", "PERM"]
)
"""Errors that say nothing about what the file holds."""

log = logging.getLogger(__name__)

NAME = "queue.db"
DAMAGED = ".damaged-"


def open_queue_file(data_dir: Path, **options: Any) -> Huey:
    """The queue in a file of the data directory.

    Raises:
        DatabaseError: It is locked for too long, or cannot be written.
    """
    path = data_dir / NAME
    for last in (False, True):
        try:
            return SqliteHuey("clsl", filename=str(path), timeout=BUSY_TIMEOUT_MS / 1000, **options)
        except sqlite3.DatabaseError as error:
            if last or not _is_damaged(error):
                raise DatabaseError(
                    f"the queue's file cannot be used: {path}: {error}. Close the program that "
                    "keeps it, make the disk writable, or remove the file: it holds nothing that "
                    "is not in the database"
                ) from error
            set_aside(data_dir)
    raise AssertionError("unreachable")


def set_aside(data_dir: Path) -> None:
    """Rename the file, so that a new one takes its place; its log is of no use alone, and goes."""
    path = data_dir / NAME
    other = path.with_name(f"{NAME}{DAMAGED}{now():%Y%m%d-%H%M%S}")
    with suppress(FileNotFoundError):  # another process was quicker
        path.rename(other)
        log.warning("%s is damaged: set aside as %s, a new one takes its place", path, other.name)
    for ending in ("-wal", "-shm", "-journal"):
        path.with_name(NAME + ending).unlink(missing_ok=True)


def set_aside_before(data_dir: Path) -> list[Path]:
    """The files that were set aside."""
    return sorted(data_dir.glob(f"{NAME}{DAMAGED}*"))


def damage(data_dir: Path) -> str | None:
    """What is wrong with the file; None where nothing is, or there is none."""
    path = data_dir / NAME
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else str(found)


def _is_damaged(error: sqlite3.DatabaseError) -> bool:
    return not str(getattr(error, "sqlite_errorname", "")).startswith(_NOT_THE_FILE)
