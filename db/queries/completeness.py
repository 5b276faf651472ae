"""The random control arm of a run: what was drawn, what people said, what was known before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, case, exists, func, literal_column, select
from sqlalchemy.orm import Session

from clsl_core.types import LabelSource, LabelState
from db.models import (
    Category,
    CompletenessAudit,
    Decision,
    Label,
    ModelRun,
    Proposal,
    ProposalStatus,
    RunStatus,
    Verdict,
)


def of_control_arm(run_id: int) -> tuple[ColumnElement[bool], ...]:
    """The conditions of a run's control arm, so that its own index gives it.

    SQLite knows the index by the form of its condition, and prefers it when the columns that it
    begins with are named: every status there is.
    """
    return (
        Proposal.model_run_id == run_id,
        Proposal.status.in_(tuple(ProposalStatus)),
        literal_column("proposal.control"),
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """The control arm's pairs of one category.

    Attributes:
        drawn: Pairs.
        answered: Those with a label.
        passed: Those without a label that somebody skipped.
        found: Those that are PRESENT.
    """

    category_id: int
    drawn: int
    answered: int
    passed: int
    found: int


def control_arm(session: Session, run_id: int) -> list[Drawn]:
    """A run's control arm by category, answered or not."""
    passed = exists().where(
        Decision.proposal_id == Proposal.id,
        Decision.verdict == Verdict.SKIP,
        Decision.undone_by_id.is_(None),
    )
    open_but_passed = Label.image_id.is_(None) & passed
    query = (
        select(
            Proposal.category_id,
            func.count(),
            func.count(Label.image_id),
            func.sum(case((open_but_passed, 1), else_=0)),
            func.sum(case((Label.state == LabelState.PRESENT, 1), else_=0)),
        )
        .outerjoin(
            Label,
            (Label.image_id == Proposal.image_id) & (Label.category_id == Proposal.category_id),
        )
        .where(*of_control_arm(run_id), Proposal.disputes.is_(False))
        .group_by(Proposal.category_id)
    )
    return [Drawn(*row) for row in session.execute(query)]


def decided_until(session: Session, dataset_id: int, moment: datetime) -> int:
    """Id of the newest decision up to a moment; 0 where there is none."""
    query = select(func.max(Decision.id)).where(
        Decision.dataset_id == dataset_id, Decision.created_at <= moment
    )
    return session.scalar(query) or 0


def gained_since(
    session: Session, dataset_id: int, decision_id: int, run_id: int
) -> dict[int, tuple[int, int]]:
    """Pairs by category that got their first label after a decision.

    Returns:
        Category id to how many these are, and how many of them are PRESENT and outside the run's
        control arm.
    """
    first = (
        select(Decision.image_id, Decision.category_id)
        .where(
            Decision.dataset_id == dataset_id,
            Decision.id > decision_id,
            Decision.previous_source.is_(None),
            Decision.undone_by_id.is_(None),
            Decision.verdict.in_((Verdict.PRESENT, Verdict.ABSENT)),
        )
        .distinct()
        .subquery()
    )
    drawn = exists().where(
        Proposal.model_run_id == run_id,
        Proposal.image_id == first.c.image_id,
        Proposal.category_id == first.c.category_id,
        Proposal.control,
    )
    outside = case(((Label.state == LabelState.PRESENT) & ~drawn, 1), else_=0)
    query = (
        select(first.c.category_id, func.count(), func.sum(outside))
        .join(
            Label,
            (Label.image_id == first.c.image_id) & (Label.category_id == first.c.category_id),
        )
        .group_by(first.c.category_id)
    )
    return {row[0]: (row[1], row[2]) for row in session.execute(query)}


def known(session: Session, dataset_id: int) -> dict[int, tuple[int, int]]:
    """Labels by category: all of them, and the PRESENT ones."""
    present = func.sum(case((Label.state == LabelState.PRESENT, 1), else_=0))
    query = (
        select(Label.category_id, func.count(), present)
        .join(Category, Category.id == Label.category_id)
        .where(Category.dataset_id == dataset_id, Category.merged_into_id.is_(None))
        .group_by(Label.category_id)
    )
    return {row[0]: (row[1], row[2]) for row in session.execute(query)}


def trainings_until(session: Session, run: ModelRun) -> int:
    """How many finished runs there are up to one of them, itself included."""
    query = select(func.count()).where(
        ModelRun.dataset_id == run.dataset_id,
        ModelRun.status == RunStatus.READY,
        ModelRun.id <= run.id,
    )
    return session.scalar(query) or 0


def hits(session: Session, dataset_id: int) -> list[bool]:
    """In order of time: whether each standing verdict of a person found a positive."""
    found = select(
        (Decision.verdict == Verdict.PRESENT) & (Decision.previous_state != LabelState.PRESENT)
    ).where(
        Decision.dataset_id == dataset_id,
        Decision.source == LabelSource.HUMAN,
        Decision.undone_by_id.is_(None),
        Decision.verdict.in_((Verdict.PRESENT, Verdict.ABSENT)),
    )
    return [bool(hit) for hit in session.scalars(found.order_by(Decision.id))]


def newest_audit(
    session: Session, dataset_id: int, category_id: int | None
) -> tuple[CompletenessAudit | None, int]:
    """The newest audit of a category, or of all together, and how many there were."""
    same = CompletenessAudit.dataset_id == dataset_id, _is(category_id)
    query = select(CompletenessAudit).where(*same).order_by(CompletenessAudit.id.desc()).limit(1)
    count = session.scalar(select(func.count(CompletenessAudit.id)).where(*same)) or 0
    return session.scalar(query), count


def _is(category_id: int | None) -> ColumnElement[bool]:
    column = CompletenessAudit.category_id
    return column.is_(None) if category_id is None else column == category_id


def states_since(
    session: Session, dataset_id: int, decision_id: int, category_id: int | None
) -> dict[tuple[int, int], int]:
    """Pairs that got their first label, or were skipped, after a decision: the state, 0 if skipped.

    Args:
        session: Reads.
        dataset_id: Of what.
        decision_id: The newest decision that does not count.
        category_id: Only this category; None for all.
    """
    query = (
        select(Decision.image_id, Decision.category_id, Label.state)
        .outerjoin(
            Label,
            (Label.image_id == Decision.image_id) & (Label.category_id == Decision.category_id),
        )
        .where(
            Decision.dataset_id == dataset_id,
            Decision.id > decision_id,
            Decision.previous_source.is_(None),
            Decision.undone_by_id.is_(None),
            Decision.verdict != Verdict.UNDO,
        )
    )
    if category_id is not None:
        query = query.where(Decision.category_id == category_id)
    return {(row[0], row[1]): int(row[2] or 0) for row in session.execute(query)}
