"""Reading and changing datasets that are not complete yet."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.orm import Session

from db.models import Annotation, Dataset, Image

IMAGES = 500
"""Images deleted at one go, with what hangs on them."""
ROWS = 5_000
CONDEMNED = datetime(1970, 1, 1, tzinfo=UTC)
"""As the moment of the last rows: no more may come."""


def by_name(session: Session, name: str) -> int | None:
    """The unfinished dataset of that name."""
    query = select(Dataset.id).where(Dataset.name == name, Dataset.unfinished_at.is_not(None))
    return session.scalar(query)


def stamps(session: Session) -> dict[int, tuple[str, datetime]]:
    """The name of each unfinished dataset, and when its last rows came."""
    query = select(Dataset.id, Dataset.name, Dataset.unfinished_at)
    rows = session.execute(query.where(Dataset.unfinished_at.is_not(None)))
    return {id_: (name, moment) for id_, name, moment in rows if moment is not None}


def stamp(session: Session, dataset_id: int, moment: datetime | None) -> bool:
    """Note when rows came, or that all are there; False when no more may come."""
    query = (
        update(Dataset)
        .where(Dataset.id == dataset_id, Dataset.unfinished_at > CONDEMNED)
        .values(unfinished_at=moment)
    )
    return _count(session, query) == 1


def condemn(session: Session, dataset_id: int) -> bool:
    """Let no more rows come; False when there is no such unfinished dataset."""
    query = (
        update(Dataset)
        .where(Dataset.id == dataset_id, Dataset.unfinished_at.is_not(None))
        .values(unfinished_at=CONDEMNED)
    )
    return _count(session, query) == 1


def delete_some(session: Session, dataset_id: int) -> bool:
    """Delete a part of a condemned dataset; False when nothing of it is left."""
    images = select(Image.id).where(Image.dataset_id == dataset_id).limit(IMAGES)
    if _count(session, delete(Image).where(Image.id.in_(images))):
        return True
    rows = select(Annotation.id).where(Annotation.dataset_id == dataset_id).limit(ROWS)
    if _count(session, delete(Annotation).where(Annotation.id.in_(rows))):
        return True
    whole = delete(Dataset).where(Dataset.id == dataset_id, Dataset.unfinished_at.is_not(None))
    session.execute(whole)
    return False


def _count(session: Session, statement: object) -> int:
    result = session.execute(
        statement,  # type: ignore[call-overload]
        execution_options={"synchronize_session": False},
    )
    assert isinstance(result, CursorResult)
    return result.rowcount
