"""Who did what, when: an append-only list beside the decisions, which are one themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.services.access import rights
from clsl_core.types import JsonObject
from db.models import AuditEvent
from db.queries import audit_events, stored
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
    stored.add(
        session,
        AuditEvent(actor=rights.current().name, action=action, subject=subject, details=details),
    )


def events(database: Database, limit: int = 100, before: int | None = None) -> list[Event]:
    """The newest first; those before an id when one is given."""
    with database.read() as session:
        found = audit_events.newest_first(session, max(1, min(limit, MOST)), before)
    return [
        Event(one.id, one.created_at, one.actor, one.action, one.subject, one.details)
        for one in found
    ]
