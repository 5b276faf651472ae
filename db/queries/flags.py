"""Flags: images that somebody found odd."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.models import Annotator, Flag


def by_client_id(session: Session, client_id: str) -> Flag | None:
    """The flag that a client sent under this id."""
    return session.scalar(select(Flag).where(Flag.client_id == client_id))


def open_flags(session: Session, image_ids: Collection[int]) -> dict[int, tuple[str, str]]:
    """The newest open flag of each image: image id to ``(comment, annotator's name)``."""
    query = (
        select(Flag.image_id, Flag.comment, Annotator.name)
        .join(Annotator, Annotator.id == Flag.annotator_id)
        .where(Flag.image_id.in_(image_ids), Flag.resolved_at.is_(None))
        .order_by(Flag.id)
    )
    return {row[0]: (row[1], row[2]) for row in session.execute(query)}


def resolve(session: Session, image_id: int, annotator_id: int, moment: datetime) -> int:
    """Resolve every open flag of an image; returns how many there were."""
    query = (
        update(Flag)
        .where(Flag.image_id == image_id, Flag.resolved_at.is_(None))
        .values(resolved_at=moment, resolved_by_id=annotator_id)
        .returning(Flag.id)
    )
    return len(session.scalars(query).all())
