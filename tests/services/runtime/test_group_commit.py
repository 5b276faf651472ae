"""Group commit: many stored at once, each with its own outcome, nobody harmed by another."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import event, func, select

from app.services.access.grants import Grant
from app.services.reviewing import queue, verdicts
from app.services.reviewing.queue import QueueQuery, next_cards, release_leases, renew_leases
from app.services.reviewing.verdicts import Answer, Receipt
from app.services.runtime.group_commit import MOST, GroupCommit
from app.services.workspace import Workspace
from clsl_core.errors import DatabaseError, InputError
from db.models import Decision
from tests.builders import coco_document, make_dataset, make_grant, make_proposals
from tests.services.conftest import wait_for

pytestmark = pytest.mark.both_databases


class Stores:
    """What is stored, in groups; the first group waits until it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.go = threading.Event()
        self.begun = threading.Event()

    def together(self, requests: Sequence[str]) -> list[str]:
        self.groups.append(list(requests))
        self.begun.set()
        assert self.go.wait(20)
        if "ends" in requests:
            raise SystemExit
        if "away" in requests:
            raise DatabaseError("the server is away")
        if "odd" in requests:
            raise ValueError("odd")
        return [f"{one}!" for one in requests]


@pytest.fixture
def stores() -> Stores:
    return Stores()


def all_at_once(
    stores: Stores, requests: Sequence[str], sizes: Sequence[int] | None = None
) -> list[object]:
    """What becomes of requests, the first of which is being stored when the others come."""
    line = GroupCommit()
    sizes = sizes or [1] * len(requests)

    def one(request: str, size: int) -> object:
        try:
            return line.store("set", request, stores.together, size=size)
        except BaseException as error:
            return error

    with ThreadPoolExecutor(len(requests)) as pool:
        found = []
        for place, (request, size) in enumerate(zip(requests, sizes, strict=True)):
            found.append(pool.submit(one, request, size))
            if place == 0:
                assert stores.begun.wait(20)
            else:
                wait_for(lambda place=place: len(line._lines["set"].waiting) == place)
        stores.go.set()
        return [future.result(20) for future in found]


def test_those_who_wait_are_stored_at_once_in_their_order(stores: Stores) -> None:
    assert all_at_once(stores, ["a", "b", "c", "d"]) == ["a!", "b!", "c!", "d!"]
    assert stores.groups == [["a"], ["b", "c", "d"]]


def test_a_group_ends_at_its_size_and_a_large_request_goes_alone(stores: Stores) -> None:
    requests, sizes = ["a", "b", "c", "d", "e"], [1, MOST - 1, 1, 1, MOST * 2]
    assert all_at_once(stores, requests, sizes) == ["a!", "b!", "c!", "d!", "e!"]
    assert stores.groups == [["a"], ["b", "c"], ["d"], ["e"]]


def test_what_cannot_be_stored_does_others_no_harm(stores: Stores) -> None:
    a, b, odd, c = all_at_once(stores, ["a", "b", "odd", "c"])
    assert (a, b, c) == ("a!", "b!", "c!")
    assert isinstance(odd, ValueError)
    assert stores.groups == [["a"], ["b", "odd", "c"], ["b"], ["odd"], ["c"]]


def test_a_server_that_is_away_is_asked_once(stores: Stores) -> None:
    a, *others = all_at_once(stores, ["a", "away", "b"])
    assert a == "a!"
    assert [str(one) for one in others] == ["the server is away"] * 2
    assert len({id(one) for one in others}) == 2
    assert stores.groups == [["a"], ["away", "b"]]


def test_who_is_stopped_half_way_leaves_the_others_to_themselves(stores: Stores) -> None:
    a, ends, *others = all_at_once(stores, ["a", "ends", "b", "c"])
    assert a == "a!"
    assert isinstance(ends, SystemExit)
    stored = [one for one in others if isinstance(one, str)]
    assert stored in (["b!", "c!"], ["b!"], ["c!"])  # without the one that stored for all


def test_matters_do_not_wait_for_each_other(stores: Stores) -> None:
    line = GroupCommit()
    first = threading.Thread(target=line.store, args=("one", "a", stores.together))
    first.start()
    assert stores.begun.wait(20)
    assert line.store("other", "b", lambda requests: [len(requests)]) == 1
    stores.go.set()
    first.join()


def held_up(workspace: Workspace, dataset_id: int, calls: Sequence[Callable[[], object]]) -> None:
    """Make calls while somebody else writes to the dataset, so that all but one wait in line."""
    with ThreadPoolExecutor(len(calls)) as pool:
        with workspace.database.write(dataset_id):
            futures = [pool.submit(call) for call in calls]
            line = workspace.verdicts._lines
            wait_for(lambda: dataset_id in line)
            wait_for(lambda: len(line[dataset_id].waiting) == len(calls) - 1)
        for future in futures:
            future.result(30)


