"""The audit log."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import AuditEvent


def newest_first(session: Session, limit: int, before: int | None) -> Sequence[AuditEvent]:
    """The newest events; those before an id when one is given."""
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEvent.id < before)
    return session.scalars(query).all()
