"""Who did what, when: an append-only list beside the decisions, which are one themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.access import rights
from clsl_core.types import JsonObject
from db.models import AuditEvent
from db.session import Database

MOST = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was done."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: JsonObject


def record(session: Session, action: str, subject: str, **details: object) -> None:
    """Note what whoever acts does, in the caller's transaction: both happen, or neither."""
    session.add(
        AuditEvent(actor=rights.current().name, action=action, subject=subject, details=details)
    )


def events(database: Database, limit: int = 100, before: int | None = None) -> list[Event]:
    """The newest first; those before an id when one is given."""
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(max(1, min(limit, MOST)))
    if before is not None:
        query = query.where(AuditEvent.id < before)
    with database.read() as session:
        return [
            Event(one.id, one.created_at, one.actor, one.action, one.subject, one.details)
            for one in session.scalars(query)
        ]
