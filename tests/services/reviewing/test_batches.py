"""Verdicts made as one: stored, undone and done again as one."""

import uuid
from dataclasses import replace

import pytest
from sqlalchemy import select

from app.services.access.grants import Grant
from app.services.reviewing import undo, verdicts
from app.services.reviewing.history import history
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from clsl_core.types import LabelState
from db.models import Decision, Label, Verdict
from tests.builders import make_dataset, make_grant, make_questions

pytestmark = pytest.mark.filled(by=make_questions)


@pytest.fixture
def grant(known: Grant) -> Grant:
    """An annotator on a dataset of 4 × 3 pairs, 4 of them known, the rest proposed."""
    return known


def answers(workspace: Workspace, grant: Grant, *words: str) -> list[Answer]:
    cards = next_cards(workspace, grant, QueueQuery(limit=len(words))).cards
    return [
        Answer(uuid.uuid4().hex, card.image_id, card.category_id, verdict, card.proposal_id, 1.0)
        for card, verdict in zip(cards, words, strict=True)
    ]


def state(workspace: Workspace) -> dict[tuple[int, int], tuple[LabelState, str]]:
    with workspace.database.read() as session:
        labels = session.scalars(select(Label))
        return {(one.image_id, one.category_id): (one.state, one.source.value) for one in labels}


def test_one_pair_answered_twice_in_one_request(workspace: Workspace, grant: Grant) -> None:
    first, other = answers(workspace, grant, "present", "present")
    second = replace(first, client_id=uuid.uuid4().hex, verdict="absent", proposal_id=None)
    third = replace(first, client_id=uuid.uuid4().hex)
    receipts = verdicts.decide(workspace, grant, [first, second, other, third])
    assert [one.status for one in receipts] == ["saved", "saved", "saved", "duplicate"]
    pair = (first.image_id, first.category_id)
    assert state(workspace)[pair] == (LabelState.ABSENT, "human")
    assert undo.undo(workspace, grant, "undo-id-1", second.client_id).status == "saved"
    assert state(workspace)[pair] == (LabelState.PRESENT, "human")


def test_a_batch_is_stored_undone_and_redone_as_one(workspace: Workspace, grant: Grant) -> None:
    before = state(workspace)
    given = answers(workspace, grant, "present", "present", "absent")
    receipts = verdicts.decide(workspace, grant, given, "batch-id-1")
    assert [receipt.status for receipt in receipts] == ["saved"] * 3
    after = state(workspace)
    assert len(after) == len(before) + 3
    again = verdicts.decide(workspace, grant, given, "batch-id-1")
    assert [receipt.status for receipt in again] == ["duplicate"] * 3

    undone = undo.undo(workspace, grant, "undo-id-1", "batch-id-1")
    assert (undone.status, undone.count, undone.card) == ("saved", 3, None)
    assert state(workspace) == before
    assert undo.undo(workspace, grant, "undo-id-1", "batch-id-1").status == "duplicate"
    assert undo.undo(workspace, grant, "undo-id-2", "batch-id-1").status == "stale"
    assert len(next_cards(workspace, grant, QueueQuery(limit=100)).cards) == 8

    redone = undo.redo(workspace, grant, "redo-id-1", "batch-id-1")
    assert (redone.status, redone.count) == ("saved", 3)
    assert state(workspace) == after
    assert undo.redo(workspace, grant, "redo-id-1", "batch-id-1").status == "duplicate"
    assert undo.redo(workspace, grant, "redo-id-2", "batch-id-1").status == "stale"
    assert undo.undo(workspace, grant, "undo-id-3", "redo-id-1").count == 3
    assert state(workspace) == before
    with workspace.database.read() as session:
        events = session.scalars(select(Decision)).all()
    assert len(events) == len({event.client_id for event in events}) == 3 * 4


def test_what_was_decided_again_stays(workspace: Workspace, grant: Grant) -> None:
    given = answers(workspace, grant, "present", "present")
    verdicts.decide(workspace, grant, given, "batch-id-1")
    first = given[0]
    later = Answer("client-id-9", first.image_id, first.category_id, "absent")
    verdicts.decide(workspace, grant, [later])
    receipt = undo.undo(workspace, grant, "undo-id-1", "batch-id-1")
    assert (receipt.status, receipt.count) == ("saved", 1)
    assert receipt.message == "1 of 2 were decided again since and stay"
    assert state(workspace)[first.image_id, first.category_id] == (LabelState.ABSENT, "human")


def test_redo_gives_way_to_somebody_else(workspace: Workspace, grant: Grant) -> None:
    (given,) = answers(workspace, grant, "present")
    verdicts.decide(workspace, grant, [given])
    undo.undo(workspace, grant, "undo-id-1", given.client_id)
    other = make_grant(workspace, grant.dataset_id, "bob")
    verdicts.decide(
        workspace, other, [Answer("client-id-9", given.image_id, given.category_id, "absent")]
    )
    assert undo.redo(workspace, grant, "redo-id-1", given.client_id).status == "stale"
    assert undo.redo(workspace, other, "redo-id-2", given.client_id).status == "refused"


