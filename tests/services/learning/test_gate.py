"""A new run serves when it is not worse; what decides is what neither run had learned from."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from app.services.datasets import overview
from app.services.learning import embedding, gate, proposing, training, unseen
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.types import LabelState
from db.models import Category, Image, Label, ModelRun
from tests.builders import coco_document, make_dataset, make_grant

IMAGES, ANSWERED, CATEGORIES = 160, 140, 3


def labelled(workspace: Workspace) -> tuple[int, int]:
    """A collection whose first images carry imported labels, the others answers; one run of it."""
    document = coco_document(images=IMAGES, categories=CATEGORIES)
    document["annotations"] = document["annotations"][: IMAGES - ANSWERED]
    dataset_id = make_dataset(workspace, document=document, grain=60.0).dataset_id
    grant = make_grant(workspace, dataset_id)
    with workspace.database.read() as session:
        images = session.scalars(select(Image.id).order_by(Image.position)).all()
        categories = session.scalars(select(Category.id).order_by(Category.position)).all()
    for i in range(IMAGES - ANSWERED, IMAGES):
        answers = [
            Answer(f"answer-{i}-{c}", images[i], category, word(i % CATEGORIES == c))
            for c, category in enumerate(categories)
        ]
        verdicts.decide(workspace, grant, answers)
    embedding.embed(workspace, dataset_id)
    return dataset_id, next_run(workspace, dataset_id).id


pytestmark = pytest.mark.filled(by=labelled)


@pytest.fixture
def dataset_id(known: tuple[int, int]) -> int:
    return known[0]


@pytest.fixture
def first(workspace: Workspace, known: tuple[int, int]) -> ModelRun:
    """The run that serves."""
    return stored(workspace, known[1])


def word(present: bool) -> str:
    return "present" if present else "absent"


def next_run(workspace: Workspace, dataset_id: int) -> ModelRun:
    """Train, propose, and return the run."""
    run_id = training.train(workspace, dataset_id)["model_run"]
    proposing.propose(workspace, dataset_id, model_run=run_id)
    return stored(workspace, run_id)


def stored(workspace: Workspace, run_id: int) -> ModelRun:
    with workspace.database.read() as session:
        return session.get_one(ModelRun, run_id)


@contextmanager
def shuffled_labels(workspace: Workspace) -> Iterator[None]:
    """For a while what is known is dealt out at random among the known pairs."""
    with workspace.database.write() as session:
        labels = session.scalars(select(Label).order_by(Label.image_id, Label.category_id)).all()
        truth = {(one.image_id, one.category_id): one.state for one in labels}
        dealt = np.random.default_rng(7).permutation([int(state) for state in truth.values()])
        for label, state in zip(labels, dealt, strict=True):
            label.state = LabelState(int(state))
    yield
    with workspace.database.write() as session:
        for pair, state in truth.items():
            session.get_one(Label, pair).state = state


@pytest.mark.slow
def test_the_first_run_serves_and_one_as_good_takes_over(
    workspace: Workspace, dataset_id: int, first: ModelRun
) -> None:
    assert first.serving
    assert first.gate is not None
    assert (first.gate["decision"], first.gate["against"]) == ("serve", None)
    second = next_run(workspace, dataset_id)
    assert second.serving
    assert not stored(workspace, first.id).serving
    assert (second.gate["decision"], second.gate["against"]) == ("serve", first.id)
    assert second.gate["low"] <= second.gate["difference"] <= second.gate["high"]
    assert second.gate["positives"] >= 10
    names = {change["category"] for change in second.gate["categories"]}
    with workspace.database.read() as session:
        assert names <= set(session.scalars(select(Category.id)))


@pytest.mark.slow
def test_a_sabotaged_run_is_kept_explained_and_can_be_overridden(
    workspace: Workspace, dataset_id: int, first: ModelRun
) -> None:
    with shuffled_labels(workspace):
        run_id = training.train(workspace, dataset_id)["model_run"]
    result = proposing.propose(workspace, dataset_id, model_run=run_id)
    bad = stored(workspace, run_id)
    assert not result["served"]
    assert (bad.serving, stored(workspace, first.id).serving) == (False, True)
    assert bad.gate["decision"] == "keep"
    assert bad.gate["high"] < 0
    assert "worse with confidence" in bad.gate["reason"]
    assert bad.gate["reason"] in result["message"]
    # It is not asked about again, and nobody starts from it.
    assert proposing.propose(workspace, dataset_id)["model_run"] == first.id
    assert (
        stored(workspace, training.train(workspace, dataset_id)["model_run"]).parent_id == first.id
    )
    proposing.propose(workspace, dataset_id, model_run=run_id, ordered=True)
    assert stored(workspace, run_id).serving
    assert stored(workspace, run_id).gate["overridden"]
    assert overview.dataset(workspace, "set").open_proposals > 0
    # And the next honest run is better than the sabotaged one.
    assert next_run(workspace, dataset_id).gate["difference"] > 0.2


@pytest.mark.slow
def test_what_a_run_had_learned_from_is_not_compared(
    workspace: Workspace, dataset_id: int, first: ModelRun
) -> None:
    second = next_run(workspace, dataset_id)
    kept = {run.id: unseen.load(workspace.data_dir / str(run.directory)) for run in (first, second)}
    with workspace.database.read() as session:
        known = np.array(
            [(one.image_id, one.category_id) for one in session.scalars(select(Label))]
        )
    says = {id_: said.of(known[:, 0], known[:, 1]) for id_, said in kept.items() if said}
    for said in says.values():
        assert 0.5 < np.isnan(said).mean() < 0.95
    # The draw is of the pair, not of the training: what one has not seen the other has not.
    assert np.array_equal(np.isnan(says[first.id]), np.isnan(says[second.id]))
    decision = gate.judge(workspace, second.id, first.id)
    assert decision.verdicts <= int((~np.isnan(says[first.id])).sum())
    assert gate.judge(workspace, second.id, first.id) == decision


def test_a_run_without_kept_scores_serves_and_says_so(
    workspace: Workspace, dataset_id: int, first: ModelRun
) -> None:
    (workspace.data_dir / str(first.directory) / unseen.FILE).unlink()
    second = next_run(workspace, dataset_id)
    assert second.serving
    assert f"run {first.id}" in second.gate["reason"]
    assert second.gate["difference"] is None


def test_labels_of_files_and_of_people_are_not_ranked_together(
    workspace: Workspace, dataset_id: int, first: ModelRun
) -> None:
    """Imported labels are all positive here: beside them nothing can be told apart."""
    second = next_run(workspace, dataset_id)
    decision = gate.judge(workspace, second.id, first.id)
    held = unseen.load(workspace.data_dir / str(second.directory))
    assert held is not None
    with workspace.database.read() as session:
        labels = session.scalars(select(Label)).all()
        people = [one for one in labels if one.decision_id is not None]
    said = held.of(
        np.array([one.image_id for one in people]), np.array([one.category_id for one in people])
    )
    assert decision.verdicts == int((~np.isnan(said)).sum())


def test_scores_come_back_by_image_and_category(tmp_path: Path) -> None:
    logits = np.array([[1.5, np.nan, np.inf], [-2.0, 7e4, 0.25]], np.float32)
    unseen.store(tmp_path, [7, 3], [30, 10, 20], logits, None)
    found = unseen.load(tmp_path)
    assert found is not None
    said = found.of(np.array([3, 7, 7, 7, 99, 3]), np.array([30, 30, 10, 20, 30, 5]))
    assert said[:2].tolist() == [-2.0, 1.5]
    assert np.isnan(said[[2, 4, 5]]).all()
    assert np.isinf(said[3])
    # What an earlier run had learned from stays learned, whatever has moved.
    later = np.zeros((3, 2), np.float32)
    (tmp_path / "next").mkdir()
    unseen.store(tmp_path / "next", [7, 8, 3], [10, 30], later, found)
    heir = unseen.load(tmp_path / "next")
    assert heir is not None
    assert np.isnan(heir.scores).tolist() == [[True, False], [False, False], [False, False]]


def test_no_file_or_a_damaged_one_is_none(tmp_path: Path) -> None:
    assert unseen.load(tmp_path) is None
    (tmp_path / unseen.FILE).write_bytes(b"PK damaged")
    assert unseen.load(tmp_path) is None
