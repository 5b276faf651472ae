"""Which part of a dataset somebody is to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, or_, select, true
from sqlalchemy.orm import Session

from db.models import Annotator, Assignment, Category, Image, Proposal


@dataclass(frozen=True, slots=True)
class Share:
    """All that is assigned to one person. ``exclusive``: they are offered nothing else."""

    parts: Sequence[Assignment]

    @property
    def exclusive(self) -> bool:
        """Whether they are offered nothing else: unless all of it only comes first."""
        return any(part.exclusive for part in self.parts)

    def holds(self, image: Image, category: Category) -> bool:
        """Whether a pair is in it; everything is, where nothing is assigned."""
        return not self.parts or any(
            part.category_id in (None, category.id)
            and part.split in (None, image.split)
            and image.file_name.startswith(part.prefix or "")
            for part in self.parts
        )

    def condition(self) -> ColumnElement[bool]:
        """The condition that a proposal is in it."""
        return or_(*(_condition(part) for part in self.parts)) if self.parts else true()


def _condition(part: Assignment) -> ColumnElement[bool]:
    found: list[ColumnElement[bool]] = []
    if part.category_id is not None:
        found.append(Proposal.category_id == part.category_id)
    if part.split is not None or part.prefix is not None:
        images = select(Image.id).where(Image.dataset_id == part.dataset_id)
        if part.split is not None:
            images = images.where(Image.split == part.split)
        if part.prefix is not None:  # LIKE would take capitals for small letters, on SQLite
            start = func.substr(Image.file_name, 1, len(part.prefix))
            images = images.where(start == part.prefix)
        found.append(Proposal.image_id.in_(images))
    return and_(true(), *found)


def share(session: Session, dataset_id: int, annotator_id: int) -> Share:
    """What is assigned to somebody."""
    query = select(Assignment).where(
        Assignment.dataset_id == dataset_id, Assignment.annotator_id == annotator_id
    )
    return Share(session.scalars(query.order_by(Assignment.id)).all())


def everybodys(session: Session, dataset_id: int) -> Sequence[tuple[Assignment, str, str | None]]:
    """Every assignment of a dataset with the person's name and the category's."""
    query = (
        select(Assignment, Annotator.name, Category.name)
        .join(Annotator, Annotator.id == Assignment.annotator_id)
        .outerjoin(Category, Category.id == Assignment.category_id)
        .where(Assignment.dataset_id == dataset_id)
        .order_by(Annotator.name, Assignment.id)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]
