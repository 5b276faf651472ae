"""What the quality page counts: labels, verdicts against proposals, categories seen together.

Verdicts are reached through ``decision`` and each one's proposal by its key, so the cost grows
with what people said, not with what was proposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, case, cast, func, select
from sqlalchemy.orm import Session, aliased

from clsl_core.types import LabelSource, LabelState
from db.models import Category, Decision, Label, ModelRun, Proposal, RunStatus, Verdict


@dataclass(frozen=True, slots=True)
class LabelCount:
    """Labels of one category in one state from one source."""

    category_id: int
    state: LabelState
    source: LabelSource
    count: int


@dataclass(frozen=True, slots=True)
class VerdictCount:
    """Verdicts on a run's proposals of one category and state.

    Attributes:
        control: Whether these are the pairs of the random control arm.
        count: Verdicts that are not undone, skips left out.
        agreed: Those that said what the model had said.
        gained: Those that made a positive of a pair that had none.
    """

    run_id: int
    category_id: int
    state: LabelState
    control: bool
    count: int
    agreed: int
    gained: int


@dataclass(frozen=True, slots=True)
class Block:
    """Some verdicts given one after the other; ``number`` counts the blocks from 0."""

    number: int
    count: int
    agreed: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Training:
    """A finished training with its metrics."""

    run_id: int
    created_at: datetime
    known: int
    metrics: dict[str, Any]


_AGREES = case(
    ((Decision.verdict == Verdict.PRESENT) & (Proposal.state == LabelState.PRESENT), 1),
    ((Decision.verdict == Verdict.ABSENT) & (Proposal.state == LabelState.ABSENT), 1),
    else_=0,
)


def _judged(dataset_id: int) -> tuple[ColumnElement[bool], ...]:
    """Standing verdicts of people on proposals of pairs that nothing was known of."""
    return (
        Decision.dataset_id == dataset_id,
        Decision.source == LabelSource.HUMAN,
        Decision.verdict.in_((Verdict.PRESENT, Verdict.ABSENT)),
        Decision.undone_by_id.is_(None),
        Proposal.disputes.is_(False),
    )


def label_counts(session: Session, dataset_id: int) -> list[LabelCount]:
    """Labels by category, state and source; combinations that do not occur are left out."""
    count = func.count()
    query = (
        select(Label.category_id, Label.state, Label.source, count)
        .join(Category, Category.id == Label.category_id)
        .where(Category.dataset_id == dataset_id, Category.merged_into_id.is_(None))
        .group_by(Label.category_id, Label.state, Label.source)
    )
    return [LabelCount(*row) for row in session.execute(query)]


def verdict_counts(session: Session, dataset_id: int) -> list[VerdictCount]:
    """Verdicts by run, category, proposed state and arm."""
    gained = (Decision.verdict == Verdict.PRESENT) & (Decision.previous_state != LabelState.PRESENT)
    keys = (Proposal.model_run_id, Proposal.category_id, Proposal.state, Proposal.control)
    query = (
        select(*keys, func.count(), func.sum(_AGREES), func.sum(case((gained, 1), else_=0)))
        .select_from(Decision)
        .join(Proposal, Proposal.id == Decision.proposal_id)
        .join(Category, Category.id == Proposal.category_id)
        .where(*_judged(dataset_id), Category.merged_into_id.is_(None))
        .group_by(*keys)
    )
    return [VerdictCount(*row) for row in session.execute(query)]


def agreement_blocks(session: Session, dataset_id: int, size: int) -> list[Block]:
    """How often people said what the model had said, over each ``size`` verdicts, oldest first."""
    place = func.row_number().over(order_by=Decision.id) - 1
    verdicts = (
        select(place.label("place"), _AGREES.label("agreed"), Decision.created_at)
        .select_from(Decision)
        .join(Proposal, Proposal.id == Decision.proposal_id)
        .where(*_judged(dataset_id))
        .subquery()
    )
    # The remainder goes first: a division of whole numbers differs between databases.
    number = cast((verdicts.c.place - verdicts.c.place % size) / size, Integer)
    query = (
        select(number, func.count(), func.sum(verdicts.c.agreed), func.max(verdicts.c.created_at))
        .group_by(number)
        .order_by(number)
    )
    return [Block(*row) for row in session.execute(query)]


def stated_probabilities(
    session: Session, dataset_id: int, limit: int
) -> Sequence[tuple[float, bool]]:
    """The probability shown and whether the person agreed, of the last ``limit`` verdicts."""
    query = (
        select(Proposal.probability, _AGREES)
        .select_from(Decision)
        .join(Proposal, Proposal.id == Decision.proposal_id)
        .where(*_judged(dataset_id), Proposal.probability.is_not(None))
        .order_by(Decision.id.desc())
        .limit(limit)
    )
    return [(row[0], bool(row[1])) for row in session.execute(query)]


def trainings(session: Session, dataset_id: int) -> list[Training]:
    """The trainings that finished, oldest first."""
    query = select(
        ModelRun.id,
        ModelRun.created_at,
        ModelRun.known_present + ModelRun.known_absent,
        ModelRun.metrics,
    ).where(ModelRun.dataset_id == dataset_id, ModelRun.status == RunStatus.READY)
    return [Training(*row) for row in session.execute(query.order_by(ModelRun.id))]


def together(session: Session, category_ids: Sequence[int]) -> dict[tuple[int, int], int]:
    """Images that carry both of two categories, the smaller id first; of one with itself: all."""
    other = aliased(Label)
    query = (
        select(Label.category_id, other.category_id, func.count())
        .join(other, (other.image_id == Label.image_id) & (other.state == LabelState.PRESENT))
        .where(
            Label.state == LabelState.PRESENT,
            Label.category_id.in_(category_ids),
            other.category_id.in_(category_ids),
            Label.category_id <= other.category_id,
        )
        .group_by(Label.category_id, other.category_id)
    )
    return {(row[0], row[1]): row[2] for row in session.execute(query)}
