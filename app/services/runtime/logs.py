"""What is logged, and for which request or job: text for people, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]

_request: ContextVar[str | None] = ContextVar("request", default=None)
_job: ContextVar[int | None] = ContextVar("job", default=None)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
OWN = ("app", "clsl_core", "db", "migrations", "alembic", "huey")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def new_id() -> str:
    """An id for a request that brought none that can be used."""
    return uuid.uuid4().hex[:16]


@contextmanager
def of_request(id_: str) -> Iterator[None]:
    """Everything logged inside belongs to a request."""
    token = _request.set(id_)
    try:
        yield
    finally:
        _request.reset(token)


@contextmanager
def of_job(id_: int) -> Iterator[None]:
    """Everything logged inside belongs to a job."""
    token = _job.set(id_)
    try:
        yield
    finally:
        _job.reset(token)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request, job, and any ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; what JSON cannot hold becomes text."""
        found: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        found |= {"request": _request.get()} if _request.get() else {}
        found |= {"job": _job.get()} if _job.get() is not None else {}
        found |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found, default=str)


class TextLines(logging.Formatter):
    """A line for people, with request and job where there are any."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line, with its request and job behind it."""
        line = super().formatMessage(record)
        line += f" [request {_request.get()}]" if _request.get() else ""
        return line + (f" [job {_job.get()}]" if _job.get() is not None else "")


def configure(style: LogFormat, level: int) -> None:
    """Let this program's loggers write to stderr in one form, and nowhere else.

    Args:
        style: ``text`` or ``json``.
        level: Least level; that of the libraries is WARNING at least.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in OWN:
        logging.getLogger(name).setLevel(level)
    for noisy in ("huey", "alembic", "faiss"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
