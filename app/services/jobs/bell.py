"""The bell: it carries a job's id to a worker and nothing else.

Losing a message is harmless: the job table is the truth, and a sweep rings again for every job
that waits.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from huey import Huey, PostgresHuey, RedisHuey
from huey.registry import Message
from huey.serializer import Serializer

from app.services.jobs.queue_file import open_queue_file
from clsl_core.errors import DatabaseError, InputError

log = logging.getLogger(__name__)


class Bell(Protocol):
    """Tells a worker, somewhere, that a job waits."""

    def ring(self, job_id: int) -> None:
        """Announce a job."""

    def close(self) -> None:
        """Give its connection back."""


class SilentBell:
    """The fake: remembers what was rung, runs nothing."""

    def __init__(self) -> None:
        self.rung: list[int] = []

    def ring(self, job_id: int) -> None:
        """Remember the id."""
        self.rung.append(job_id)

    def close(self) -> None:
        """There is nothing to give back."""


class JsonSerializer(Serializer):  # type: ignore[misc]
    """Messages as JSON, so that nothing in its file is ever unpickled."""

    def _serialize(self, data: Any) -> bytes:
        fields = data._asdict() if isinstance(data, Message) else {"value": data}
        return json.dumps(fields).encode()

    def _deserialize(self, data: bytes) -> Any:
        fields = json.loads(data)
        return fields["value"] if "value" in fields else Message(**fields)


class HueyBell:
    """Rings over huey. The worker gives ``handle``; everybody else only rings."""

    def __init__(self, huey: Huey, handle: Callable[[int], object] | None = None) -> None:
        self.huey = huey

        # huey finds a message's function by this one's module and name, on both sides alike.
        def run_job(job_id: int) -> None:
            (handle or _nobody_handles)(job_id)

        self._task = huey.task()(run_job)

    def ring(self, job_id: int) -> None:
        """Announce a job; where the storage cannot be reached, that is left to the sweep."""
        try:
            self._task(job_id)
        except Exception:
            log.exception("job %d could not be announced; a sweep will do it", job_id)

    def close(self) -> None:
        """Close this thread's connection to the storage."""
        self.huey.storage.close()


def _nobody_handles(job_id: int) -> None:
    raise RuntimeError(f"job {job_id} was handed to a process that runs no jobs")


def connect_huey(url: str | None, data_dir: Path) -> Huey:
    """The bell's storage: a SQLite file by default, else Redis or PostgreSQL.

    Raises:
        InputError: The URL names another kind of server.
        DatabaseError: The server cannot be reached, or its driver is not installed; or the file
            is locked, or cannot be written.
    """
    common: dict[str, Any] = {"results": False, "serializer": JsonSerializer()}
    if url is None:
        return open_queue_file(data_dir, **common)
    scheme = url.partition("://")[0].partition("+")[0]
    if scheme in ("redis", "rediss"):
        return _reached(lambda: _answering(RedisHuey("clsl", url=url, **common)))
    if scheme == "postgresql":
        dsn = "postgresql://" + url.partition("://")[2]
        return _reached(lambda: PostgresHuey("clsl", dsn=dsn, **common))
    raise InputError(
        "the queue URL begins with neither redis:// nor postgresql://: "
        "correct CLSL_QUEUE_URL, or leave it out to use a file in the data directory"
    )


def _answering(huey: Huey) -> Huey:
    """A bell on Redis, which is not connected to before it is used."""
    huey.storage.conn.ping()
    return huey


def _reached(connect: Callable[[], Huey]) -> Huey:
    """Connect; several processes that make its tables at once may need a second try."""
    for pause in (0.1, 0.5, None):
        try:
            return connect()
        except Exception as error:
            if pause is None:
                raise DatabaseError(
                    f"the queue cannot be used: {type(error).__name__}: {error}. See "
                    "CLSL_QUEUE_URL; for PostgreSQL install the extra `postgres`, for Redis the "
                    "extra `redis`"
                ) from error
            time.sleep(pause)
    raise AssertionError("unreachable")
