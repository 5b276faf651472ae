"""The queue and the verdicts: exactly once, undone exactly, never two people on one pair."""

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.services import review
from app.services.access import Grant
from app.services.review import Answer, Card
from app.services.review_queue import QueueQuery, next_cards
from app.services.workspace import Workspace
from clsl_core.errors import FormatError, InputError, NotFoundError
from clsl_core.types import LabelSource, LabelState
from db.models import (
    Dataset,
    Decision,
    Image,
    Job,
    JobKind,
    Label,
    Lease,
    ModelRun,
)
from db.types import now
from tests.builders import make_dataset, make_grant, make_proposals


@pytest.fixture
def grant(workspace: Workspace) -> Grant:
    """An annotator on a dataset of 4 × 3 pairs, 4 of them known, the rest proposed."""
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    return make_grant(workspace, dataset_id)


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


def test_the_queue_is_sorted_and_holds_unknown_pairs_only(
    workspace: Workspace, grant: Grant
) -> None:
    page = next_cards(workspace, grant, QueueQuery(strategy="likely", limit=100))
    assert page.remaining == len(page.cards) == 4 * 3 - 4
    scores = [card.score for card in page.cards]
    assert scores == sorted(scores, reverse=True)
    assert all(label_of(workspace, card) is None for card in page.cards)
    assert all(len(card.known) == 1 for card in page.cards)


def test_held_cards_are_not_sent_again(workspace: Workspace, grant: Grant) -> None:
    first = cards(workspace, grant, limit=3)
    then = cards(workspace, grant, limit=100, exclude=[card.proposal_id for card in first])
    assert len(then) == 5
    assert not {c.proposal_id for c in first} & {c.proposal_id for c in then}


def test_a_verdict_becomes_a_label_once(workspace: Workspace, grant: Grant) -> None:
    card = cards(workspace, grant)[0]
    verdict = answer(card, "absent")
    assert [r.status for r in review.decide(workspace, grant, [verdict])] == ["saved"]
    assert [r.status for r in review.decide(workspace, grant, [verdict])] == ["duplicate"]
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
    review.decide(workspace, grant, [given])
    receipt = review.undo(workspace, grant, "undo-id-1", given.client_id)
    assert receipt.status == "saved"
    assert receipt.card == card
    assert label_of(workspace, card) is None
    assert cards(workspace, grant)[0] == card
    assert review.undo(workspace, grant, "undo-id-1", given.client_id).status == "duplicate"
    assert review.undo(workspace, grant, "undo-id-2", given.client_id).status == "stale"


def test_undo_of_an_overruled_import_gives_the_import_back(
    workspace: Workspace, grant: Grant
) -> None:
    with workspace.database.read() as session:
        label = session.scalars(select(Label)).first()
    assert label is not None
    pair = (label.image_id, label.category_id)
    review.decide(workspace, grant, [Answer("decide-by-id", *pair, "absent")])
    assert review.undo(workspace, grant, "undo-id-1", "decide-by-id").status == "saved"
    with workspace.database.read() as session:
        restored = session.get_one(Label, pair)
        assert (restored.state, restored.source) == (LabelState.PRESENT, LabelSource.IMPORT)
        assert restored.decision_id is None


def test_undo_of_what_was_decided_again_is_refused_as_stale(
    workspace: Workspace, grant: Grant
) -> None:
    card = cards(workspace, grant)[0]
    first, second = answer(card, "present"), answer(card, "absent")
    review.decide(workspace, grant, [first, second])
    assert review.undo(workspace, grant, "undo-id-1", first.client_id).status == "stale"
    assert review.undo(workspace, grant, "undo-id-2", second.client_id).status == "saved"
    label = label_of(workspace, card)
    assert label is not None
    assert label.state is LabelState.PRESENT
    assert review.undo(workspace, grant, "undo-id-3", first.client_id).status == "saved"
    assert label_of(workspace, card) is None


def test_somebody_elses_decision_makes_an_answer_stale(workspace: Workspace, grant: Grant) -> None:
    card = cards(workspace, grant)[0]
    other = make_grant(workspace, grant.dataset_id, "bob")
    review.decide(workspace, other, [answer(card, "absent")])
    receipt = review.decide(workspace, grant, [answer(card, "present")])[0]
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
    review.decide(workspace, grant, [answer(card, "skip")])
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
    receipt = review.decide(workspace, grant, [Answer(**(fields | change))])[0]
    assert receipt.status == "refused"
    assert message in str(receipt.message)


