"""Column types that behave alike on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, SmallInteger, Text
from sqlalchemy.types import TypeDecorator

from clsl_core.types import LabelState


class JsonText(str):
    """JSON that is stored as it stands. Its text must be valid: nobody looks again."""

    __slots__ = ()


def json_text(value: Any) -> str:
    """A JSON value as it is stored, unless it is text already."""
    return json.dumps(value, separators=(",", ":"))


class VerbatimJson(TypeDecorator[Any]):
    """A JSON value as text: key order, unknown keys and lone surrogates come back unchanged."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Serialise as ASCII, so that no text a file can hold is refused by the database."""
        if value is None or type(value) is JsonText:
            return value
        return json_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Parse what was stored."""
        return None if value is None else json.loads(value)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC; naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC (SQLite drops the zone, PostgreSQL keeps it)."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: pass an aware one")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class SmallState(TypeDecorator[LabelState]):
    """A LabelState as a small integer."""

    impl = SmallInteger
    cache_ok = True

    def process_bind_param(self, value: LabelState | None, dialect: Dialect) -> int | None:
        """Store -1, 0 or +1."""
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> LabelState | None:
        """Give the state its name back."""
        return None if value is None else LabelState(value)


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)
