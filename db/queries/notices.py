"""Notices: what happened in the background, told to everybody once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Annotator, Dataset, Notice


def unseen(session: Session, annotator: Annotator, limit: int) -> Sequence[tuple[Notice, str]]:
    """The oldest notices that somebody was not shown yet, with the names of their datasets.

    What happened before a person first worked here is no news for them.
    """
    query = (
        select(Notice, Dataset.name)
        .join(Dataset, Dataset.id == Notice.dataset_id)
        .where(Notice.id > annotator.notices_seen, Notice.created_at >= annotator.created_at)
        .order_by(Notice.id)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in session.execute(query)]
