"""Pairs whose answer is known, put before people among the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, func, select
from sqlalchemy.orm import Session

from clsl_core.types import LabelSource, LabelState
from db.models import Category, Decision, Gold, Image, Label, Proposal, Verdict


def count(session: Session, dataset_id: int) -> int:
    """How many there are."""
    query = select(func.count()).select_from(Gold).where(Gold.dataset_id == dataset_id)
    return session.scalar(query) or 0


def draw(session: Session, dataset_id: int, state: LabelState, limit: int) -> list[Gold]:
    """Labels of one state, drawn at random among those that people or the file gave."""
    taken = exists().where(Gold.image_id == Label.image_id, Gold.category_id == Label.category_id)
    query = (
        select(Label.image_id, Label.category_id)
        .join(Category, Category.id == Label.category_id)
        .where(
            Category.dataset_id == dataset_id,
            Category.merged_into_id.is_(None),
            Label.state == state,
            Label.source.in_((LabelSource.IMPORT, LabelSource.HUMAN)),
            ~taken,
        )
        .order_by(func.random())
        .limit(limit)
    )
    return [
        Gold(image_id=image_id, category_id=category_id, dataset_id=dataset_id, state=state)
        for image_id, category_id in session.execute(query)
    ]


def clear(session: Session, dataset_id: int) -> None:
    """Ask none of them any more."""
    session.execute(delete(Gold).where(Gold.dataset_id == dataset_id))


def _judged(annotator_id: int) -> ColumnElement[bool]:
    """The condition that somebody has spoken on a gold pair, ever, in whatever way."""
    return exists().where(
        Decision.image_id == Gold.image_id,
        Decision.category_id == Gold.category_id,
        Decision.annotator_id == annotator_id,
        Decision.verdict != Verdict.UNDO,
        Decision.undone_by_id.is_(None),
    )


def secret(session: Session, annotator_id: int, image_ids: Collection[int]) -> set[tuple[int, int]]:
    """The gold pairs of some images on which somebody has not spoken: their answer is hidden."""
    query = select(Gold.image_id, Gold.category_id).where(
        Gold.image_id.in_(image_ids), ~_judged(annotator_id)
    )
    return {(row[0], row[1]) for row in session.execute(query)}


def unasked(
    session: Session, dataset_id: int, annotator_id: int, category_id: int | None, limit: int
) -> Sequence[tuple[Gold, Image, Category]]:
    """Gold pairs on which somebody has not spoken, in random order."""
    wanted = and_(Gold.dataset_id == dataset_id, ~_judged(annotator_id))
    if category_id is not None:
        wanted = and_(wanted, Gold.category_id == category_id)
    query = (
        select(Gold, Image, Category)
        .join(Image, Image.id == Gold.image_id)
        .join(Category, Category.id == Gold.category_id)
        .where(wanted, Category.merged_into_id.is_(None))
        .order_by(func.random())
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def proposal(session: Session, run_id: int, gold: Gold) -> Proposal | None:
    """A run's proposal of a gold pair."""
    return session.scalar(
        select(Proposal).where(
            Proposal.model_run_id == run_id,
            Proposal.image_id == gold.image_id,
            Proposal.category_id == gold.category_id,
        )
    )
