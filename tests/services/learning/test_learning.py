"""Embed, train, propose through the services: what is new only, switched at once, undone never."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from app.services.datasets import overview
from app.services.exporting import export
from app.services.learning import embedding, model_runs, proposing, training, triggers
from app.services.pictures import rendering
from app.services.reviewing import undo, verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from app.worker import handlers
from clsl_core.errors import ConflictError, JobCancelled, TrainingError
from clsl_core.types import LabelState, Origin
from db.models import EmbeddingRun, Image, JobStatus, ModelRun, Proposal, ProposalStatus, RunStatus
from db.queries import labels
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

IMAGES = 24


def imported(workspace: Workspace) -> int:
    """A dataset."""
    return make_dataset(workspace, document=coco_document(images=IMAGES)).dataset_id


def embedded(workspace: Workspace) -> int:
    """A dataset with features."""
    dataset_id = imported(workspace)
    embedding.embed(workspace, dataset_id)
    return dataset_id


def trained(workspace: Workspace) -> int:
    """A dataset with a run in charge."""
    dataset_id = embedded(workspace)
    training.train(workspace, dataset_id)
    proposing.propose(workspace, dataset_id)
    return dataset_id


pytestmark = pytest.mark.filled(by=imported)
with_features = pytest.mark.filled(by=embedded)
with_a_run = pytest.mark.filled(by=trained)


@pytest.fixture
def dataset_id(known: int) -> int:
    return known


@with_features
def test_only_new_pictures_are_embedded(workspace: Workspace, dataset_id: int) -> None:
    folder = workspace.data_dir / "features" / str(dataset_id)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}
    embedding.embed(workspace, dataset_id)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")} == before
    root = workspace.data_dir / "source-set" / "images"
    shutil.copy(root / "001.jpg", root / "000.jpg")
    embedding.embed(workspace, dataset_id)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}
    assert before.items() < after.items()


@with_features
def test_damaged_features_are_made_again(workspace: Workspace, dataset_id: int) -> None:
    (tokens,) = (workspace.data_dir / "features").rglob("*tokens*.npy")
    content = bytearray(tokens.read_bytes())
    content[-1] ^= 0xFF
    tokens.write_bytes(bytes(content))
    embedding.embed(workspace, dataset_id)
    training.train(workspace, dataset_id)
    assert overview.dataset(workspace, "set").embedded == IMAGES


def test_training_needs_features_and_proposing_needs_a_model(
    workspace: Workspace, dataset_id: int
) -> None:
    with pytest.raises(TrainingError, match="not embedded yet"):
        training.train(workspace, dataset_id)
    embedding.embed(workspace, dataset_id)
    with pytest.raises(TrainingError, match="no trained model yet"):
        proposing.propose(workspace, dataset_id)


def test_a_collection_without_a_usable_picture_says_so(
    workspace: Workspace, dataset_id: int
) -> None:
    for file in Path(workspace.data_dir / "source-set" / "images").iterdir():
        file.write_bytes(b"no picture")
    with pytest.raises(TrainingError, match="right image folder"):
        embedding.embed(workspace, dataset_id)


def gone(root: Path) -> None:
    root.rename(root.with_name("elsewhere"))


def mostly_gone(root: Path) -> None:
    for file in sorted(root.iterdir())[: IMAGES // 2 + 1]:
        file.unlink()


def empty_files(root: Path) -> None:
    for file in root.iterdir():
        file.write_bytes(b"")


@with_a_run
@pytest.mark.parametrize(("fate", "shard"), [(gone, 256), (mostly_gone, 4), (empty_files, 8)])
def test_a_collection_that_is_mostly_gone_stops_the_chain_and_changes_nothing(
    workspace: Workspace,
    dataset_id: int,
    fate: Callable[[Path], None],
    shard: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedding, "SHARD_IMAGES", shard)
    before = _of_images_and_proposals(workspace)
    fate(workspace.data_dir / "source-set" / "images")
    job = triggers.start(workspace, dataset_id)
    workspace.jobs.run(job.id, "worker:1", handlers(workspace))
    (failed,) = workspace.jobs.recent(1)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert "the model in charge stays" in failed.error
    assert workspace.jobs.live() == []
    assert _of_images_and_proposals(workspace) == before
    proposing.propose(workspace, dataset_id)  # what is kept of them goes on being good
    assert _of_images_and_proposals(workspace)[0] == before[0]


def _of_images_and_proposals(workspace: Workspace) -> list[list[tuple[object, ...]]]:
    with workspace.database.read() as session:
        return [
            [tuple(row) for row in session.execute(query)]
            for query in (
                select(Image.id, Image.status, Image.fingerprint).order_by(Image.id),
                select(Proposal.image_id, Proposal.category_id, Proposal.score).order_by(
                    Proposal.id
                ),
                select(ModelRun.id, ModelRun.serving).order_by(ModelRun.id),
            )
        ]


@with_a_run
def test_what_is_gone_for_good_is_left_out_when_somebody_says_so(
    workspace: Workspace, dataset_id: int
) -> None:
    mostly_gone(workspace.data_dir / "source-set" / "images")
    result = embedding.embed(workspace, dataset_id, accept_missing=True)
    assert (result["images"], result["problems"]) == (IMAGES // 2 - 1, IMAGES // 2 + 1)


@with_features
def test_a_few_that_are_gone_are_problems_as_ever(workspace: Workspace, dataset_id: int) -> None:
    for file in sorted((workspace.data_dir / "source-set" / "images").iterdir())[:5]:
        file.unlink()
    assert embedding.embed(workspace, dataset_id)["problems"] == 5


@with_a_run
def test_features_that_are_mostly_gone_stop_it_too(workspace: Workspace, dataset_id: int) -> None:
    before = _of_images_and_proposals(workspace)
    for file in (workspace.data_dir / "features").rglob("shard-*"):
        file.unlink()
    for step in (training.train, proposing.propose):
        with pytest.raises(TrainingError, match="are missing from"):
            step(workspace, dataset_id)
    assert _of_images_and_proposals(workspace)[:2] == before[:2]


@with_a_run
def test_the_loop_proposes_unknown_pairs_with_heat_maps(
    workspace: Workspace, dataset_id: int
) -> None:
    view = overview.dataset(workspace, "set")
    (run,) = model_runs.all_runs(workspace, "set")
    assert (run.serving, run.status, run.known_present) == (True, "ready", IMAGES)
    assert view.serving_run == run.id
    grant = make_grant(workspace, dataset_id)
    page = next_cards(workspace, grant, QueueQuery(strategy="likely"))
    assert page.cards
    heat = rendering.heatmap(workspace, grant, page.cards[0].proposal_id)
    assert heat.content.startswith(b"\x89PNG")
    known = {(label.category) for card in page.cards for label in card.known}
    assert known <= {"red", "green", "blue"}
    for card in page.cards:
        assert card.category not in {label.category for label in card.known}


@with_a_run
def test_a_new_run_takes_over_and_keeps_what_was_decided(
    workspace: Workspace, dataset_id: int
) -> None:
    grant = make_grant(workspace, dataset_id)
    card = next_cards(workspace, grant, QueueQuery(strategy="likely")).cards[0]
    answer = Answer("a-client-id", card.image_id, card.category_id, "absent", card.proposal_id)
    verdicts.decide(workspace, grant, [answer])
    training.train(workspace, dataset_id, "decisions")
    old = model_runs.all_runs(workspace, "set")[1]
    assert old.serving
    proposing.propose(workspace, dataset_id)
    new, old = model_runs.all_runs(workspace, "set")
    assert (new.serving, old.serving) == (True, False)
    assert (new.new_decisions, new.known_absent, new.trigger) == (1, 1, "decisions")
    with workspace.database.read() as session:
        proposals = session.scalars(select(Proposal)).all()
    assert {p.status for p in proposals if p.model_run_id == old.id} == {ProposalStatus.DECIDED}
    pairs = [(p.image_id, p.category_id) for p in proposals if p.model_run_id == new.id]
    assert (card.image_id, card.category_id) not in pairs


@with_a_run
def test_proposing_again_with_the_same_run_keeps_where_verdicts_came_from(
    workspace: Workspace, dataset_id: int, tmp_path: Path
) -> None:
    grant = make_grant(workspace, dataset_id)
    cards = next_cards(workspace, grant, QueueQuery(strategy="likely")).cards[:2]
    for i, card in enumerate(cards):
        answer = Answer(f"client-{i}", card.image_id, card.category_id, "present", card.proposal_id)
        verdicts.decide(workspace, grant, [answer])
    undo.undo(workspace, grant, "undo-id-1", "client-1")
    proposing.propose(workspace, dataset_id)
    export.export_dataset(workspace, "set", tmp_path / "out.json")
    (label,) = json.loads((tmp_path / "out.json").read_text())["labels"]
    assert (label["model_run"], label["score"]) == (str(cards[0].model_run_id), cards[0].score)
    offered = next_cards(workspace, grant, QueueQuery(strategy="likely", limit=100)).cards
    pairs = {(card.image_id, card.category_id) for card in offered}
    assert (cards[1].image_id, cards[1].category_id) in pairs
    assert (cards[0].image_id, cards[0].category_id) not in pairs


@with_a_run
def test_what_is_decided_while_proposing_is_not_offered(
    workspace: Workspace, dataset_id: int
) -> None:
    grant = make_grant(workspace, dataset_id)
    card = next_cards(workspace, grant, QueueQuery(strategy="likely")).cards[0]
    training.train(workspace, dataset_id)
    decided = []

    def decide_meanwhile(done: int, total: int, what: str) -> None:
        if what == "storing proposals" and not decided:
            decided.append(1)
            answer = Answer("a-client-id", card.image_id, card.category_id, "present")
            verdicts.decide(workspace, grant, [answer])

    proposing.propose(workspace, dataset_id, decide_meanwhile)
    assert decided
    offered = next_cards(workspace, grant, QueueQuery(strategy="likely", limit=100)).cards
    assert (card.image_id, card.category_id) not in {(c.image_id, c.category_id) for c in offered}


@with_a_run
def test_a_cancelled_training_leaves_the_old_run_in_charge(
    workspace: Workspace, dataset_id: int
) -> None:

    def stop(done: int, total: int, what: str) -> None:
        if not what.startswith("reading"):  # fitting has begun
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        training.train(workspace, dataset_id, progress=stop)
    failed, serving = model_runs.all_runs(workspace, "set")
    assert (failed.status, failed.serving, serving.serving) == ("failed", False, True)


@with_a_run
def test_a_damaged_parent_means_a_cold_start(workspace: Workspace, dataset_id: int) -> None:
    for file in (workspace.data_dir / "runs").rglob("*.safetensors"):
        file.write_bytes(b"damaged")
    training.train(workspace, dataset_id)
    assert [run.status for run in model_runs.all_runs(workspace, "set")] == ["ready", "ready"]


@with_features
def test_another_backbone_makes_another_run(workspace: Workspace, dataset_id: int) -> None:
    with workspace.database.write() as session:
        first = session.scalars(select(EmbeddingRun)).one()
        first.backbone_key = "another"
    embedding.embed(workspace, dataset_id, "builtin")
    with workspace.database.read() as session:
        assert [run.status for run in session.scalars(select(EmbeddingRun))] == [
            RunStatus.READY,
            RunStatus.READY,
        ]


@with_features
def test_the_same_labels_give_the_same_proposals(workspace: Workspace, dataset_id: int) -> None:
    other = make_dataset(workspace, "twin", coco_document(images=IMAGES)).dataset_id
    embedding.embed(workspace, other)
    scores = []
    for id_ in (dataset_id, other):
        training.train(workspace, id_)
        proposing.propose(workspace, id_)
        with workspace.database.read() as session:
            run = session.scalars(select(ModelRun).where(ModelRun.dataset_id == id_)).one()
            query = select(Proposal.state, Proposal.score).where(Proposal.model_run_id == run.id)
            scores.append(session.execute(query.order_by(Proposal.id)).all())
    assert scores[0] == scores[1]
    assert {state for state, _ in scores[0]} <= {LabelState.PRESENT, LabelState.ABSENT}


def test_the_loop_is_started_once(workspace: Workspace, dataset_id: int) -> None:
    job = triggers.start(workspace, dataset_id)
    assert job.payload == {"trigger": "by hand", "then": ["train", "propose"]}
    with pytest.raises(ConflictError, match="already at work"):
        triggers.start(workspace, dataset_id)


def test_answers_of_the_control_arm_are_what_calibration_leans_on(workspace: Workspace) -> None:
    """Only they: neither imported labels nor answers to other proposals."""
    dataset_id = make_dataset(workspace, "small").dataset_id
    make_proposals(workspace, dataset_id, control=lambda i: i % 2 == 0)
    grant = make_grant(workspace, dataset_id)
    cards = next_cards(workspace, grant, QueueQuery(limit=4)).cards
    answers = [
        Answer(
            f"control-arm-{card.proposal_id}",
            card.image_id,
            card.category_id,
            "absent",
            proposal_id=card.proposal_id,
        )
        for card in cards
    ]
    verdicts.decide(workspace, grant, answers)
    with workspace.database.read() as session:
        drawn = {
            (image_id, category_id, state)
            for image_id, category_id, state, origin in labels.with_origins(session, dataset_id)
            if origin is Origin.RANDOM
        }
        control = session.scalars(select(Proposal.id).where(Proposal.control)).all()
    expected = [card for card in cards if card.proposal_id in control]
    assert 0 < len(expected) < len(cards)
    assert drawn == {(card.image_id, card.category_id, -1) for card in expected}


def control_arm(workspace: Workspace) -> set[tuple[int, int]]:
    with workspace.database.read() as session:
        rows = session.execute(
            select(Proposal.image_id, Proposal.category_id)
            .join(ModelRun, ModelRun.id == Proposal.model_run_id)
            .where(ModelRun.serving, Proposal.control)
        )
        return {(image_id, category_id) for image_id, category_id in rows}


@with_a_run
def test_the_control_arm_stays_as_it_was_drawn_when_its_run_proposes_again(
    workspace: Workspace, dataset_id: int
) -> None:
    before = control_arm(workspace)
    assert len(before) > 10
    grant = make_grant(workspace, dataset_id)
    cards = next_cards(workspace, grant, QueueQuery(strategy="likely", limit=10)).cards
    for card in cards:
        answer = Answer(
            f"again-{card.proposal_id:07d}",
            card.image_id,
            card.category_id,
            "absent",
            proposal_id=card.proposal_id,
        )
        verdicts.decide(workspace, grant, [answer])
    proposing.propose(workspace, dataset_id)
    assert control_arm(workspace) == before
    with workspace.database.read() as session:
        query = select(Proposal.image_id, Proposal.category_id)
        assert len(session.execute(query).all()) == len(set(session.execute(query).all()))


@with_a_run
def test_a_run_that_comes_back_draws_its_control_arm_anew(
    workspace: Workspace, dataset_id: int
) -> None:
    first = control_arm(workspace)
    grant = make_grant(workspace, dataset_id)
    pair = min(first)
    verdicts.decide(workspace, grant, [Answer("control-arm-anew-1", *pair, "absent")])
    training.train(workspace, dataset_id)
    proposing.propose(workspace, dataset_id, ordered=True)
    with workspace.database.read() as session:
        oldest = session.scalars(select(ModelRun.id).order_by(ModelRun.id)).first()
    proposing.propose(workspace, dataset_id, model_run=oldest, ordered=True)
    with workspace.database.read() as session:
        answered = select(Proposal.id).where(
            Proposal.model_run_id == oldest,
            Proposal.control,
            Proposal.status == ProposalStatus.DECIDED,
        )
        assert session.scalars(answered).all() == []
    assert len(control_arm(workspace)) > 10


@with_a_run
def test_the_planner_knows_at_once_what_the_tables_hold(
    workspace: Workspace, dataset_id: int
) -> None:
    """PostgreSQL guesses until it counts; SQLite takes the orders' indexes without counting."""
    with workspace.database.read() as session:
        if not workspace.database.shared:
            tables = text("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat1'")
            assert session.scalar(tables) == 0
            return
        query = text("SELECT relname, reltuples FROM pg_class")
        counted = {row[0]: row[1] for row in session.execute(query)}
        rows = session.scalar(select(func.count()).select_from(Proposal))
    assert (counted["image"], counted["proposal"]) == (IMAGES, rows)