def test_many_people_are_stored_with_few_transactions(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace, document=coco_document(images=30)).dataset_id
    grants = [make_grant(workspace, dataset_id, f"person {k}") for k in range(12)]
    commits = []
    event.listen(workspace.database.engine, "commit", commits.append)
    found: dict[int, list[Receipt]] = {}

    def answer(number: int, grant: Grant) -> None:
        one = Answer(f"verdict-{number:04}", number + 1, 1, "present")
        found[number] = verdicts.decide(workspace, grant, [one])

    calls = [lambda n=n, g=g: answer(n, g) for n, g in enumerate(grants)]
    held_up(workspace, dataset_id, calls)
    assert len(commits) <= 4  # who held them up, the first, all the others, one who looked on
    assert {number: one.client_id for number, (one,) in found.items()} == {
        number: f"verdict-{number:04}" for number in range(12)
    }
    with workspace.database.read() as session:
        query = select(Decision.client_id, Decision.annotator_id)
        stored = {row[0]: row[1] for row in session.execute(query)}
    assert stored == {f"verdict-{n:04}": grant.annotator_id for n, grant in enumerate(grants)}


def test_one_pair_is_judged_once_by_those_stored_together(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace, document=coco_document(images=6)).dataset_id
    make_proposals(workspace, dataset_id)
    grants = [make_grant(workspace, dataset_id, f"person {k}") for k in range(5)]
    found: list[str] = []

    def answer(number: int, grant: Grant) -> None:
        verdict = ("present", "absent")[number % 2]
        (receipt,) = verdicts.decide(workspace, grant, [Answer(f"verdict-{number}", 2, 1, verdict)])
        found.append(receipt.status)

    held_up(workspace, dataset_id, [lambda n=n, g=g: answer(n, g) for n, g in enumerate(grants)])
    with workspace.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Decision)) == found.count("saved")


def test_a_request_that_is_wrong_is_told_so_alone(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace, document=coco_document(images=6)).dataset_id
    grant = make_grant(workspace, dataset_id, "Ada")
    found: dict[str, str | None] = {}

    def answer(client_id: str, image_id: int, verdict: str) -> None:
        (receipt,) = verdicts.decide(workspace, grant, [Answer(client_id, image_id, 1, verdict)])
        found[client_id] = receipt.message

    held_up(
        workspace,
        dataset_id,
        [
            lambda: answer("verdict-1", 1, "present"),
            lambda: answer("verdict-2", 2, "perhaps"),
            lambda: answer("verdict-3", 999, "present"),
            lambda: answer("verdict-4", 3, "absent"),
        ],
    )
    assert found["verdict-1"] is None
    assert "'perhaps' is none of present, absent, skip" in str(found["verdict-2"])
    assert "not in the dataset any more" in str(found["verdict-3"])
    assert found["verdict-4"] is None
    with pytest.raises(InputError, match="at most 100"):
        verdicts.decide(workspace, grant, [Answer("verdict-5", 1, 1, "absent")] * 101)


def test_cards_are_given_out_while_verdicts_are_stored(workspace: Workspace) -> None:
    """On a server neither waits for the other; in a file there is one writer."""
    if not workspace.database.shared:
        pytest.skip("a file has one writer")
    dataset_id = make_dataset(workspace, document=coco_document(images=30)).dataset_id
    make_proposals(workspace, dataset_id)
    grant = make_grant(workspace, dataset_id, "Ada")
    with ThreadPoolExecutor(1) as pool, workspace.database.write(dataset_id):
        page = pool.submit(next_cards, workspace, grant, QueueQuery(limit=5)).result(20)
        kept = [card.proposal_id for card in page.cards]
        assert pool.submit(renew_leases, workspace, grant, kept).result(20) == []
        pool.submit(release_leases, workspace, grant).result(20)


def test_cards_verdicts_and_closed_windows_never_wait_for_each_other(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases that have ended at once are everybody's: all want the same rows in every order."""
    monkeypatch.setattr(queue, "LEASE", timedelta(0))
    dataset_id = make_dataset(
        workspace, document=coco_document(images=120, categories=4)
    ).dataset_id
    make_proposals(workspace, dataset_id)

    def work(number: int) -> Counter[str]:
        said: Counter[str] = Counter()
        annotator = make_grant(workspace, dataset_id, f"person {number}").annotator_id
        grant = Grant(annotator, dataset_id, f"window-{number}")
        draw = random.Random(number)
        for turn in range(8):
            cards = next_cards(workspace, grant, QueueQuery(limit=20)).cards
            renew_leases(workspace, grant, [card.proposal_id for card in cards])
            answers = [
                Answer(f"person-{number}-{turn}-{place}", card.image_id, card.category_id, "absent")
                for place, card in enumerate(draw.sample(cards, min(4, len(cards))))
            ]
            said += Counter(one.status for one in verdicts.decide(workspace, grant, answers))
            if turn % 3 == 2:
                release_leases(workspace, grant)
        return said

    with ThreadPoolExecutor(8) as pool:
        said = sum(pool.map(work, range(8)), Counter())
    with workspace.database.read() as session:
        stored = session.scalar(select(func.count()).select_from(Decision))
    assert set(said) <= {"saved", "stale"}
    assert stored == said["saved"] > 9
