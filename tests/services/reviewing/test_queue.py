"""The queue: every order by index, no page repeats or leaves out, a pair for one window only."""

import random
import threading
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import event, select, text, update

from app.services.access.grants import Grant
from app.services.learning import neighbours
from app.services.reviewing import flags, undo, verdicts
from app.services.reviewing.cards import MAX_OTHERS
from app.services.reviewing.queue import QueueQuery, next_cards, release_leases, renew_leases
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from clsl_core.types import LabelState
from db.models import Image, Label, Lease, ModelRun, Proposal, ProposalStatus
from db.queries import leases, queue
from db.types import now
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

ORDERS = {
    "likely": lambda p: (-p.chance, -p.score, -p.id),
    "uncertain": lambda p: (p.margin, p.id),
    "mixed": lambda p: (p.turn, p.id),
    "absent": lambda p: (-p.chance, -p.score, -p.id),
    "random": lambda p: (p.lot, p.id),
}


def begun(workspace: Workspace) -> Grant:
    """30 × 5 pairs, 120 of them proposed: with ties, both states, a control arm."""
    document = coco_document(images=30, categories=5)
    for number, image in enumerate(document["images"]):
        image["split"] = "train" if number % 2 else "val"
    dataset_id = make_dataset(workspace, document=document).dataset_id
    rng = random.Random(7)
    make_proposals(
        workspace,
        dataset_id,
        score=lambda i: rng.randrange(100) / 100,
        probability=lambda i: rng.choice([None, 0.25, 0.5, 0.9]),
        state=lambda i: LabelState.PRESENT if i % 4 else LabelState.ABSENT,
        control=lambda i: i % 3 == 0,
        turn=lambda i: rng.randrange(10_000),
    )
    return make_grant(workspace, dataset_id)


pytestmark = [pytest.mark.both_databases, pytest.mark.filled(by=begun)]


@pytest.fixture
def grant(known: Grant) -> Grant:
    return known


def proposals(workspace: Workspace) -> list[Proposal]:
    with workspace.database.read() as session:
        return list(session.scalars(select(Proposal)))


def pages(workspace: Workspace, grant: Grant, query: QueueQuery) -> list[int]:
    """Every proposal of a queue, page by page."""
    found: list[int] = []
    while True:
        page = next_cards(workspace, grant, query)
        found += [card.proposal_id for card in page.cards]
        if page.cursor is None:
            return found
        query = replace(query, after=page.cursor)


@pytest.mark.parametrize("strategy", ORDERS)
def test_pages_give_the_whole_queue_once_and_in_order(
    workspace: Workspace, grant: Grant, strategy: str
) -> None:
    wanted = [
        p
        for p in proposals(workspace)
        if {
            "likely": p.state is LabelState.PRESENT,
            "mixed": p.state is LabelState.PRESENT,
            "absent": p.state is LabelState.ABSENT,
            "random": p.control,
        }.get(strategy, True)
    ]
    found = pages(workspace, grant, QueueQuery(strategy=strategy, limit=7))
    assert found == [p.id for p in sorted(wanted, key=ORDERS[strategy])]
    first = next_cards(workspace, grant, QueueQuery(strategy=strategy))
    assert first.left is not None
    assert (first.left.queue, first.left.all) == (len(wanted), 120)


def test_pages_stay_whole_while_cards_are_decided(workspace: Workspace, grant: Grant) -> None:
    expected = pages(workspace, grant, QueueQuery(limit=100))
    query, found = QueueQuery(limit=7), []
    while True:
        page = next_cards(workspace, grant, query)
        found += [card.proposal_id for card in page.cards]
        answers = [
            Answer(f"client-{card.proposal_id}", card.image_id, card.category_id, "absent")
            for card in page.cards[::2]
        ]
        verdicts.decide(workspace, grant, answers)
        if page.cursor is None:
            break
        query = replace(query, after=page.cursor)
    assert found == expected


