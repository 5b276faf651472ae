"""The review queue: a keyset-paged read of open proposals, in the order a strategy asks for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    case,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from clsl_core.types import LabelState
from db.models import (
    Category,
    Decision,
    Flag,
    Gold,
    Image,
    ModelRun,
    Proposal,
    ProposalStatus,
    Verdict,
    Voice,
)
from db.queries import leases, runs
from db.queries.assignments import Share

FEW_IMAGES = 5_000
COUNTED = 1_000
EVERYTHING = 2**62  # a limit keeps the order in a subquery, and with it the order's index

Row = tuple[Proposal, Image, Category]
Place = tuple[float | int, ...]
Condition = ColumnElement[bool]
"""On proposals."""


@dataclass(frozen=True, slots=True)
class Order:
    """Columns that together are unique, all rising or all falling, so that an index gives them."""

    columns: tuple[InstrumentedAttribute[Any], ...]
    falling: bool

    def after(self, place: Place) -> ColumnElement[bool]:
        """The condition of what comes after a place."""
        row = tuple_(*self.columns)
        return row < place if self.falling else row > place

    @property
    def clauses(self) -> list[ColumnElement[Any]]:
        """For ORDER BY."""
        return [c.desc() if self.falling else c.asc() for c in self.columns]

    def place(self, proposal: Proposal) -> Place:
        """Where a proposal stands in this order."""
        return tuple(getattr(proposal, column.key) for column in self.columns)


_LIKELY = Order((Proposal.chance, Proposal.score, Proposal.id), falling=True)

ORDERS: dict[str, Order] = {
    "likely": _LIKELY,
    "uncertain": Order((Proposal.margin, Proposal.id), falling=False),
    "mixed": Order((Proposal.turn, Proposal.id), falling=False),
    "absent": _LIKELY,
    "random": Order((Proposal.lot, Proposal.id), falling=False),
    "disagreements": _LIKELY,
    "flagged": _LIKELY,
    "similar": _LIKELY,
}
"""Strategy to order. ``similar`` is sorted by nearness afterwards: it is never long."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What belongs to a queue.

    Attributes:
        run_ids: The runs whose proposals are shown, the serving one first.
        images: Only these images, not very many; the proposals are then found through them
            instead of in the queue's order. None for all.
    """

    dataset_id: int
    run_ids: tuple[int, ...]
    strategy: str
    category_id: int | None = None
    state: LabelState | None = None
    lowest: float | None = None
    highest: float | None = None
    split: str | None = None
    text: str | None = None
    images: Sequence[int] | None = None


def conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    """The conditions that select a queue."""
    disputed = wanted.strategy == "disagreements"
    status = ProposalStatus.DISPUTED if disputed else ProposalStatus.OPEN
    found: list[ColumnElement[bool]] = [_of_run(wanted), Proposal.status == status]
    if len(wanted.run_ids) > 1:
        found.append(~_said_before(wanted))
    state = wanted.state or _usual_state(wanted.strategy)
    if state is not None:
        found.append(Proposal.state == state)
    if wanted.strategy == "random":
        # As in the index's own condition: SQLite knows it by its form.
        found.append(literal_column("proposal.control"))
    if wanted.category_id is not None:
        found.append(Proposal.category_id == wanted.category_id)
    if wanted.lowest is not None:
        found.append(Proposal.chance >= wanted.lowest)
    if wanted.highest is not None:
        found.append(Proposal.chance <= wanted.highest)
    return [*found, *_of_images(wanted)]


def _usual_state(strategy: str) -> LabelState | None:
    if strategy in ("likely", "mixed", "similar"):
        return LabelState.PRESENT
    return LabelState.ABSENT if strategy == "absent" else None


def _of_run(wanted: Filter) -> ColumnElement[bool]:
    """The run; of few images so that none of the indexes that begin with it can be taken."""
    run = Proposal.model_run_id if wanted.images is None else Proposal.model_run_id + 0
    return run == wanted.run_ids[0] if len(wanted.run_ids) == 1 else run.in_(wanted.run_ids)


def _said_before(wanted: Filter) -> ColumnElement[bool]:
    """That a run of the list before it says the same of the pair: nobody is asked twice."""
    other = aliased(Proposal)
    order = {run_id: place for place, run_id in enumerate(wanted.run_ids)}
    place = case(order, value=Proposal.model_run_id)
    return exists().where(
        other.image_id == Proposal.image_id,
        other.category_id == Proposal.category_id,
        other.state == Proposal.state,
        other.status == Proposal.status,
        other.model_run_id.in_(wanted.run_ids),
        case(order, value=other.model_run_id) < place,
    )


def _of_images(wanted: Filter) -> list[ColumnElement[bool]]:
    """Conditions on the image, as sets of ids."""
    if wanted.images is not None:
        return [Proposal.image_id.in_(wanted.images) if wanted.images else false()]
    if wanted.split is None and wanted.text is None:
        return []
    return [Proposal.image_id.in_(_images(wanted.dataset_id, wanted.split, wanted.text))]


def _images(dataset_id: int, split: str | None, text: str | None) -> Select[int]:
    query = select(Image.id).where(Image.dataset_id == dataset_id)
    if split is not None:
        query = query.where(Image.split == split)
    if text is not None:
        query = query.where(Image.file_name.icontains(text, autoescape=True))
    return query


def few_images(
    session: Session, dataset_id: int, split: str | None, text: str | None
) -> list[int] | None:
    """The images that a split and a part of the name leave; None when they are many."""
    if split is None and text is None:
        return None
    found = session.scalars(_images(dataset_id, split, text).limit(FEW_IMAGES + 1)).all()
    return list(found) if len(found) <= FEW_IMAGES else None


def flagged_images(session: Session, dataset_id: int) -> list[int]:
    """Images with an open flag, at most FEW_IMAGES, the latest flagged first."""
    query = (
        select(Flag.image_id)
        .where(Flag.dataset_id == dataset_id, Flag.resolved_at.is_(None))
        .group_by(Flag.image_id)
        .order_by(func.max(Flag.id).desc())
        .limit(FEW_IMAGES)
    )
    return list(session.scalars(query))


def skipped_by(annotator_id: int) -> ColumnElement[bool]:
    """The condition that an annotator has skipped a proposal."""
    skip = aliased(Decision)
    return exists().where(
        skip.proposal_id == Proposal.id,
        skip.annotator_id == annotator_id,
        skip.verdict == Verdict.SKIP,
        skip.undone_by_id.is_(None),
    )


def judged_by(annotator_id: int) -> ColumnElement[bool]:
    """The condition that an annotator has judged a proposal's pair as one of several people."""
    mine = aliased(Decision)
    return exists().where(
        mine.image_id == Proposal.image_id,
        mine.category_id == Proposal.category_id,
        mine.annotator_id == annotator_id,
        mine.voice.in_((Voice.PANEL, Voice.GOLD)),
        mine.verdict.in_((Verdict.PRESENT, Verdict.ABSENT)),
        mine.undone_by_id.is_(None),
    )


