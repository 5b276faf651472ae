"""Two people never hold the same pair, whatever they do at once, on both databases."""

import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.services.access.grants import Grant
from app.services.reviewing import verdicts
from app.services.reviewing.cards import Card
from app.services.reviewing.queue import QueueQuery, next_cards, release_leases, renew_leases
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

pytestmark = pytest.mark.both_databases

Pair = tuple[int, int]
FOR_EVER = float("inf")


@dataclass(frozen=True)
class Held:
    """From when to when somebody surely held a pair."""

    begin: float
    end: float
    person: int


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["likely", "uncertain", "mixed"]),
        st.integers(1, 6),
        st.sampled_from(["decide", "skip", "release", "renew and decide"]),
    ),
    min_size=1,
    max_size=3,
)


def answers(cards: list[Card], verdict: str) -> list[Answer]:
    return [
        Answer(uuid.uuid4().hex, card.image_id, card.category_id, verdict, card.proposal_id)
        for card in cards
    ]


class Log:
    """What all windows did."""

    def __init__(self) -> None:
        self.held: dict[Pair, list[Held]] = defaultdict(list)
        self.saved: list[Pair] = []
        self.failures: list[BaseException] = []


def work(workspace: Workspace, grant: Grant, steps: list, log: Log) -> None:
    """One person's steps, one after the other."""
    for strategy, limit, action in steps:
        cards = next_cards(workspace, grant, QueueQuery(strategy=strategy, limit=limit)).cards
        begin = time.monotonic()
        if action == "renew and decide":
            assert renew_leases(workspace, grant, [card.proposal_id for card in cards]) == []
        decides = action in ("decide", "renew and decide")
        end = FOR_EVER if decides else time.monotonic()
        pairs = [(card.image_id, card.category_id) for card in cards]
        for pair in pairs:
            log.held[pair].append(Held(begin, end, grant.annotator_id))
        if action == "release":
            release_leases(workspace, grant)
            continue
        verdict = "present" if decides else "skip"
        receipts = verdicts.decide(workspace, grant, answers(cards, verdict))
        assert {receipt.status for receipt in receipts} <= {"saved"}
        if decides:
            log.saved.extend(pairs)


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(people=st.lists(STEPS, min_size=3, max_size=6))
def test_no_pair_is_held_twice(workspace: Workspace, people: list) -> None:
    name = uuid.uuid4().hex
    dataset_id = make_dataset(workspace, name, coco_document(images=10)).dataset_id
    make_proposals(workspace, dataset_id, turn=lambda place: place)
    log, barrier = Log(), threading.Barrier(len(people))

    def run(grant: Grant, steps: list) -> None:
        barrier.wait()
        try:
            work(workspace, grant, steps, log)
        except BaseException as error:
            log.failures.append(error)

    threads = [
        threading.Thread(target=run, args=(make_grant(workspace, dataset_id, f"{name}-{i}"), steps))
        for i, steps in enumerate(people)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.failures == []
    assert len(log.saved) == len(set(log.saved))
    for times in log.held.values():
        ordered = sorted(times, key=lambda one: one.begin)
        for first, second in pairwise(ordered):
            assert first.end <= second.begin or first.person == second.person, ordered