@pytest.mark.parametrize("strategy", [*ORDERS, "disagreements"])
@pytest.mark.parametrize("category", [None, 1])
def test_every_order_comes_from_an_index(
    workspace: Workspace, grant: Grant, strategy: str, category: int | None
) -> None:
    if category and strategy in ("mixed", "random"):
        pytest.skip("the order's index is read through, the category only filters")
    wanted = queue.Filter(dataset_id=1, run_ids=(1,), strategy=strategy, category_id=category)
    state = None if strategy != "disagreements" else LabelState.PRESENT
    wanted = replace(wanted, state=state)
    plan: list[str] = []
    with workspace.database.read() as session:
        hidden = leases.held_by_others(1, "", now(), now()) | queue.skipped_by(1)
        bind = session.connection()
        sqlite = bind.dialect.name == "sqlite"
        explained = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"

        def explain(_c, _cursor, statement, parameters, _context, _many) -> None:
            if statement.startswith("SELECT proposal"):
                cursor = bind.connection.cursor()
                if not sqlite:  # so few rows are sorted otherwise, whatever indexes there are
                    cursor.execute("SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off")
                cursor.execute(f"{explained} {statement}", parameters)
                plan.extend(str(row[-1]) for row in cursor.fetchall())

        event.listen(bind, "before_cursor_execute", explain)
        queue.page(session, wanted, hidden, after=None, limit=10)
    assert plan
    assert not [line for line in plan if "TEMP B-TREE" in line or "Sort" in line], plan