def left_out(
    annotator_id: int, client: str, moment: datetime, latest: datetime, *, judged: bool
) -> Condition:
    """The condition of what one window of somebody is not shown.

    Args:
        annotator_id: Who.
        client: Which window.
        moment: Now.
        latest: The latest moment at which a lease can end.
        judged: Whether what they have judged stays out: where several judge a pair.
    """
    found = or_(
        leases.held_by_others(annotator_id, client, moment, latest), skipped_by(annotator_id)
    )
    return or_(found, judged_by(annotator_id)) if judged else found


def outside(hidden: Condition, share: Share) -> Condition:
    """What is left out, and whatever is not in somebody's share."""
    return or_(hidden, ~share.condition())


def page(
    session: Session,
    wanted: Filter,
    hidden: Condition,
    *,
    after: Place | None,
    limit: int,
) -> Sequence[Row]:
    """The next proposals of a queue.

    Args:
        session: Reads.
        wanted: Which queue.
        hidden: Condition of what is left out.
        after: Place of the last proposal that was given out; None for the first page.
        limit: Most rows.
    """
    order = ORDERS[wanted.strategy]
    query = (
        select(Proposal, Image, Category)
        .join(Image, Image.id == Proposal.image_id)
        .join(Category, Category.id == Proposal.category_id)
        .where(*conditions(wanted), ~hidden)
        .order_by(*order.clauses)
        .limit(limit)
    )
    if after is not None:
        query = query.where(order.after(after))
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def count(session: Session, wanted: Filter) -> tuple[int, bool]:
    """How many proposals a queue holds for everybody together.

    Where many images are picked out by name, counting all would read everything: it stops at
    COUNTED then.

    Returns:
        The number, and whether there may be more.
    """
    searched = wanted.images is None and not (wanted.split is None and wanted.text is None)
    found = (
        select(Proposal.id)
        .where(*conditions(wanted))
        .order_by(*ORDERS[wanted.strategy].clauses)
        .limit(COUNTED if searched else EVERYTHING)
    )
    counted = session.scalar(select(func.count()).select_from(found.subquery())) or 0
    return counted, searched and counted == COUNTED


def count_open(session: Session, run_ids: Collection[int], category_id: int | None = None) -> int:
    """How many proposals of some runs wait for an answer, in all or of one category."""
    query = select(func.count()).select_from(Proposal)
    query = query.where(Proposal.model_run_id.in_(run_ids), Proposal.status == ProposalStatus.OPEN)
    if category_id is not None:
        query = query.where(Proposal.category_id == category_id)
    return session.scalar(query) or 0


def busiest_category(session: Session, run_ids: Collection[int]) -> int | None:
    """The category that stands most often among the likeliest open proposals of some runs."""
    likeliest = (
        select(Proposal.category_id)
        .where(
            Proposal.model_run_id.in_(run_ids),
            Proposal.status == ProposalStatus.OPEN,
            Proposal.state == LabelState.PRESENT,
        )
        .order_by(*_LIKELY.clauses)
        .limit(COUNTED)
        .subquery()
    )
    category_id = likeliest.c.category_id
    query = select(category_id).group_by(category_id).order_by(func.count().desc(), category_id)
    return session.scalar(query.limit(1))


def still_open(
    session: Session, dataset_id: int, proposal_ids: Collection[int], held: ColumnElement[bool]
) -> dict[int, tuple[int, int]]:
    """Which of some proposals wait for an answer and are not held: id to image and category.

    Pairs with a known answer wait for ever.
    """
    known = exists().where(
        Gold.image_id == Proposal.image_id, Gold.category_id == Proposal.category_id
    )
    query = (
        select(Proposal.id, Proposal.image_id, Proposal.category_id)
        .join(ModelRun, ModelRun.id == Proposal.model_run_id)
        .join(Category, Category.id == Proposal.category_id)
        .where(
            Category.merged_into_id.is_(None),
            Proposal.id.in_(proposal_ids),
            or_(Proposal.status != ProposalStatus.DECIDED, known),
            runs.shown(),
            ModelRun.dataset_id == dataset_id,
            ~held,
        )
    )
    return {row[0]: (row[1], row[2]) for row in session.execute(query)}