def test_all_others_are_absent(workspace: Workspace, grant: Grant) -> None:
    before = state(workspace)
    card = next_cards(workspace, grant, QueueQuery()).cards[0]
    receipt = verdicts.mark_others_absent(workspace, grant, "absent-id-1", card.image_id, 2.5)
    assert (receipt.status, receipt.count) == ("saved", 2)
    new = {pair: label for pair, label in state(workspace).items() if pair not in before}
    assert new.keys() == {(card.image_id, c) for c in (1, 2, 3)} - before.keys()
    assert set(new.values()) == {(LabelState.ABSENT, "human")}
    with workspace.database.read() as session:
        decisions = session.scalars(select(Decision)).all()
    assert all(decision.proposal_id and decision.seconds == 2.5 for decision in decisions)
    repeated = verdicts.mark_others_absent(workspace, grant, "absent-id-1", card.image_id)
    assert repeated.status == "duplicate"
    assert undo.undo(workspace, grant, "undo-id-1", "absent-id-1").count == 2
    assert state(workspace) == before
    stranger = Grant(grant.annotator_id, make_dataset(workspace, "other").dataset_id)
    refused = verdicts.mark_others_absent(workspace, stranger, "absent-id-2", card.image_id)
    assert refused.status == "refused"


@pytest.mark.refusal
@pytest.mark.parametrize("bad", ["", "short", "x" * 65])
def test_ids_of_batches_are_checked(workspace: Workspace, grant: Grant, bad: str) -> None:
    with pytest.raises(InputError):
        verdicts.decide(workspace, grant, [], bad)
    with pytest.raises(InputError):
        verdicts.mark_others_absent(workspace, grant, bad, 1)
    with pytest.raises(InputError):
        undo.undo(workspace, grant, bad, "batch-id-1")
    with pytest.raises(InputError):
        undo.redo(workspace, grant, bad, "batch-id-1")


def test_the_same_verdict_from_another_window_is_a_duplicate(
    workspace: Workspace, grant: Grant
) -> None:
    (given,) = answers(workspace, grant, "present")
    fields = (given.image_id, given.category_id)
    verdicts.decide(workspace, grant, [given])
    same = Answer("client-id-2", *fields, "present", given.proposal_id)
    other = Answer("client-id-3", *fields, "absent", given.proposal_id)
    assert verdicts.decide(workspace, grant, [same])[0].status == "duplicate"
    assert verdicts.decide(workspace, grant, [other])[0].status == "saved"
    assert state(workspace)[fields] == (LabelState.ABSENT, "human")


class TestHistory:
    """What was said, newest first."""

    def test_batches_are_one_entry_and_undone_ones_say_so(
        self, workspace: Workspace, grant: Grant
    ) -> None:
        (single,) = answers(workspace, grant, "absent")
        verdicts.decide(workspace, grant, [single])
        batch = answers(workspace, grant, "present", "present", "absent")
        verdicts.decide(workspace, grant, batch, "batch-id-1")
        undo.undo(workspace, grant, "undo-id-1", "batch-id-1")
        newest, oldest = history(workspace, grant).entries
        assert (newest.id, newest.batch, newest.count) == ("batch-id-1", True, 3)
        assert (newest.verdict, newest.exceptions) == ("present", 1)
        assert (newest.undone, newest.undoable) == (True, False)
        assert (oldest.id, oldest.verdict, oldest.batch) == (single.client_id, "absent", False)
        assert (oldest.undone, oldest.undoable) == (False, True)
        assert oldest.file_name is not None
        assert oldest.category is not None
        other = make_grant(workspace, grant.dataset_id, "bob")
        assert history(workspace, other).entries == []

    def test_an_overruled_decision_cannot_be_undone(
        self, workspace: Workspace, grant: Grant
    ) -> None:
        (given,) = answers(workspace, grant, "absent")
        verdicts.decide(workspace, grant, [given])
        other = make_grant(workspace, grant.dataset_id, "bob")
        later = Answer("client-id-9", given.image_id, given.category_id, "present")
        verdicts.decide(workspace, other, [later])
        (entry,) = history(workspace, grant).entries
        assert (entry.undone, entry.undoable) == (False, False)

    def test_pages_give_everything_once(self, workspace: Workspace, grant: Grant) -> None:
        names = []
        for _ in range(5):
            (given,) = answers(workspace, grant, "skip")
            verdicts.decide(workspace, grant, [given])
            names.append(given.client_id)
        verdicts.decide(
            workspace, grant, answers(workspace, grant, "absent", "absent"), "batch-id-1"
        )
        found, cursor = [], None
        while True:
            page = history(workspace, grant, limit=2, before=cursor)
            found += [entry.id for entry in page.entries]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == ["batch-id-1", *names[::-1]]
        for bad in ("x", "-1", "9" * 20):
            with pytest.raises(InputError):
                history(workspace, grant, before=bad)


def test_undone_events_are_kept(workspace: Workspace, grant: Grant) -> None:
    given = answers(workspace, grant, "present")
    verdicts.decide(workspace, grant, given, "batch-id-1")
    undo.undo(workspace, grant, "undo-id-1", "batch-id-1")
    with workspace.database.read() as session:
        stored = session.scalars(select(Decision.verdict).order_by(Decision.id)).all()
    assert stored == [Verdict.PRESENT, Verdict.UNDO]
