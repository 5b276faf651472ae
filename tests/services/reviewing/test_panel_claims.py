"""With overlap k nobody is given a pair twice, and no more than k verdicts count."""

import threading
import uuid
from collections import Counter, defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.services.access.grants import Grant
from app.services.reviewing import panels, verdicts
from app.services.reviewing.queue import QueueQuery, next_cards, release_leases
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.types import LabelState
from db.models import Decision, Label, Panel, PanelStatus, Verdict
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

pytestmark = pytest.mark.both_databases

Pair = tuple[int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["likely", "uncertain", "mixed"]),
        st.integers(1, 8),
        st.sampled_from(["present", "absent", "release", "present, late"]),
    ),
    min_size=1,
    max_size=4,
)


class Log:
    """What all people did."""

    def __init__(self) -> None:
        self.given: dict[int, Counter[Pair]] = defaultdict(Counter)
        self.saved: dict[Pair, list[int]] = defaultdict(list)
        self.late: list[tuple[Grant, list[Answer]]] = []
        self.receipts: set[str] = set()
        self.failures: list[BaseException] = []


def work(workspace: Workspace, grant: Grant, steps: list, log: Log) -> None:
    """One person's steps; a late answer comes when all have gone."""
    for strategy, limit, action in steps:
        cards = next_cards(workspace, grant, QueueQuery(strategy=strategy, limit=limit)).cards
        if action in ("release", "present, late"):
            release_leases(workspace, grant)
        if action == "release":
            continue
        verdict = action.split(",", maxsplit=1)[0]
        answers = [
            Answer(uuid.uuid4().hex, card.image_id, card.category_id, verdict, card.proposal_id)
            for card in cards
        ]
        if action == "present, late":
            log.late.append((grant, answers))
        else:
            log.receipts |= say(workspace, grant, answers, log)


def say(workspace: Workspace, grant: Grant, answers: list[Answer], log: Log) -> set[str]:
    """Send answers and note what became of them: the statuses."""
    receipts = verdicts.decide(workspace, grant, answers)
    for answer, receipt in zip(answers, receipts, strict=True):
        pair = (answer.image_id, answer.category_id)
        log.given[grant.annotator_id][pair] += 1
        if receipt.status == "saved":
            log.saved[pair].append(grant.annotator_id)
    return {receipt.status for receipt in receipts}


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(people=st.lists(STEPS, min_size=3, max_size=5), overlap=st.integers(1, 3))
def test_concurrent_people(workspace: Workspace, people: list, overlap: int) -> None:
    name = uuid.uuid4().hex
    dataset_id = make_dataset(workspace, name, coco_document(images=8)).dataset_id
    make_proposals(workspace, dataset_id, turn=lambda place: place)
    panels.set_overlap(workspace, name, overlap)
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
    assert log.receipts <= {"saved"}
    for grant, answers in log.late:  # held back until others have spoken
        said = log.given[grant.annotator_id]
        new = [one for one in answers if not said[one.image_id, one.category_id]]
        assert say(workspace, grant, new, log) <= {"saved", "stale"}
    for pairs in log.given.values():
        assert max(pairs.values()) == 1
    check(workspace, dataset_id, log, overlap)


def check(workspace: Workspace, dataset_id: int, log: Log, overlap: int) -> None:
    """What is stored is what was acknowledged, and labels follow from it."""
    with workspace.database.read() as session:
        stored: dict[Pair, list[Decision]] = defaultdict(list)
        for one in session.query(Decision).filter_by(dataset_id=dataset_id).order_by(Decision.id):
            stored[one.image_id, one.category_id].append(one)
        assert {pair: {one.annotator_id for one in made} for pair, made in stored.items()} == {
            pair: set(who) for pair, who in log.saved.items()
        }
        for pair, made in stored.items():
            assert len(made) == len({one.annotator_id for one in made}) <= overlap
            present = sum(one.verdict is Verdict.PRESENT for one in made)
            balance = 2 * present - len(made)
            label, panel = session.get(Label, pair), session.get(Panel, pair)
            assert (panel is None) == (overlap == 1)
            if len(made) < overlap or balance == 0:
                assert label is None
                waits = len(made) < overlap
                assert panel is not None
                assert panel.status is (PanelStatus.WAITING if waits else PanelStatus.CONFLICT)
            else:
                assert label is not None
                assert label.state is (LabelState.PRESENT if balance > 0 else LabelState.ABSENT)
