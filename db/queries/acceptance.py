"""Audits before many proposals are accepted at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clsl_core.types import LabelState
from db.models import (
    AcceptanceAudit,
    Category,
    Decision,
    Image,
    Label,
    Proposal,
    ProposalStatus,
    Verdict,
)
from db.queries.completeness import of_control_arm


@dataclass(frozen=True, slots=True)
class Candidate:
    """An open PRESENT proposal as the run made it."""

    image_id: int
    score: float


def open_audits(session: Session, dataset_id: int) -> dict[int, AcceptanceAudit]:
    """The audits of a dataset that have not ended, by category."""
    query = (
        select(AcceptanceAudit)
        .join(Category, Category.id == AcceptanceAudit.category_id)
        .where(
            AcceptanceAudit.dataset_id == dataset_id,
            AcceptanceAudit.ended_at.is_(None),
            Category.merged_into_id.is_(None),
        )
    )
    return {one.category_id: one for one in session.scalars(query)}


def candidate_counts(session: Session, run_id: int) -> dict[int, int]:
    """Open PRESENT proposals of a run by category, as ``candidates`` gives them."""
    query = (
        select(Proposal.category_id, func.count())
        .where(
            Proposal.model_run_id == run_id,
            Proposal.status == ProposalStatus.OPEN,
            Proposal.state == LabelState.PRESENT,
            Proposal.control.is_(False),
        )
        .group_by(Proposal.category_id)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def candidates(session: Session, run_id: int, category_id: int) -> list[Candidate]:
    """A category's open PRESENT proposals, best score first.

    The control arm is left to people: an estimate of what is missing rests on it.
    """
    query = select(Proposal.image_id, Proposal.score).where(
        Proposal.model_run_id == run_id,
        Proposal.category_id == category_id,
        Proposal.status == ProposalStatus.OPEN,
        Proposal.state == LabelState.PRESENT,
        Proposal.control.is_(False),
    )
    order = (Proposal.score.desc(), Proposal.image_id)
    return [Candidate(*row) for row in session.execute(query.order_by(*order))]


def said_since(session: Session, category_id: int, decision_id: int) -> dict[int, int]:
    """What is known of a category's images: image id to state.

    -1 also for images without a label that somebody skipped after the given decision.
    """
    skipped = select(Decision.image_id).where(
        Decision.category_id == category_id,
        Decision.id > decision_id,
        Decision.verdict == Verdict.SKIP,
        Decision.undone_by_id.is_(None),
    )
    said = dict.fromkeys(session.scalars(skipped), -1)
    known = select(Label.image_id, Label.state).where(Label.category_id == category_id)
    return said | {row[0]: int(row[1]) for row in session.execute(known)}


def shown(
    session: Session, run_id: int | None, category_id: int, image_ids: Collection[int]
) -> dict[int, tuple[str, int | None]]:
    """File names of some images, with the run's proposal of the category where there is one."""
    query = (
        select(Image.id, Image.file_name, Proposal.id)
        .outerjoin(
            Proposal,
            (Proposal.image_id == Image.id)
            & (Proposal.category_id == category_id)
            & (Proposal.model_run_id == run_id),
        )
        .where(Image.id.in_(image_ids))
    )
    return {row[0]: (row[1], row[2]) for row in session.execute(query)}


def labelled_images(session: Session, category_ids: Collection[int]) -> dict[int, list[int]]:
    """The images of which something is known, by category."""
    found: dict[int, list[int]] = {}
    for category_id in category_ids:
        query = select(Label.image_id).where(Label.category_id == category_id)
        found[category_id] = list(session.scalars(query))
    return found


def control_images(session: Session, run_id: int) -> dict[int, set[int]]:
    """The images of a run's control arm, by category."""
    query = select(Proposal.category_id, Proposal.image_id).where(*of_control_arm(run_id))
    found: dict[int, set[int]] = {}
    for category_id, image_id in session.execute(query):
        found.setdefault(category_id, set()).add(image_id)
    return found
