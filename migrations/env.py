"""Run by Alembic: migrate over the connection that ``migrations.upgrade`` hands in."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import Enum
from sqlalchemy.types import TypeDecorator

from db.models import Base


def _plain_types(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Write a migration in terms of SQL types, so that it outlives the program's own."""
    if kind != "type":
        return False
    if isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    if isinstance(item, Enum):
        return f"sa.String(length={item.length})"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=_plain_types,
)
with context.begin_transaction():
    context.run_migrations()
