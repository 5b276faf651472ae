"""Snapshots of a dataset's labels, and what was decided between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from clsl_core.types import JsonObject, LabelSource
from db.models import (
    Annotator,
    Category,
    Decision,
    Image,
    Label,
    Proposal,
    Snapshot,
    Verdict,
    Voice,
)

Triple = tuple[int, int, int]


class Decided(NamedTuple):
    """Who decided a pair last, and when."""

    annotator: str
    at: datetime


def by_name(session: Session, dataset_id: int, name: str) -> Snapshot | None:
    """The snapshot of that name."""
    query = select(Snapshot).where(Snapshot.dataset_id == dataset_id, Snapshot.name == name)
    return session.scalar(query)


def of_dataset(session: Session, dataset_id: int) -> Sequence[Snapshot]:
    """All of them, newest first."""
    query = select(Snapshot).where(Snapshot.dataset_id == dataset_id)
    return session.scalars(query.order_by(Snapshot.id.desc())).all()


def last_decided(
    session: Session, dataset_id: int, after: int, until: int | None
) -> dict[tuple[int, int], Decided]:
    """The newest decision on each pair, of those after one and up to another."""
    bounds = [Decision.dataset_id == dataset_id, Decision.id > after]
    if until is not None:
        bounds.append(Decision.id <= until)
    newest = (
        select(func.max(Decision.id))
        .where(*bounds, Decision.verdict != Verdict.SKIP)
        .group_by(Decision.image_id, Decision.category_id)
    )
    query = (
        select(Decision.image_id, Decision.category_id, Annotator.name, Decision.created_at)
        .join(Annotator, Annotator.id == Decision.annotator_id)
        .where(Decision.id.in_(newest))
    )
    return {
        (image_id, category_id): Decided(name, moment)
        for image_id, category_id, name, moment in session.execute(query)
    }


def standing_decisions(
    session: Session, dataset_id: int, until: int
) -> Iterator[tuple[int, int, Verdict, LabelSource, datetime, str, int | None, float | None]]:
    """The verdicts that stood once a decision was made, oldest first.

    Yields:
        ``(image id, category id, verdict, source, time, annotator, model run id, score)``; the
        last two are of the proposal that was answered.
    """
    query = (
        select(
            Decision.image_id,
            Decision.category_id,
            Decision.verdict,
            Decision.source,
            Decision.created_at,
            Annotator.name,
            Proposal.model_run_id,
            Proposal.score,
        )
        .join(Annotator, Annotator.id == Decision.annotator_id)
        .outerjoin(Proposal, Proposal.id == Decision.proposal_id)
        .where(
            Decision.dataset_id == dataset_id,
            Decision.id <= until,
            Decision.verdict.in_((Verdict.PRESENT, Verdict.ABSENT)),
            Decision.voice != Voice.GOLD,
            or_(Decision.undone_by_id.is_(None), Decision.undone_by_id > until),
        )
        .order_by(Decision.id)
    )
    for row in session.execute(query):
        yield row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]


def provenances(session: Session, dataset_id: int) -> Iterator[tuple[int, int, JsonObject]]:
    """What a file said of where a label came from: ``(image id, category id, provenance)``.

    It stays with the pair when a person decides it.
    """
    query = (
        select(Label.image_id, Label.category_id, Label.provenance)
        .join(Category, Category.id == Label.category_id)
        .where(Category.dataset_id == dataset_id, Label.provenance.is_not(None))
    )
    for image_id, category_id, provenance in session.execute(query):
        yield image_id, category_id, provenance or {}


def file_names(session: Session, image_ids: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Ids and file names of some images."""
    for start in range(0, len(image_ids), 1_000):
        part = image_ids[start : start + 1_000]
        query = select(Image.id, Image.file_name).where(Image.id.in_(part))
        yield from ((id_, name) for id_, name in session.execute(query))


def category_names(session: Session, dataset_id: int) -> dict[int, str]:
    """Category names by id."""
    query = select(Category.id, Category.name).where(Category.dataset_id == dataset_id)
    return {id_: name for id_, name in session.execute(query)}


def labels(session: Session, dataset_id: int) -> Iterator[Triple]:
    """Every known label as ``(image_id, category_id, state)``, in this order."""
    query = (
        select(Label.image_id, Label.category_id, Label.state)
        .join(Category, Category.id == Label.category_id)
        .where(Category.dataset_id == dataset_id, Category.merged_into_id.is_(None))
        .order_by(Label.image_id, Label.category_id)
        .execution_options(yield_per=10_000)
    )
    for image_id, category_id, state in session.execute(query):
        yield image_id, category_id, int(state)
