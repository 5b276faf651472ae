"""Which split each image is in, and the splits of before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from clsl_core.types import LabelState
from db.models import Category, Image, Label, SplitChange

AT_ONCE = 1_000


class Member(NamedTuple):
    """An image, and the split that it is in."""

    id: int
    split: str | None


def members(session: Session, dataset_id: int) -> list[Member]:
    """All images in source order."""
    query = (
        select(Image.id, Image.split).where(Image.dataset_id == dataset_id).order_by(Image.position)
    )
    return [Member(*row) for row in session.execute(query)]


def positives(session: Session, dataset_id: int) -> Iterator[tuple[int, int]]:
    """``(image id, category id)`` of every label that is present."""
    query = (
        select(Label.image_id, Label.category_id)
        .join(Category, Category.id == Label.category_id)
        .where(
            Category.dataset_id == dataset_id,
            Category.merged_into_id.is_(None),
            Label.state == LabelState.PRESENT,
        )
        .execution_options(yield_per=10_000)
    )
    for row in session.execute(query):
        yield row[0], row[1]


def put(session: Session, image_ids: Sequence[int], split: str | None) -> None:
    """Put images into a split; None for none."""
    for start in range(0, len(image_ids), AT_ONCE):
        part = image_ids[start : start + AT_ONCE]
        session.execute(update(Image).where(Image.id.in_(part)).values(split=split))


def newest(session: Session, dataset_id: int) -> SplitChange | None:
    """The newest change that was not undone."""
    query = select(SplitChange).where(
        SplitChange.dataset_id == dataset_id, SplitChange.undone_at.is_(None)
    )
    return session.scalar(query.order_by(SplitChange.id.desc()).limit(1))


def counts(session: Session, dataset_id: int) -> dict[str, int]:
    """How many images each split has; those in none under ""."""
    query = (
        select(func.coalesce(Image.split, ""), func.count())
        .where(Image.dataset_id == dataset_id)
        .group_by(Image.split)
        .order_by(Image.split)
    )
    return {split: count for split, count in session.execute(query)}
