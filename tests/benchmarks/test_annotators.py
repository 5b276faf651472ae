"""What the benchmarks of many people compare: a lost or doubled verdict is seen."""

import os
import subprocess
import sys
from collections import Counter

from sqlalchemy import delete

from app.services.reviewing import verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from benchmarks.annotators import Tally, check, held
from benchmarks.kills import _lives, children
from db.models import Label
from tests.builders import make_dataset, make_grant, make_proposals


def test_a_verdict_that_is_not_there_is_lost(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    grant = make_grant(workspace, dataset_id)
    cards = next_cards(workspace, grant, QueueQuery(limit=3)).cards
    ids = [f"client-id-{card.proposal_id}" for card in cards]
    verdicts.decide(
        workspace,
        grant,
        [
            Answer(id_, card.image_id, card.category_id, "absent")
            for id_, card in zip(ids, cards, strict=True)
        ],
    )
    found = check(workspace, [Tally(acknowledged=ids[:2]), Tally(acknowledged=ids[2:])])
    assert found == {
        "acknowledged": 3,
        "lost": 0,
        "stored_twice": 0,
        "pairs_judged_twice": 0,
        "labels_unlike_their_verdict": 0,
    }
    again = Answer("client-id-again", cards[0].image_id, cards[0].category_id, "present")
    verdicts.decide(workspace, grant, [again])
    with workspace.database.write() as session:
        pair = (Label.image_id == cards[1].image_id, Label.category_id == cards[1].category_id)
        session.execute(delete(Label).where(*pair))
    found = check(workspace, [Tally(acknowledged=[*ids, "never-stored"])])
    assert found["lost"] == found["pairs_judged_twice"] == 1
    assert found["labels_unlike_their_verdict"] == 1


def test_a_rate_is_held_without_errors_and_in_time_only() -> None:
    fine = {"errors": {}, "statuses": Counter(saved=2), "acknowledgement_ms": {"p95": 200.0}}
    assert held(fine)
    assert not held(fine | {"errors": {"no cards": 1}})
    assert not held(fine | {"statuses": Counter(saved=2, stale=1)})
    assert not held(fine | {"acknowledgement_ms": {"p95": 200.1}})


def test_processes_are_seen_until_they_are_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process.pid in children(os.getpid())
        assert _lives(process.pid)
        process.kill()
    assert not _lives(process.pid)
