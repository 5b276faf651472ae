"""Known answers among the questions: who is asked one cannot tell it from the others."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.grants import Grant
from app.services.access.rights import Right
from app.services.reviewing.cards import Card, make_cards
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import InputError
from clsl_core.types import LabelState
from db.models import Category, Gold, Image, Lease, Proposal, ProposalStatus
from db.queries import gold, stored
from db.types import now

EVERY = 20
"""One question in so many, on average, is one with a known answer."""
MOST = 5_000
TRIED = 20


def add(workspace: Workspace, name: str, number: int) -> int:
    """Draw pairs with a known label, as many present as absent as far as there are any.

    Returns:
        How many were drawn.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset.
        InputError: The number is not from 1 to MOST, or no label is known.
    """
    rights.require(Right.MANAGE)
    if not 1 <= number <= MOST:
        raise InputError(f"{number} pairs: give a number from 1 to {MOST}")
    with workspace.database.read() as session:
        dataset_id = find_dataset(session, name).id
    with workspace.database.write(dataset_id) as session:
        absent = gold.draw(session, dataset_id, LabelState.ABSENT, number)
        present = gold.draw(session, dataset_id, LabelState.PRESENT, number)
        some = max(number // 2, number - len(present))
        chosen = [*absent[:some], *present[: number - len(absent[:some])]]
        if not chosen:
            raise InputError(f"{name!r} has no label left that could serve as a known answer")
        stored.add(session, *chosen)
        audit_log.record(session, "gold", f"dataset {dataset_id}", pairs=len(chosen))
        return len(chosen)


def clear(workspace: Workspace, name: str) -> int:
    """Ask no known answers any more; what was measured with them is gone.

    Returns:
        How many pairs there were.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset.
    """
    rights.require(Right.MANAGE)
    with workspace.database.read() as session:
        dataset_id = find_dataset(session, name).id
    with workspace.database.write(dataset_id) as session:
        number = gold.count(session, dataset_id)
        gold.clear(session, dataset_id)
        audit_log.record(session, "gold", f"dataset {dataset_id}", cleared=number)
        return number


def mix_in(
    session: Session,
    grant: Grant,
    run_id: int,
    cards: Sequence[Card],
    category_id: int | None,
    fits: Callable[[Image, Category], bool],
) -> tuple[list[Card], set[tuple[int, int]]]:
    """A page of cards with known answers among them, now and then.

    Such a card shows what the card beside it shows of the model, and no card shows the label.

    Args:
        session: Writes: a proposal for the pair, where the run has none.
        grant: Who is asked.
        run_id: The serving run.
        cards: The page.
        category_id: The only category wanted; None for all.
        fits: Whether somebody is given questions on an image and a category.

    Returns:
        The cards, and the pairs to lease besides theirs.
    """
    made = hide(session, grant, cards)
    if not cards or secrets.randbelow(EVERY) >= len(cards):
        return made, set()
    found = gold.unasked(session, grant.dataset_id, grant.annotator_id, category_id, TRIED)
    for known, image, category in found:
        if not fits(image, category) or _held(session, known):
            continue
        place = secrets.randbelow(len(made) + 1)
        beside = made[min(place, len(made) - 1)]
        proposal = _proposal(session, run_id, known, beside)
        if proposal.status is not ProposalStatus.DECIDED:
            continue
        (card,) = hide(session, grant, make_cards(session, [(proposal, image, category)]))
        shown = replace(
            card,
            state=beside.state,
            score=beside.score,
            probability=beside.probability,
            disputes=False,
        )
        return [*made[:place], shown, *made[place:]], {(image.id, category.id)}
    return made, set()


def hide(session: Session, grant: Grant, cards: Sequence[Card]) -> list[Card]:
    """Cards without the labels that are secret to whoever sees them."""
    hidden = gold.secret(session, grant.annotator_id, {card.image_id for card in cards})
    return [
        replace(
            card,
            known=[one for one in card.known if (card.image_id, one.category_id) not in hidden],
        )
        for card in cards
    ]


def _held(session: Session, known: Gold) -> bool:
    lease = stored.find(session, Lease, (known.image_id, known.category_id))
    return lease is not None and lease.expires_at > now()


def _proposal(session: Session, run_id: int, known: Gold, beside: Card) -> Proposal:
    """The run's proposal of a gold pair; where there is none, one that no queue ever holds."""
    found = gold.proposal(session, run_id, known)
    if found is None:
        found = Proposal(
            model_run_id=run_id,
            image_id=known.image_id,
            category_id=known.category_id,
            state=LabelState.from_word(beside.state),
            score=beside.score,
            probability=beside.probability,
            status=ProposalStatus.DECIDED,
        )
        stored.add(session, found)
        session.flush()
    return found
