"""The next cards for a person: which, in which order, and for nobody else meanwhile."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from app.services.access import rights
from app.services.access.grants import Grant
from app.services.access.rights import Right
from app.services.learning.neighbours import nearest_images
from app.services.reviewing import gold
from app.services.reviewing.cards import Card, Other, make_cards, others_of
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from clsl_core.types import JsonObject, LabelState
from db.models import Category, Image, ModelRun, Proposal, ProposalStatus
from db.queries import assignments, decisions, leases, panels, proposals, queue, runs, stored
from db.types import now

LEASE = timedelta(minutes=5)
MAX_CARDS = 100
REST = ", rest"
MAX_RENEWED = 500
WITH_OTHERS = ("likely", "mixed", "uncertain", "flagged")
"""Queues whose cards bring the image's other proposals along. The others must stay pure."""

WITH_GOLD = ("likely", "mixed", "uncertain", "absent")

Rows = Sequence[tuple[Proposal, Image, Category]]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueQuery:
    """Which cards somebody wants.

    Attributes:
        strategy: A name in ``db.queries.queue.ORDERS``.
        state: ``present`` or ``absent``; None for the strategy's own.
        lowest, highest: Bounds of the probability (of the score where there is none).
        split: Images of this split only.
        text: Part of the file name, in any case.
        anchor: For ``similar``: the image whose neighbours are wanted; None for the one in which
            the annotator last found something.
        after: Cursor of the page before; None for the first page.
        siblings: Whether cards bring the image's other proposals along.
    """

    strategy: str = "likely"
    category_id: int | None = None
    state: str | None = None
    lowest: float | None = None
    highest: float | None = None
    split: str | None = None
    text: str | None = None
    anchor: int | None = None
    limit: int = 20
    after: str | None = None
    siblings: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """How many proposals wait: in this queue, of this category, in all.

    ``at_least``: there are more in the queue than were counted.
    """

    queue: int
    category: int | None
    all: int
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class QueuePage:
    """The next cards. ``cursor`` is None at the end, ``left`` is counted on the first page only."""

    cards: list[Card]
    cursor: str | None
    model_run_id: int | None
    left: Left | None

    def to_json(self) -> JsonObject:
        """As the route sends it."""
        return asdict(self)


def next_cards(workspace: Workspace, grant: Grant, query: QueueQuery) -> QueuePage:
    """The next cards for one window of an annotator, leased for five minutes.

    Raises:
        InputError: There is no such strategy, or the cursor is not one of its.
    """
    rights.require(Right.DECIDE)
    _check(query)
    stamp = workspace.instant.stamp(grant.dataset_id)
    after, rest = (None, False)
    if query.after is not None:
        after, rest = _place(query.after, query.strategy, stamp)
    with workspace.database.read() as session:
        run = runs.serving_run(session, grant.dataset_id)
        run_ids = runs.shown_runs(session, grant.dataset_id)
        if not run_ids:
            return QueuePage([], None, None, Left(0, None, 0))
        shared = panels.sharing(session, grant.dataset_id)
        wanted = _filter(workspace, session, grant, run, run_ids, query)
        share = assignments.share(session, grant.dataset_id, grant.annotator_id)
    moment = now()
    hidden = queue.left_out(
        grant.annotator_id, grant.client, moment, moment + 2 * LEASE, judged=not shared.plain
    )
    # Others who want cards wait while these two are one: what is read is free, then it is taken.
    with workspace.database.write(leases.matter(grant.dataset_id)) as session:
        found = _page(session, wanted, hidden, share, query, after=after, rest=rest)
        rows = _sorted(found.rows, wanted)
        rows, others = _grouped(session, run_ids, rows, query, found.hidden)
        _lease(session, grant, rows, others)
    with workspace.database.read() as session:
        cards = make_cards(session, rows, others)
    if shared.gold:
        with workspace.database.write(leases.matter(grant.dataset_id)) as session:
            workspace.database.also(session, grant.dataset_id)  # it may add a proposal
            cards = _with_gold(session, grant, run_ids[0], query, cards, share)
    cursor = None
    if found.more:
        cursor = _cursor(query.strategy, stamp, found.rows[-1][0], found.rest)
    if query.after is not None:
        return QueuePage(cards, cursor, run_ids[0], None)
    with workspace.database.read() as session:  # counting takes long: nobody waits for it
        return QueuePage(cards, cursor, run_ids[0], _left(session, wanted))


