"""The queue and the verdicts: exactly once, undone exactly, never two people on one pair."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app.services.access.grants import Grant
from app.services.reviewing import undo, verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer, Card
from app.services.workspace import Workspace
from clsl_core.types import LabelSource, LabelState
from db.models import (
    Dataset,
    Decision,
    Job,
    JobKind,
    Label,
    Lease,
)
from db.types import now
from tests.builders import make_dataset, make_grant, make_questions

pytestmark = [pytest.mark.both_databases, pytest.mark.filled(by=make_questions)]


@pytest.fixture
def grant(known: Grant) -> Grant:
    """An annotator on a dataset of 4 × 3 pairs, 4 of them known, the rest proposed."""
    return known


def answer(card: Card, verdict: str = "present", client_id: str | None = None) -> Answer:
    return Answer(
        client_id or uuid.uuid4().hex,
        card.image_id,
        card.category_id,
        verdict,
        card.proposal_id,
        1.5,
    )


def cards(workspace: Workspace, grant: Grant, **options) -> list[Card]:
    return next_cards(workspace, grant, QueueQuery(strategy="likely", **options)).cards


def label_of(workspace: Workspace, card: Card) -> Label | None:
    with workspace.database.read() as session:
        return session.get(Label, (card.image_id, card.category_id))


def test_a_verdict_becomes_a_label_once(workspace: Workspace, grant: Grant) -> None:
    card = cards(workspace, grant)[0]
    verdict = answer(card, "absent")
    assert [r.status for r in verdicts.decide(workspace, grant, [verdict])] == ["saved"]
    assert [r.status for r in verdicts.decide(workspace, grant, [verdict])] == ["duplicate"]
    label = label_of(workspace, card)
    assert label is not None
    assert (label.state, label.source) == (LabelState.ABSENT, LabelSource.HUMAN)
    with workspace.database.read() as session:
        (decision,) = session.scalars(select(Decision)).all()
        assert (decision.previous_state, decision.seconds) == (LabelState.UNKNOWN, 1.5)
    assert card.proposal_id not in [c.proposal_id for c in cards(workspace, grant)]


@pytest.mark.parametrize("verdict", ["present", "absent", "skip"])
def test_undo_restores_exactly(workspace: Workspace, grant: Grant, verdict: str) -> None:
    card = cards(workspace, grant)[0]
    given = answer(card, verdict)
    verdicts.decide(workspace, grant, [given])
    receipt = undo.undo(workspace, grant, "undo-id-1", given.client_id)
    assert receipt.status == "saved"
    assert receipt.card == card
    assert label_of(workspace, card) is None
    assert cards(workspace, grant)[0] == card
    assert undo.undo(workspace, grant, "undo-id-1", given.client_id).status == "duplicate"
    assert undo.undo(workspace, grant, "undo-id-2", given.client_id).status == "stale"


def test_undo_of_an_overruled_import_gives_the_import_back(
    workspace: Workspace, grant: Grant
) -> None:
    with workspace.database.read() as session:
        label = session.scalars(select(Label)).first()
    assert label is not None
    pair = (label.image_id, label.category_id)
    verdicts.decide(workspace, grant, [Answer("decide-by-id", *pair, "absent")])
    assert undo.undo(workspace, grant, "undo-id-1", "decide-by-id").status == "saved"
    with workspace.database.read() as session:
        restored = session.get_one(Label, pair)
        assert (restored.state, restored.source) == (LabelState.PRESENT, LabelSource.IMPORT)
        assert restored.decision_id is None


def test_undo_of_what_was_decided_again_is_refused_as_stale(
    workspace: Workspace, grant: Grant
) -> None:
    card = cards(workspace, grant)[0]
    first, second = answer(card, "present"), answer(card, "absent")
    verdicts.decide(workspace, grant, [first, second])
    assert undo.undo(workspace, grant, "undo-id-1", first.client_id).status == "stale"
    assert undo.undo(workspace, grant, "undo-id-2", second.client_id).status == "saved"
    label = label_of(workspace, card)
    assert label is not None
    assert label.state is LabelState.PRESENT
    assert undo.undo(workspace, grant, "undo-id-3", first.client_id).status == "saved"
    assert label_of(workspace, card) is None


def test_somebody_elses_decision_makes_an_answer_stale(workspace: Workspace, grant: Grant) -> None:
    card = cards(workspace, grant)[0]
    other = make_grant(workspace, grant.dataset_id, "bob")
    verdicts.decide(workspace, other, [answer(card, "absent")])
    receipt = verdicts.decide(workspace, grant, [answer(card, "present")])[0]
    assert receipt.status == "stale"
    label = label_of(workspace, card)
    assert label is not None
    assert label.state is LabelState.ABSENT


def test_two_people_never_see_the_same_card(workspace: Workspace, grant: Grant) -> None:
    other = make_grant(workspace, grant.dataset_id, "bob")
    mine = {card.proposal_id for card in cards(workspace, grant, limit=3)}
    theirs = {card.proposal_id for card in cards(workspace, other, limit=100)}
    assert len(theirs) == 5
    assert not mine & theirs


def test_an_expired_lease_frees_the_card(workspace: Workspace, grant: Grant) -> None:
    other = make_grant(workspace, grant.dataset_id, "bob")
    cards(workspace, grant, limit=100)
    assert cards(workspace, other) == []
    with workspace.database.write() as session:
        session.execute(update(Lease).values(expires_at=now() - timedelta(seconds=1)))
    assert len(cards(workspace, other, limit=100)) == 8


def test_a_skipped_card_does_not_come_back_to_the_same_person(
    workspace: Workspace, grant: Grant
) -> None:
    card = cards(workspace, grant, limit=1)[0]
    verdicts.decide(workspace, grant, [answer(card, "skip")])
    assert card.proposal_id not in {c.proposal_id for c in cards(workspace, grant, limit=100)}
    other = make_grant(workspace, grant.dataset_id, "bob")
    review_all = cards(workspace, other, limit=100)
    assert card.proposal_id in {c.proposal_id for c in review_all}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "maybe"}, "none of present, absent, skip"),
        ({"client_id": "short"}, "8 to 64"),
        ({"image_id": 10**6}, "image"),
        ({"category_id": 10**6}, "category"),
    ],
)
def test_answers_that_can_never_be_stored(
    workspace: Workspace, grant: Grant, change: dict, message: str
) -> None:
    card = cards(workspace, grant)[0]
    fields = {
        "client_id": uuid.uuid4().hex,
        "image_id": card.image_id,
        "category_id": card.category_id,
        "verdict": "present",
    }
    receipt = verdicts.decide(workspace, grant, [Answer(**(fields | change))])[0]
    assert receipt.status == "refused"
    assert message in str(receipt.message)


def test_a_grant_reaches_only_its_own_dataset(workspace: Workspace, grant: Grant) -> None:
    other = make_dataset(workspace, "other").dataset_id
    stranger = Grant(grant.annotator_id, other)
    card = cards(workspace, grant)[0]
    assert verdicts.decide(workspace, stranger, [answer(card)])[0].status == "refused"
    given = answer(card)
    verdicts.decide(workspace, grant, [given])
    assert undo.undo(workspace, stranger, "undo-id-1", given.client_id).status == "refused"


def test_nobody_undoes_for_somebody_else(workspace: Workspace, grant: Grant) -> None:
    given = answer(cards(workspace, grant)[0])
    verdicts.decide(workspace, grant, [given])
    other = make_grant(workspace, grant.dataset_id, "bob")
    receipt = undo.undo(workspace, other, "undo-id-1", given.client_id)
    assert receipt.status == "refused"


def test_enough_decisions_start_one_retraining(workspace: Workspace, grant: Grant) -> None:
    with workspace.database.write() as session:
        session.get_one(Dataset, grant.dataset_id).retrain_after = 3
    first, *rest = cards(workspace, grant, limit=6)
    undone = answer(first)
    verdicts.decide(workspace, grant, [undone])
    undo.undo(workspace, grant, "undo-id-1", undone.client_id)
    verdicts.decide(workspace, grant, [answer(card) for card in rest[:2]])
    assert workspace.jobs.bell.rung == []
    for card in rest[2:]:
        verdicts.decide(workspace, grant, [answer(card)])
    with workspace.database.read() as session:
        (job,) = session.scalars(select(Job)).all()
    assert job.kind is JobKind.TRAIN
    assert job.payload == {"trigger": "decisions", "then": ["propose"], "begun_with": 5}
    assert workspace.jobs.bell.rung == [job.id]