def test_a_grant_reaches_only_its_own_dataset(workspace: Workspace, grant: Grant) -> None:
    other = make_dataset(workspace, "other").dataset_id
    stranger = Grant(grant.annotator_id, other)
    card = cards(workspace, grant)[0]
    assert review.decide(workspace, stranger, [answer(card)])[0].status == "refused"
    given = answer(card)
    review.decide(workspace, grant, [given])
    assert review.undo(workspace, stranger, "undo-id-1", given.client_id).status == "refused"


def test_nobody_undoes_for_somebody_else(workspace: Workspace, grant: Grant) -> None:
    given = answer(cards(workspace, grant)[0])
    review.decide(workspace, grant, [given])
    other = make_grant(workspace, grant.dataset_id, "bob")
    receipt = review.undo(workspace, other, "undo-id-1", given.client_id)
    assert receipt.status == "refused"


def test_enough_decisions_start_one_retraining(workspace: Workspace, grant: Grant) -> None:
    with workspace.database.write() as session:
        session.get_one(Dataset, grant.dataset_id).retrain_after = 3
    first, *rest = cards(workspace, grant, limit=6)
    undone = answer(first)
    review.decide(workspace, grant, [undone])
    review.undo(workspace, grant, "undo-id-1", undone.client_id)
    review.decide(workspace, grant, [answer(card) for card in rest[:2]])
    assert workspace.jobs.queue.rung == []
    for card in rest[2:]:
        review.decide(workspace, grant, [answer(card)])
    with workspace.database.read() as session:
        (job,) = session.scalars(select(Job)).all()
    assert job.kind is JobKind.TRAIN
    assert job.payload == {"trigger": "decisions", "then": ["propose"]}
    assert workspace.jobs.queue.rung == [job.id]


def test_without_a_model_nothing_is_proposed(workspace: Workspace, grant: Grant) -> None:
    with workspace.database.write() as session:
        session.execute(update(ModelRun).values(serving=False))
    page = next_cards(workspace, grant, QueueQuery(strategy="likely"))
    assert (page.cards, page.remaining, page.model_run_id) == ([], 0, None)


def test_an_unknown_queue_is_named(workspace: Workspace, grant: Grant) -> None:
    with pytest.raises(InputError, match="likely"):
        next_cards(workspace, grant, QueueQuery(strategy="newest"))


class TestVerdictsFromAFile:
    def write(self, folder: Path, *rows: str) -> Path:
        file = folder / "verdicts.csv"
        file.write_text("\n".join(["file_name,category,verdict", *rows]) + "\n")
        return file

    def test_twice_is_the_same_as_once(
        self, workspace: Workspace, grant: Grant, tmp_path: Path
    ) -> None:
        file = self.write(tmp_path, "000.jpg,green,absent", "001.jpg,blue,present")
        first = review.decide_file(workspace, "set", file, "csv")
        again = review.decide_file(workspace, "set", file, "csv")
        assert (first.saved, first.unchanged) == (2, 0)
        assert (again.saved, again.unchanged) == (0, 2)

    def test_all_bad_rows_are_reported_and_none_is_stored(
        self, workspace: Workspace, grant: Grant, tmp_path: Path
    ) -> None:
        file = self.write(
            tmp_path, "000.jpg,green,absent", "nope.jpg,green,absent", "000.jpg,green,perhaps"
        )
        with pytest.raises(FormatError, match="nothing was stored") as caught:
            review.decide_file(workspace, "set", file, "csv")
        assert caught.value.report is not None
        assert [p.where for p in caught.value.report.problems] == ["line 3", "line 4"]
        with workspace.database.read() as session:
            assert session.scalars(select(Decision)).all() == []

    def test_a_name_that_means_two_images_is_refused(
        self, workspace: Workspace, grant: Grant, tmp_path: Path
    ) -> None:
        with workspace.database.write() as session:
            session.execute(update(Image).values(file_name="same.jpg"))
        with pytest.raises(FormatError, match="4 different image"):
            review.decide_file(workspace, "set", self.write(tmp_path, "same.jpg,red,absent"), "csv")

    @pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'"open\n'])
    def test_files_that_are_no_verdicts(
        self, workspace: Workspace, grant: Grant, tmp_path: Path, content: bytes
    ) -> None:
        file = tmp_path / "verdicts.csv"
        file.write_bytes(content)
        with pytest.raises(FormatError):
            review.decide_file(workspace, "set", file, "csv")

    def test_a_file_that_is_not_there(
        self, workspace: Workspace, grant: Grant, tmp_path: Path
    ) -> None:
        with pytest.raises(NotFoundError):
            review.decide_file(workspace, "set", tmp_path / "none.csv", "csv")
