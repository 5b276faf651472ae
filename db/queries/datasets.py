"""Reading and changing datasets, their images and categories. Unfinished ones are not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session

from clsl_core.types import LabelSource, LabelState
from db.models import Category, Dataset, Image, ImageStatus, Label


def by_name(session: Session, name: str) -> Dataset | None:
    """The dataset of that name."""
    query = select(Dataset).where(Dataset.name == name, Dataset.unfinished_at.is_(None))
    return session.scalar(query)


def lock(session: Session, dataset_id: int) -> None:
    """Let no other transaction write this dataset's row until the caller's ends.

    Rows that point to it may still be added (FOR NO KEY UPDATE): whoever has added some and locks
    the row only then would else wait for one who waits for them.
    """
    session.get_one(Dataset, dataset_id, with_for_update={"key_share": True})


def names(session: Session) -> list[str]:
    """All dataset names in alphabetical order."""
    query = select(Dataset.name).where(Dataset.unfinished_at.is_(None))
    return list(session.scalars(query.order_by(Dataset.name)))


def all_datasets(session: Session) -> Sequence[Dataset]:
    """All datasets, newest first."""
    query = select(Dataset).where(Dataset.unfinished_at.is_(None))
    return session.scalars(query.order_by(Dataset.id.desc())).all()


def scheduled(session: Session) -> Sequence[Dataset]:
    """The datasets that train at set times."""
    query = select(Dataset).where(Dataset.schedule.is_not(None)).order_by(Dataset.id)
    return session.scalars(query).all()


def categories(session: Session, dataset_id: int, *, hidden: bool = False) -> Sequence[Category]:
    """The categories in source order; with ``hidden`` those merged into others, too."""
    query = select(Category).where(Category.dataset_id == dataset_id)
    if not hidden:
        query = query.where(Category.merged_into_id.is_(None))
    return session.scalars(query.order_by(Category.position)).all()


def image_status_counts(session: Session, dataset_id: int) -> dict[ImageStatus, int]:
    """How many images are in each status."""
    query = (
        select(Image.status, func.count())
        .where(Image.dataset_id == dataset_id)
        .group_by(Image.status)
    )
    return {status: count for status, count in session.execute(query)}


def problem_images(session: Session, dataset_id: int, limit: int) -> Sequence[Image]:
    """The images that cannot be used, in source order."""
    query = select(Image).where(Image.dataset_id == dataset_id, Image.status == ImageStatus.PROBLEM)
    return session.scalars(query.order_by(Image.position).limit(limit)).all()


@dataclass(frozen=True, slots=True)
class CategoryCounts:
    """Labels of one category by state; what is missing from the sum is UNKNOWN."""

    category_id: int
    name: str
    supercategory: str | None
    imported_present: int
    human_present: int
    absent: int
    audited_present: int

    @property
    def present(self) -> int:
        """Known positives from all sources."""
        return self.imported_present + self.human_present + self.audited_present


def splits(session: Session, dataset_id: int) -> list[str]:
    """The different splits of a dataset's images."""
    query = select(Image.split).where(Image.dataset_id == dataset_id, Image.split.is_not(None))
    return [split for split in session.scalars(query.distinct().order_by(Image.split)) if split]


def category_counts(session: Session, dataset_id: int) -> list[CategoryCounts]:
    """Known labels for each category, in source order."""

    def count(state: LabelState, source: LabelSource | None = None) -> object:
        condition = Label.state == state
        if source is not None:
            condition = and_(condition, Label.source == source)
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    query = (
        select(
            Category.id,
            Category.name,
            Category.supercategory,
            count(LabelState.PRESENT, LabelSource.IMPORT),  # type: ignore[call-overload]
            count(LabelState.PRESENT, LabelSource.HUMAN),
            count(LabelState.ABSENT),
            count(LabelState.PRESENT, LabelSource.MODEL_AUDITED),
        )
        .outerjoin(Label, Label.category_id == Category.id)
        .where(Category.dataset_id == dataset_id, Category.merged_into_id.is_(None))
        .group_by(Category.id)
        .order_by(Category.position)
    )
    return [CategoryCounts(*row) for row in session.execute(query)]


def category_ids_by_name(session: Session, dataset_id: int) -> dict[str, list[int]]:
    """Category ids by name; a name may stand for several."""
    found: dict[str, list[int]] = {}
    for category in categories(session, dataset_id):
        found.setdefault(category.name, []).append(category.id)
    return found