@pytest.mark.parametrize("few", [queue.FEW_IMAGES, 3])
def test_filters(
    workspace: Workspace, grant: Grant, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(queue, "FEW_IMAGES", few)  # found through the images, or in their order
    everything = {p.id: p for p in proposals(workspace)}

    def found(**options) -> list[Proposal]:
        query = QueueQuery(strategy="uncertain", limit=100, **options)
        return [everything[id_] for id_ in pages(workspace, grant, query)]

    def expected(condition) -> set[int]:
        return {p.id for p in everything.values() if condition(p)}

    with workspace.database.read() as session:
        images = {image.id: image for image in session.scalars(select(Image))}
    assert {p.id for p in found(category_id=2)} == expected(lambda p: p.category_id == 2)
    assert {p.id for p in found(state="absent")} == expected(lambda p: p.state < 0)
    assert {p.id for p in found(lowest=0.3, highest=0.6)} == expected(
        lambda p: 0.3 <= p.chance <= 0.6
    )
    assert {p.id for p in found(split="val")} == expected(
        lambda p: images[p.image_id].split == "val"
    )
    assert {p.id for p in found(text="01")} == expected(
        lambda p: "01" in images[p.image_id].file_name
    )
    assert found(text="%") == []
    assert found(text="_") == []


@pytest.mark.refusal
@pytest.mark.parametrize(
    "query",
    [
        QueueQuery(strategy="newest"),
        QueueQuery(state="maybe"),
        QueueQuery(lowest=-0.1),
        QueueQuery(highest=float("nan")),
        QueueQuery(after="%%%"),
        QueueQuery(after="W10="),
        QueueQuery(after="WyJsaWtlbHkiLDEsMl0="),
        QueueQuery(after="WyJsaWtlbHkiLDEsMiwiYSJd"),
        QueueQuery(after="WyJsaWtlbHkiLDEsMixOYU5d"),
        QueueQuery(after="WyJ1bmNlcnRhaW4iLDEsMl0="),
        QueueQuery(after="x" * 100_000),
    ],
)
def test_what_cannot_be_asked_for_is_said(
    workspace: Workspace, grant: Grant, query: QueueQuery
) -> None:
    with pytest.raises(InputError):
        next_cards(workspace, grant, query)


def test_without_a_model_nothing_is_proposed(workspace: Workspace, grant: Grant) -> None:
    with workspace.database.write() as session:
        session.execute(update(ModelRun).values(serving=False))
    page = next_cards(workspace, grant, QueueQuery())
    assert (page.cards, page.cursor, page.model_run_id) == ([], None, None)


def test_a_card_brings_the_other_proposals_of_its_image(workspace: Workspace, grant: Grant) -> None:
    everything = {p.id: p for p in proposals(workspace)}
    page = next_cards(workspace, grant, QueueQuery(limit=40, siblings=True))
    shown: list[int] = []
    for card in page.cards:
        others = [everything[other.proposal_id] for other in card.others]
        assert len(others) <= MAX_OTHERS
        assert all(p.image_id == card.image_id and p.state > 0 for p in others)
        assert [p.chance for p in others] == sorted((p.chance for p in others), reverse=True)
        shown += [card.proposal_id, *(p.id for p in others)]
    assert len(shown) == len(set(shown))
    with workspace.database.read() as session:
        assert len(session.scalars(select(Lease)).all()) == len(shown)
    for pure in (QueueQuery(strategy="random"), QueueQuery(category_id=1)):
        cards = next_cards(workspace, grant, replace(pure, siblings=True)).cards
        assert all(card.others == [] for card in cards)


def test_two_windows_of_one_person_get_different_cards(workspace: Workspace, grant: Grant) -> None:
    one, two = replace(grant, client="window-one"), replace(grant, client="window-two")
    first = {card.proposal_id for card in next_cards(workspace, one, QueueQuery(limit=5)).cards}
    second = {card.proposal_id for card in next_cards(workspace, two, QueueQuery(limit=5)).cards}
    again = {card.proposal_id for card in next_cards(workspace, one, QueueQuery(limit=5)).cards}
    assert not first & second
    assert first == again
    release_leases(workspace, one)
    third = {card.proposal_id for card in next_cards(workspace, two, QueueQuery(limit=5)).cards}
    assert third == first


def test_leases_are_renewed_and_lost(workspace: Workspace, grant: Grant) -> None:
    other = make_grant(workspace, grant.dataset_id, "bob")
    ids = [card.proposal_id for card in next_cards(workspace, grant, QueueQuery(limit=3)).cards]
    assert renew_leases(workspace, grant, ids) == []
    with workspace.database.write() as session:
        session.execute(update(Lease).values(expires_at=now() - timedelta(seconds=1)))
    taken = [card.proposal_id for card in next_cards(workspace, other, QueueQuery(limit=1)).cards]
    assert renew_leases(workspace, grant, [*ids, 10**6]) == [*taken, 10**6]
    assert renew_leases(workspace, other, ids) == ids[1:]
    with pytest.raises(InputError, match="at most"):
        renew_leases(workspace, grant, range(501))


def test_concurrent_claims_never_share_a_pair(workspace: Workspace, grant: Grant) -> None:
    claimed: list[int] = []
    lock = threading.Lock()

    def claim(number: int) -> None:
        window = replace(grant, client=f"window-{number:03}")
        for _ in range(3):
            page = next_cards(workspace, window, QueueQuery(strategy="uncertain", limit=4))
            answers = [
                Answer(
                    f"client-{c.proposal_id}",
                    c.image_id,
                    c.category_id,
                    "present",
                    c.proposal_id,
                )
                for c in page.cards
            ]
            receipts = verdicts.decide(workspace, window, answers)
            with lock:
                claimed.extend(card.proposal_id for card in page.cards)
                assert {receipt.status for receipt in receipts} == {"saved"}

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 6 * 3 * 4


def test_flagged_pictures_have_a_queue(workspace: Workspace, grant: Grant) -> None:
    card = next_cards(workspace, grant, QueueQuery()).cards[3]
    assert next_cards(workspace, grant, QueueQuery(strategy="flagged")).cards == []
    flags.flag(workspace, grant, "flag-id-1", card.image_id, comment="rotated?")
    found = next_cards(workspace, grant, QueueQuery(strategy="flagged")).cards
    assert {c.image_id for c in found} == {card.image_id}
    assert {(c.flag.comment, c.flag.annotator) for c in found if c.flag} == {("rotated?", "ada")}
    flags.unflag(workspace, grant, "unflag-id-1", card.image_id)
    assert next_cards(workspace, grant, QueueQuery(strategy="flagged")).cards == []


def test_similar_pictures_come_nearest_first(workspace: Workspace, grant: Grant) -> None:
    with workspace.database.write() as session:
        run = session.scalars(select(ModelRun)).one()
        run.directory = "runs/1"
        ids = list(session.scalars(select(Image.id)))
    folder = workspace.data_dir / "runs/1"
    folder.mkdir(parents=True)
    rows = np.asarray([[(i + step) % len(ids) for step in (3, 1, 2)] for i in range(len(ids))])
    neighbours.store(folder, ids[::-1], rows[::-1])

    def found(**options) -> list[int]:
        page = next_cards(workspace, grant, QueueQuery(strategy="similar", limit=100, **options))
        return list(dict.fromkeys(card.image_id for card in page.cards))

    assert found() == []
    expected = [ids[::-1][row] for row in rows[::-1][ids[::-1].index(ids[5])]]
    assert found(anchor=ids[5]) == expected
    assert found(anchor=10**6) == []
    given = Answer("client-id-1", ids[5], 1, "present")
    verdicts.decide(workspace, grant, [given])
    assert found() == expected


class TestDisputes:
    """Labels that the model contradicts."""

    @pytest.fixture
    def disputed(self, workspace: Workspace, grant: Grant) -> Label:
        with workspace.database.write() as session:
            label = session.scalars(select(Label)).first()
            assert label is not None
            session.add(
                Proposal(
                    model_run_id=session.scalars(select(ModelRun.id)).one(),
                    image_id=label.image_id,
                    category_id=label.category_id,
                    state=LabelState.ABSENT,
                    score=0.97,
                    probability=0.95,
                    disputes=True,
                    status=ProposalStatus.DISPUTED,
                )
            )
        return label

    def test_they_are_in_their_own_queue_only(
        self, workspace: Workspace, grant: Grant, disputed: Label
    ) -> None:
        (card,) = next_cards(workspace, grant, QueueQuery(strategy="disagreements")).cards
        assert (card.disputes, card.state) == (True, "absent")
        for strategy in ORDERS:
            query = QueueQuery(strategy=strategy, limit=100)
            assert card.proposal_id not in pages(workspace, grant, query)

    @pytest.mark.parametrize("verdict", ["present", "absent"])
    def test_a_person_settles_them_and_undo_brings_them_back(
        self, workspace: Workspace, grant: Grant, disputed: Label, verdict: str
    ) -> None:
        query = QueueQuery(strategy="disagreements")
        (card,) = next_cards(workspace, grant, query).cards
        answer = Answer("client-id-1", card.image_id, card.category_id, verdict, card.proposal_id)
        assert verdicts.decide(workspace, grant, [answer])[0].status == "saved"
        assert next_cards(workspace, grant, query).cards == []
        other = make_grant(workspace, grant.dataset_id, "bob")
        late = replace(answer, client_id="client-id-2")
        assert verdicts.decide(workspace, other, [late])[0].status == "stale"
        assert undo.undo(workspace, grant, "undo-id-1", "client-id-1").status == "saved"
        with workspace.database.read() as session:
            label = session.get_one(Label, (card.image_id, card.category_id))
            assert (label.state, label.source) == (disputed.state, disputed.source)
        assert [c.proposal_id for c in next_cards(workspace, grant, query).cards] == [
            card.proposal_id
        ]


def test_the_migration_fills_what_queues_are_sorted_by(workspace: Workspace, grant: Grant) -> None:
    for proposal in proposals(workspace):
        chance = proposal.score if proposal.probability is None else proposal.probability
        assert (proposal.chance, proposal.margin) == (chance, abs(chance - 0.5))
    with workspace.database.read() as session:
        lots = session.scalar(text("SELECT COUNT(DISTINCT lot) FROM proposal"))
    assert lots == 120
