"""Whether a piece of work still has a process: told by a lock that goes when the process goes.

Neither a clock nor the moment of a last sign tells it: a process that is stopped for a while, by a
slow disk or a suspended machine, gives no sign and is alive.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from clsl_core.errors import ConflictError
from db.session import Database, Presence, absent

__all__ = ["is_living", "living"]


@contextmanager
def living(database: Database, name: str) -> Iterator[None]:
    """Show, inside the block, that the work of some name has a process.

    Raises:
        ConflictError: Another process (SQLite) does it already.
    """
    if database.shared:
        presence = Presence(database, name)
        presence.keep()
        try:
            yield
        finally:
            presence.end()
        return
    lock = FileLock(_path(database, name))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConflictError(f"{name} is at work at this moment: wait for it") from error
    try:
        yield
    finally:
        with suppress(OSError):  # while it is ours, so that nobody locks what is gone
            _path(database, name).unlink()
        lock.release()


def is_living(database: Database, name: str) -> bool:
    """Whether some process shows that it does the work of this name."""
    if database.shared:
        with database.write(name) as session:
            return not absent(session, [name])
    path = _path(database, name)
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _path(database: Database, name: str) -> Path:
    return Path(f"{database.url.database}-living-{zlib.crc32(name.encode()):08x}")