@dataclass(frozen=True, slots=True)
class _Found:
    """A page of proposals in the queue's order.

    Attributes:
        hidden: Condition of what was left out.
        rest: It is past what is assigned to the person.
        more: There may be more after it.
    """

    rows: Rows
    hidden: queue.Condition
    rest: bool
    more: bool


def _page(
    session: Session,
    wanted: queue.Filter,
    hidden: queue.Condition,
    share: assignments.Share,
    query: QueueQuery,
    *,
    after: queue.Place | None,
    rest: bool,
) -> _Found:
    """The next proposals: first those that are assigned to the person, then the others."""
    limit = max(1, min(query.limit, MAX_CARDS))
    assigned = bool(share.parts) and not rest
    own = queue.outside(hidden, share) if assigned else hidden
    rows = queue.page(session, wanted, own, after=after, limit=limit)
    if assigned and not (rows or share.exclusive):
        own, rest = hidden, True
        rows = queue.page(session, wanted, own, after=None, limit=limit)
    others_follow = assigned and not (rest or share.exclusive)
    more = bool(rows) and (others_follow or len(rows) == limit) and query.strategy != "similar"
    return _Found(rows, own, rest, more)


def _with_gold(
    session: Session,
    grant: Grant,
    run_id: int,
    query: QueueQuery,
    cards: list[Card],
    share: assignments.Share,
) -> list[Card]:
    """Known answers among the cards; not in queues that estimates rest on, nor in narrow ones."""
    narrow = query.split or query.text or query.lowest is not None or query.highest is not None
    if narrow or query.strategy not in WITH_GOLD:
        return gold.hide(session, grant, cards)
    mixed, pairs = gold.mix_in(session, grant, run_id, cards, query.category_id, share.holds)
    moment = now()
    leases.take(session, grant.annotator_id, grant.client, pairs, moment, moment + LEASE)
    return mixed


def _check(query: QueueQuery) -> None:
    if query.strategy not in queue.ORDERS:
        known = ", ".join(queue.ORDERS)
        raise InputError(f"there is no queue {query.strategy!r}; there are: {known}")
    if query.state not in (None, "present", "absent"):
        raise InputError(f"the state is {query.state!r}, expected present or absent")
    for bound in (query.lowest, query.highest):
        if bound is not None and not 0.0 <= bound <= 1.0:
            raise InputError(f"a probability bound is {bound}, expected a number from 0 to 1")


def _filter(
    workspace: Workspace,
    session: Session,
    grant: Grant,
    run: ModelRun | None,
    run_ids: tuple[int, ...],
    query: QueueQuery,
) -> queue.Filter:
    images: Sequence[int] | None = None
    if query.strategy == "similar":
        anchor = query.anchor
        if anchor is None:
            anchor = decisions.last_present_image(session, grant.dataset_id, grant.annotator_id)
        images = [] if run is None or anchor is None else nearest_images(workspace, run, anchor)
    elif query.strategy == "flagged":
        images = queue.flagged_images(session, grant.dataset_id)
    few = queue.few_images(session, grant.dataset_id, query.split, query.text)
    if few is not None:
        images = few if images is None else [id_ for id_ in images if id_ in set(few)]
    return queue.Filter(
        dataset_id=grant.dataset_id,
        run_ids=run_ids,
        strategy=query.strategy,
        category_id=query.category_id,
        state=None if query.state is None else LabelState.from_word(query.state),
        lowest=query.lowest,
        highest=query.highest,
        split=query.split,
        text=query.text,
        images=images,
    )


def _sorted(rows: Rows, wanted: queue.Filter) -> Rows:
    """Neighbours of an image by nearness; every other queue as it is."""
    if wanted.strategy != "similar" or wanted.images is None:
        return rows
    nearness = {image_id: place for place, image_id in enumerate(wanted.images)}
    return sorted(rows, key=lambda row: nearness[row[1].id])


