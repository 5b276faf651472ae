"""Cards: a proposal with everything a person needs to see to answer it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from db.models import Category, Image, Proposal
from db.queries import flags, proposals, runs
from db.queries.queue import Condition

IMAGE_SIZE = 960
MAX_OTHERS = 8


@dataclass(frozen=True, slots=True)
class KnownLabel:
    """A label of the same image that is known already."""

    category_id: int
    category: str
    state: str
    source: str


@dataclass(frozen=True, slots=True)
class Other:
    """Another open proposal of the same image."""

    proposal_id: int
    category_id: int
    category: str
    supercategory: str | None
    state: str
    score: float
    probability: float | None
    heatmap_url: str | None


@dataclass(frozen=True, slots=True)
class FlagView:
    """What somebody found odd about the image."""

    comment: str
    annotator: str


@dataclass(frozen=True, slots=True)
class Card:
    """One question for a person: is this category in this image?

    ``disputes``: a label is known, and the model holds ``state``, the opposite of it.
    """

    proposal_id: int
    image_id: int
    category_id: int
    category: str
    supercategory: str | None
    state: str
    score: float
    probability: float | None
    model_run_id: int
    model: str
    file_name: str
    width: int | None
    height: int | None
    image_url: str
    heatmap_url: str | None
    disputes: bool = False
    known: list[KnownLabel] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    flag: FlagView | None = None


def make_cards(
    session: Session,
    rows: Sequence[tuple[Proposal, Image, Category]],
    others: Mapping[int, list[Other]] | None = None,
) -> list[Card]:
    """Cards of some proposals, with what is known of their images.

    Args:
        session: Reads labels and flags, once for all.
        rows: The proposals.
        others: Other proposals of the image, by the id of the card's own.
    """
    image_ids = {image.id for _, image, _ in rows}
    known: dict[int, list[KnownLabel]] = {}
    for image_id, category, label in proposals.known_labels(session, image_ids):
        entry = KnownLabel(label.category_id, category, label.state.word, label.source.value)
        known.setdefault(image_id, []).append(entry)
    models = runs.outside_names(session, {proposal.model_run_id for proposal, _, _ in rows})
    flagged = flags.open_flags(session, image_ids)
    return [
        Card(
            proposal_id=proposal.id,
            image_id=image.id,
            category_id=category.id,
            category=category.name,
            supercategory=category.supercategory,
            state=proposal.state.word,
            score=_score(proposal),
            probability=_probability(proposal),
            model_run_id=proposal.model_run_id,
            model=models.get(proposal.model_run_id, ""),
            file_name=image.file_name,
            width=image.width,
            height=image.height,
            image_url=f"/api/images/{image.id}?size={IMAGE_SIZE}",
            heatmap_url=_heatmap_url(proposal),
            disputes=proposal.disputes,
            known=known.get(image.id, []),
            others=(others or {}).get(proposal.id, []),
            flag=FlagView(*flagged[image.id]) if image.id in flagged else None,
        )
        for proposal, image, category in rows
    ]


def others_of(
    session: Session,
    run_ids: Collection[int],
    rows: Sequence[tuple[Proposal, Image, Category]],
    hidden: Condition,
) -> dict[int, list[Other]]:
    """The other open proposals of the images of some rows, by the id of the row's proposal.

    Where several rows are of one image, the first of them brings up to MAX_OTHERS along; each
    proposal is on one card only.
    """
    first: dict[int, int] = {}
    for proposal, image, _ in rows:
        first.setdefault(image.id, proposal.id)
    found: dict[int, list[Other]] = {id_: [] for id_ in first.values()}
    for proposal, category in proposals.siblings(session, run_ids, list(first), hidden):
        others = found[first[proposal.image_id]]
        if proposal.id != first[proposal.image_id] and len(others) < MAX_OTHERS:
            others.append(_other(proposal, category))
    return found


def _other(proposal: Proposal, category: Category) -> Other:
    return Other(
        proposal_id=proposal.id,
        category_id=category.id,
        category=category.name,
        supercategory=category.supercategory,
        state=proposal.state.word,
        score=_score(proposal),
        probability=_probability(proposal),
        heatmap_url=_heatmap_url(proposal),
    )


def _probability(proposal: Proposal) -> float | None:
    """The probability as verdicts since the training have moved it; None without calibration."""
    return None if proposal.probability is None else proposal.chance


def _score(proposal: Proposal) -> float:
    """The score; where no probability is shown, as verdicts since the training have moved it."""
    return proposal.chance if proposal.probability is None else proposal.score


def _heatmap_url(proposal: Proposal) -> str | None:
    return None if proposal.heatmap_row is None else f"/api/heatmaps/{proposal.id}"
