"""Labels: the present knowledge about pairs of image and category."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from clsl_core.types import LabelSource, LabelState, Origin
from db.models import Category, Decision, Label, Proposal


def triples(session: Session, dataset_id: int) -> Iterator[tuple[int, int, int]]:
    """Every known label of a dataset as ``(image_id, category_id, state)``."""
    query = (
        select(Label.image_id, Label.category_id, Label.state)
        .join(Category, Category.id == Label.category_id)
        .where(Category.dataset_id == dataset_id, Category.merged_into_id.is_(None))
        .execution_options(yield_per=10_000)
    )
    for image_id, category_id, state in session.execute(query):
        yield image_id, category_id, int(state)


def with_origins(session: Session, dataset_id: int) -> Iterator[tuple[int, int, int, Origin]]:
    """Labels from files and people as ``(image_id, category_id, state, origin)``."""
    query = (
        select(
            Label.image_id,
            Label.category_id,
            Label.state,
            case(
                (Label.source == LabelSource.IMPORT, Origin.IMPORTED.value),
                (Proposal.control, Origin.RANDOM.value),
                (Proposal.id.is_not(None), Origin.QUEUE.value),
                else_=Origin.UNASKED.value,
            ),
        )
        .join(Category, Category.id == Label.category_id)
        .outerjoin(Decision, Decision.id == Label.decision_id)
        .outerjoin(Proposal, Proposal.id == Decision.proposal_id)
        .where(
            Category.dataset_id == dataset_id,
            Category.merged_into_id.is_(None),
            Label.source.in_((LabelSource.IMPORT, LabelSource.HUMAN)),
        )
        .order_by(Label.image_id, Label.category_id)
        .execution_options(yield_per=10_000)
    )
    for image_id, category_id, state, origin in session.execute(query):
        yield image_id, category_id, int(state), Origin(origin)


def counts_by_state(session: Session, dataset_id: int) -> dict[LabelState, int]:
    """How many labels are PRESENT and how many ABSENT."""
    query = (
        select(Label.state, func.count())
        .join(Category, Category.id == Label.category_id)
        .where(Category.dataset_id == dataset_id, Category.merged_into_id.is_(None))
        .group_by(Label.state)
    )
    return {state: count for state, count in session.execute(query)}


def of_pairs(session: Session, pairs: Collection[tuple[int, int]]) -> Sequence[Label]:
    """The labels of some ``(image id, category id)`` pairs, where there are any."""
    # SQLite reads the whole table for (a, b) IN (VALUES …), and only the index for this.
    query = select(Label).where(
        Label.image_id.in_({image_id for image_id, _ in pairs}),
        Label.category_id.in_({category_id for _, category_id in pairs}),
    )
    wanted = set(pairs)
    found = session.scalars(query)
    return [label for label in found if (label.image_id, label.category_id) in wanted]


def categories_of(session: Session, image_id: int) -> set[int]:
    """The categories of which something is known in one image."""
    return set(session.scalars(select(Label.category_id).where(Label.image_id == image_id)))


def decided_after(
    session: Session, category_id: int, decision_id: int
) -> Sequence[tuple[int, LabelState]]:
    """What people said of a category in later decisions: image ids and states, oldest first."""
    query = (
        select(Label.image_id, Label.state)
        .where(
            Label.category_id == category_id,
            Label.decision_id > decision_id,
            Label.source == LabelSource.HUMAN,
        )
        .order_by(Label.decision_id)
    )
    return [(row[0], row[1]) for row in session.execute(query)]
