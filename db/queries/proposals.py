"""Proposals: what a model run thinks of pairs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from clsl_core.types import JsonObject, LabelState
from db.models import (
    Category,
    Decision,
    Image,
    Label,
    ModelRun,
    Panel,
    PanelStatus,
    Proposal,
    ProposalStatus,
    Verdict,
)
from db.queries import runs


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where an open proposal stands: its chance and its turn, as in ``Proposal``."""

    id: int
    image_id: int
    state: LabelState
    chance: float
    turn: int


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
        .where(Label.image_id.in_(image_ids), Category.merged_into_id.is_(None))
        .order_by(Label.image_id, Label.state.desc(), Category.position)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def siblings(
    session: Session,
    run_ids: Collection[int],
    image_ids: Collection[int],
    hidden: ColumnElement[bool],
) -> Sequence[tuple[Proposal, Category]]:
    """Open PRESENT proposals of some images, the most likely of each first, without the hidden."""
    query = (
        select(Proposal, Category)
        .join(Category, Category.id == Proposal.category_id)
        .where(
            Proposal.image_id.in_(image_ids),
            Proposal.model_run_id.in_(run_ids),
            Proposal.status == ProposalStatus.OPEN,
            Proposal.state == LabelState.PRESENT,
            ~hidden,
        )
        .order_by(Proposal.image_id, Proposal.chance.desc(), Proposal.id)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def of_image(session: Session, run_ids: Sequence[int], image_id: int) -> dict[int, int]:
    """The proposals of one image: category id to proposal id, that of the first run with one."""
    query = select(Proposal.category_id, Proposal.id, Proposal.model_run_id).where(
        Proposal.image_id == image_id, Proposal.model_run_id.in_(run_ids)
    )
    last_first = sorted(session.execute(query), key=lambda row: -run_ids.index(row[2]))
    return {row[0]: row[1] for row in last_first}


def settled_disputes(session: Session, dataset_id: int) -> set[tuple[int, int]]:
    """Pairs about which a person, or all of a panel, have answered a disputing proposal."""
    waits = exists().where(
        Panel.image_id == Decision.image_id,
        Panel.category_id == Decision.category_id,
        Panel.status == PanelStatus.WAITING,
    )
    query = (
        select(Decision.image_id, Decision.category_id)
        .join(Proposal, Proposal.id == Decision.proposal_id)
        .where(
            Decision.dataset_id == dataset_id,
            Decision.undone_by_id.is_(None),
            Decision.verdict.in_((Verdict.PRESENT, Verdict.ABSENT)),
            Proposal.disputes,
            ~waits,
        )
    )
    return {(row[0], row[1]) for row in session.execute(query)}


def ranked(
    session: Session, dataset_id: int, *part: ColumnElement[bool]
) -> Iterator[tuple[str, str, LabelState, float, float | None, int]]:
    """Every open proposal that people see: present ones first, most likely first.

    Args:
        session: Reads.
        dataset_id: Of which dataset.
        part: Conditions on image and category.

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
            runs.shown(),
            Proposal.status == ProposalStatus.OPEN,
            *part,
        )
        .order_by(Proposal.state.desc(), Proposal.score.desc(), Proposal.id)
        .execution_options(yield_per=10_000)
    )
    for row in session.execute(query):
        yield (row[0], row[1], row[2], row[3], row[4], row[5])


def count_open(session: Session, dataset_id: int, *part: ColumnElement[bool]) -> int:
    """How many proposals ``ranked`` gives."""
    query = (
        select(func.count())
        .select_from(Proposal)
        .join(ModelRun, ModelRun.id == Proposal.model_run_id)
        .join(Image, Image.id == Proposal.image_id)
        .join(Category, Category.id == Proposal.category_id)
        .where(
            ModelRun.dataset_id == dataset_id,
            runs.shown(),
            Proposal.status == ProposalStatus.OPEN,
            *part,
        )
    )
    return session.scalar(query) or 0


def open_of_category(session: Session, run_id: int, category_id: int) -> list[Waiting]:
    """The open proposals of a category, but not the control arm: that stays as it was drawn."""
    query = select(
        Proposal.id, Proposal.image_id, Proposal.state, Proposal.chance, Proposal.turn
    ).where(
        Proposal.model_run_id == run_id,
        Proposal.category_id == category_id,
        Proposal.status == ProposalStatus.OPEN,
        ~Proposal.control,
    )
    return [Waiting(*row) for row in session.execute(query)]


def settled_images(session: Session, run_id: int, category_id: int) -> set[int]:
    """Images that need no new proposal: a label is known, it was answered, or is in the control."""
    known = select(Label.image_id).where(Label.category_id == category_id)
    answered = select(Proposal.image_id).where(
        Proposal.model_run_id == run_id,
        Proposal.category_id == category_id,
        or_(Proposal.status != ProposalStatus.OPEN, Proposal.control),
    )
    return set(session.scalars(known)) | set(session.scalars(answered))


def images_with(session: Session, run_id: int, category_id: int) -> set[int]:
    """Images about which a run proposes something of one category, answered or not."""
    query = select(Proposal.image_id).where(
        Proposal.model_run_id == run_id, Proposal.category_id == category_id
    )
    return set(session.scalars(query))


def change(session: Session, rows: Sequence[JsonObject]) -> None:
    """Write columns of proposals; each row names its ``id``."""
    if rows:
        session.execute(update(Proposal), rows)


def add(session: Session, rows: Sequence[JsonObject]) -> None:
    """Insert proposals given as column values."""
    if rows:
        session.execute(insert(Proposal), rows)