def _grouped(
    session: Session,
    run_ids: Collection[int],
    rows: Rows,
    query: QueueQuery,
    hidden: queue.Condition,
) -> tuple[Rows, dict[int, list[Other]]]:
    """One card for each image with its other proposals, where the query asks for that."""
    if not query.siblings or query.strategy not in WITH_OTHERS or query.category_id is not None:
        return rows, {}
    others = others_of(session, run_ids, rows, hidden)
    along = {other.proposal_id for several in others.values() for other in several}
    return [row for row in rows if row[0].id not in along], others


def _lease(session: Session, grant: Grant, rows: Rows, others: dict[int, list[Other]]) -> None:
    pairs = {(image.id, category.id) for _, image, category in rows}
    for proposal, image, _ in rows:
        pairs |= {(image.id, other.category_id) for other in others.get(proposal.id, [])}
    moment = now()
    leases.take(session, grant.annotator_id, grant.client, pairs, moment, moment + LEASE)


def _left(session: Session, wanted: queue.Filter) -> Left:
    everything = queue.count_open(session, wanted.run_ids)
    category = wanted.category_id
    of_category = None if category is None else queue.count_open(session, wanted.run_ids, category)
    counted, at_least = queue.count(session, wanted)
    return Left(counted, of_category, everything, at_least)


def renew_leases(workspace: Workspace, grant: Grant, proposal_ids: Collection[int]) -> list[int]:
    """Keep the cards of a window leased for five more minutes.

    Returns:
        Proposals that are lost: somebody else shows them, or they do not wait any more.

    Raises:
        InputError: More than MAX_RENEWED at once.
    """
    rights.require(Right.DECIDE)
    if len(proposal_ids) > MAX_RENEWED:
        raise InputError(f"{len(proposal_ids)} proposals in one request: at most {MAX_RENEWED}")
    moment = now()
    latest = moment + 2 * LEASE
    held = leases.held_by_others(grant.annotator_id, grant.client, moment, latest)
    with workspace.database.write(leases.matter(grant.dataset_id)) as session:
        kept = queue.still_open(session, grant.dataset_id, proposal_ids, held)
        leases.take(
            session, grant.annotator_id, grant.client, kept.values(), moment, moment + LEASE
        )
    return [id_ for id_ in proposal_ids if id_ not in kept]


def release_leases(workspace: Workspace, grant: Grant) -> None:
    """A window was closed: what it showed is free for everybody."""
    with workspace.database.write(leases.matter(grant.dataset_id)) as session:
        leases.release_all(session, grant.annotator_id, grant.client)


def card_of(session: Session, proposal_id: int) -> Card | None:
    """The card of a proposal that waits for an answer in the serving run, else None."""
    row = proposals.card(session, proposal_id)
    if row is None or row[0].status is ProposalStatus.DECIDED:
        return None
    run = stored.one(session, ModelRun, row[0].model_run_id)
    seen = run.id in runs.shown_runs(session, run.dataset_id)
    return make_cards(session, [row])[0] if seen else None


def _cursor(strategy: str, stamp: int, proposal: Proposal, rest: bool) -> str:
    name = strategy + REST if rest else strategy
    place = json.dumps([name, stamp, *queue.ORDERS[strategy].place(proposal)])
    return base64.urlsafe_b64encode(place.encode()).decode()


def _place(cursor: str, strategy: str, stamp: int) -> tuple[queue.Place | None, bool]:
    """Read a cursor, and whether it is past what is assigned.

    The place is None, the queue's front, where the order has changed since.

    The cards in between are not lost: what was decided is no longer open, and the client knows
    what it holds.

    Raises:
        InputError: It is damaged, or of another queue.
    """
    try:
        found, made, *place = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InputError("the cursor is damaged: begin the queue again") from error
    numbers = [v for v in (made, *place) if isinstance(v, int | float) and not isinstance(v, bool)]
    fitting = len(numbers) == len(place) + 1 == len(queue.ORDERS[strategy].columns) + 1
    bounded = all(math.isfinite(value) and abs(value) < 2**53 for value in numbers)
    rest = found == strategy + REST
    if not (found == strategy or rest) or not fitting or not bounded:
        raise InputError("the cursor belongs to another queue: begin the queue again")
    return (tuple(place) if made == stamp else None), rest
