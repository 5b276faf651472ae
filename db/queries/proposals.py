"""The review queue: open proposals of the serving run, in the order a strategy asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, select
from sqlalchemy.orm import Session, aliased

from clsl_core.types import LabelState
from db.models import (
    Category,
    Decision,
    Image,
    Label,
    Lease,
    ModelRun,
    Proposal,
    ProposalStatus,
    Verdict,
)

ORDERS: dict[str, Sequence[Any]] = {
    "likely": (Proposal.score.desc(), Proposal.id),
    "absent": (Proposal.score.desc(), Proposal.id),
    "uncertain": (
        func.abs(func.coalesce(Proposal.probability, Proposal.score) - 0.5),
        Proposal.id,
    ),
    "random": (Proposal.id,),
}
"""Strategy name to ordering. Every one ends in the id, so that the order is total."""


def open_proposals(
    run_id: int, strategy: str, category_id: int | None
) -> list[ColumnElement[bool]]:
    """The conditions that select a queue."""
    state = LabelState.ABSENT if strategy == "absent" else LabelState.PRESENT
    conditions: list[ColumnElement[bool]] = [
        Proposal.model_run_id == run_id,
        Proposal.status == ProposalStatus.OPEN,
    ]
    if strategy == "random":
        conditions.append(Proposal.control.is_(True))
    elif strategy != "uncertain":
        conditions.append(Proposal.state == state)
    if category_id is not None:
        conditions.append(Proposal.category_id == category_id)
    return conditions


def count_open(session: Session, run_id: int, strategy: str, category_id: int | None) -> int:
    """How many proposals a queue still holds for everybody together."""
    conditions = open_proposals(run_id, strategy, category_id)
    return session.scalar(select(func.count()).select_from(Proposal).where(*conditions)) or 0


def next_cards(
    session: Session,
    run_id: int,
    annotator_id: int,
    strategy: str,
    *,
    category_id: int | None,
    exclude: Collection[int],
    moment: datetime,
    limit: int,
) -> Sequence[tuple[Proposal, Image, Category]]:
    """The next proposals for one annotator.

    Left out: what the annotator already holds (``exclude``) or has skipped, and what somebody
    else has on screen.
    """
    skip = aliased(Decision)
    skipped = exists().where(
        skip.proposal_id == Proposal.id,
        skip.annotator_id == annotator_id,
        skip.verdict == Verdict.SKIP,
        skip.undone_by_id.is_(None),
    )
    held = exists().where(
        Lease.image_id == Proposal.image_id,
        Lease.category_id == Proposal.category_id,
        Lease.annotator_id != annotator_id,
        Lease.expires_at > moment,
    )
    query = (
        select(Proposal, Image, Category)
        .join(Image, Image.id == Proposal.image_id)
        .join(Category, Category.id == Proposal.category_id)
        .where(*open_proposals(run_id, strategy, category_id), ~skipped, ~held)
        .order_by(*ORDERS[strategy])
        .limit(limit)
    )
    if exclude:
        query = query.where(Proposal.id.not_in(exclude))
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def card(session: Session, proposal_id: int) -> tuple[Proposal, Image, Category] | None:
    """One proposal with its image and category."""
    query = (
        select(Proposal, Image, Category)
        .join(Image, Image.id == Proposal.image_id)
        .join(Category, Category.id == Proposal.category_id)
        .where(Proposal.id == proposal_id)
    )
    row = session.execute(query).first()
    return None if row is None else (row[0], row[1], row[2])


def known_labels(session: Session, image_ids: Collection[int]) -> Sequence[tuple[int, str, Label]]:
    """Known labels of some images as ``(image_id, category name, label)``."""
    query = (
        select(Label.image_id, Category.name, Label)
        .join(Category, Category.id == Label.category_id)
        .where(Label.image_id.in_(image_ids))
        .order_by(Label.image_id, Label.state.desc(), Category.position)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def renew_leases(
    session: Session,
    annotator_id: int,
    pairs: Collection[tuple[int, int]],
    moment: datetime,
    expires_at: datetime,
) -> None:
    """Lease pairs to an annotator; expired leases of anybody are cleared away."""
    session.execute(delete(Lease).where(Lease.expires_at <= moment))
    for image_id, category_id in pairs:
        session.merge(
            Lease(
                image_id=image_id,
                category_id=category_id,
                annotator_id=annotator_id,
                expires_at=expires_at,
            )
        )


def release(session: Session, pair: tuple[int, int]) -> None:
    """Give one pair back."""
    session.execute(delete(Lease).where(Lease.image_id == pair[0], Lease.category_id == pair[1]))


def ranked(
    session: Session, dataset_id: int
) -> Iterator[tuple[str, str, LabelState, float, float | None, int]]:
    """Every open proposal of the serving run: present ones first, most likely first.

    Yields:
        ``(file name, category name, state, score, probability, model run id)``.
    """
    query = (
        select(
            Image.file_name,
            Category.name,
            Proposal.state,
            Proposal.score,
            Proposal.probability,
            Proposal.model_run_id,
        )
        .join(ModelRun, ModelRun.id == Proposal.model_run_id)
        .join(Image, Image.id == Proposal.image_id)
        .join(Category, Category.id == Proposal.category_id)
        .where(
            ModelRun.dataset_id == dataset_id,
            ModelRun.serving,
            Proposal.status == ProposalStatus.OPEN,
        )
        .order_by(Proposal.state.desc(), Proposal.score.desc(), Proposal.id)
        .execution_options(yield_per=10_000)
    )
    for row in session.execute(query):
        yield (row[0], row[1], row[2], row[3], row[4], row[5])
