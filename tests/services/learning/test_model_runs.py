"""Runs put in charge, pinned, compared, deleted; what people said stays as it is."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select

from app import worker
from app.services.datasets import overview
from app.services.exporting import export
from app.services.importing.identity import Match
from app.services.importing.ingest import ImportRequest, import_file
from app.services.jobs.table import JobKind, JobStatus
from app.services.learning import embedding, model_runs, proposing, training, triggers
from app.services.learning.model_runs import ModelRunView
from app.services.reviewing import verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, NotFoundError
from db.models import Category, Decision, Label, ModelRun, Proposal
from tests.builders import coco_document, make_collection, make_dataset, make_grant

IMAGES = 24


def two_runs(workspace: Workspace) -> int:
    """A dataset with two finished runs, the second in charge."""
    document = coco_document(images=IMAGES)
    dataset_id = make_dataset(workspace, document=document, grain=30.0).dataset_id
    embedding.embed(workspace, dataset_id)
    for _ in range(2):
        training.train(workspace, dataset_id)
        proposing.propose(workspace, dataset_id)
    return dataset_id


pytestmark = pytest.mark.filled(by=two_runs)


@pytest.fixture
def dataset_id(known: int) -> int:
    return known


def all_runs(workspace: Workspace) -> Sequence[ModelRunView]:
    return model_runs.all_runs(workspace, "set")


def work_off(workspace: Workspace) -> None:
    """Run every waiting job, as the worker does."""
    while waiting := workspace.jobs.live():
        workspace.jobs.run(waiting[0].id, "worker:1", worker.handlers(workspace))


def what_people_said(workspace: Workspace) -> list[tuple[object, ...]]:
    with workspace.database.read() as session:
        decided = session.execute(
            select(Decision.id, Decision.image_id, Decision.category_id, Decision.verdict)
        ).all()
        labels = session.execute(select(Label.image_id, Label.category_id, Label.state)).all()
        return [*map(tuple, decided), *map(tuple, labels)]


def answer_some(workspace: Workspace, dataset_id: int, count: int = 3) -> None:
    grant = make_grant(workspace, dataset_id)
    for card in next_cards(workspace, grant, QueueQuery(limit=count)).cards:
        answer = Answer(
            f"client-{card.proposal_id}",
            card.image_id,
            card.category_id,
            "absent",
            card.proposal_id,
        )
        verdicts.decide(workspace, grant, [answer])


@pytest.mark.slow
def test_rolling_back_makes_an_earlier_run_propose_and_serve(
    workspace: Workspace, dataset_id: int
) -> None:
    second, first = all_runs(workspace)
    assert (second.state, first.state) == ("serves", "served before")
    answer_some(workspace, dataset_id)
    before = what_people_said(workspace)
    job = model_runs.put_in_charge(workspace, dataset_id, first.id)
    assert all_runs(workspace)[0].serving  # until the job is done
    with pytest.raises(ConflictError, match="proposing already"):
        model_runs.put_in_charge(workspace, dataset_id, first.id)
    work_off(workspace)
    assert workspace.jobs.get(job.id).status is JobStatus.SUCCEEDED
    assert [run.serving for run in all_runs(workspace)] == [False, True]
    assert what_people_said(workspace) == before
    with workspace.database.read() as session:
        known = {(one.image_id, one.category_id) for one in session.scalars(select(Label))}
        owners = session.execute(select(Proposal.model_run_id, Proposal.status)).all()
        open_pairs = {
            (one.image_id, one.category_id)
            for one in session.scalars(select(Proposal).where(Proposal.status == "open"))
        }
    assert {run for run, status in owners if status.value == "open"} == {first.id}
    assert len(open_pairs) == IMAGES * 3 - len(known)
    assert not open_pairs & known
    # Proposing without a name means the run in charge, not the one it was rolled back from.
    assert proposing.propose(workspace, dataset_id)["model_run"] == first.id
    # The next run starts from it, and takes over again if it is not worse.
    training.train(workspace, dataset_id)
    third = all_runs(workspace)[0]
    assert third.parent == first.id
    assert proposing.propose(workspace, dataset_id)["model_run"] == third.id
    assert all_runs(workspace)[0].serving


@pytest.mark.slow
def test_a_pinned_run_stays_in_charge(workspace: Workspace, dataset_id: int) -> None:
    second, first = all_runs(workspace)
    with pytest.raises(ConflictError, match="does not serve"):
        model_runs.pin(workspace, dataset_id, first.id)
    model_runs.pin(workspace, dataset_id, second.id)
    training.train(workspace, dataset_id)
    result = proposing.propose(workspace, dataset_id)
    third, second, _ = all_runs(workspace)
    assert not result["served"]
    assert (third.state, second.state) == ("kept back", "serves, pinned")
    assert third.gate is not None
    assert f"Run {second.id} is pinned" in third.gate["reason"]
    with pytest.raises(ConflictError, match="pinned: unpin"):
        model_runs.put_in_charge(workspace, dataset_id, third.id)
    model_runs.unpin(workspace, dataset_id, second.id)
    model_runs.put_in_charge(workspace, dataset_id, third.id)
    work_off(workspace)
    third, second, _ = all_runs(workspace)
    assert (third.state, second.state) == ("serves", "served before")


@pytest.mark.slow
def test_pinning_while_another_run_proposes_wins(workspace: Workspace, dataset_id: int) -> None:
    second = all_runs(workspace)[0]
    training.train(workspace, dataset_id)

    def pin(done: int, total: int, what: str) -> None:
        if what == "storing proposals":
            model_runs.pin(workspace, dataset_id, second.id)

    assert not proposing.propose(workspace, dataset_id, pin)["served"]
    third, second, _ = all_runs(workspace)
    assert (third.state, second.state) == ("kept back", "serves, pinned")


@pytest.mark.slow
def test_deleting_takes_proposals_and_files_but_no_verdict(
    workspace: Workspace, dataset_id: int, tmp_path: Path
) -> None:
    answer_some(workspace, dataset_id)
    before = what_people_said(workspace)
    training.train(workspace, dataset_id)
    proposing.propose(workspace, dataset_id)
    third, second, first = all_runs(workspace)
    with pytest.raises(ConflictError, match="serves"):
        model_runs.delete(workspace, dataset_id, third.id)
    model_runs.delete(workspace, dataset_id, second.id)
    assert [run.id for run in all_runs(workspace)] == [third.id, first.id]
    assert all_runs(workspace)[0].parent is None
    assert what_people_said(workspace) == before
    folders = sorted(path.name for path in (workspace.data_dir / f"runs/{dataset_id}").iterdir())
    assert folders == [str(first.id), str(third.id)]
    with workspace.database.read() as session:
        query = select(func.count()).where(Proposal.model_run_id == second.id)
        assert session.scalar(query) == 0
        named = session.scalars(select(Decision.proposal_id)).all()
    assert named == [None] * 3
    export.export_dataset(workspace, "set", tmp_path / "out.json")
    assert len(json.loads((tmp_path / "out.json").read_text())["labels"]) == 3
    with pytest.raises(NotFoundError, match=f"no model run {second.id}"):
        model_runs.delete(workspace, dataset_id, second.id)


@pytest.mark.slow
def test_a_run_that_a_job_works_on_is_not_deleted(workspace: Workspace, dataset_id: int) -> None:
    first = all_runs(workspace)[1]
    model_runs.put_in_charge(workspace, dataset_id, first.id)
    with pytest.raises(ConflictError, match="a job works on"):
        model_runs.delete(workspace, dataset_id, first.id)
    work_off(workspace)
    triggers.start(workspace, dataset_id)
    refused = []

    def listen(done: int, total: int, what: str) -> None:
        if not what.startswith("reading") and not refused:
            newest = all_runs(workspace)[0]
            with pytest.raises(ConflictError, match="a job works on"):
                model_runs.delete(workspace, dataset_id, newest.id)
            refused.append(newest.id)

    handlers = worker.handlers(workspace)
    job = workspace.jobs.live()[0]
    workspace.jobs.cancel(job.id)
    workspace.jobs.run_here(JobKind.TRAIN, dataset_id, {}, handlers, listen)
    assert refused


@pytest.mark.sqlite_only
@pytest.mark.slow
def test_the_newest_runs_id_comes_again_without_its_files(
    workspace: Workspace, dataset_id: int
) -> None:
    training.train(workspace, dataset_id)
    third = all_runs(workspace)[0]
    model_runs.delete(workspace, dataset_id, third.id)
    leftover = workspace.data_dir / f"runs/{dataset_id}/{third.id}/leftover"
    leftover.parent.mkdir()
    leftover.write_text("of a kill between the database and the disk")
    training.train(workspace, dataset_id)
    assert all_runs(workspace)[0].id == third.id
    assert not leftover.exists()


@pytest.mark.slow
def test_two_runs_side_by_side(workspace: Workspace, dataset_id: int) -> None:
    second, first = all_runs(workspace)
    with workspace.database.write() as session:
        run = session.get_one(ModelRun, second.id)
        run.config = {**run.config, "learning_rate": 0.5}
    found = model_runs.compare(workspace, dataset_id, first.id, second.id)
    assert (found.first, found.second.id) == (first, second.id)
    (setting,) = found.config
    assert (setting.name, setting.second) == ("learning_rate", 0.5)
    measured = {one.name: one for one in found.metrics}
    assert measured["held_out_ap.blend"].first == first.metrics["held_out_ap"]["blend"]
    assert found.first.curves
    assert found.paired.reason
    with pytest.raises(NotFoundError):
        model_runs.compare(workspace, dataset_id, first.id, 999)


@pytest.mark.slow
def test_a_run_serves_after_categories_came_and_went(workspace: Workspace, dataset_id: int) -> None:
    first = all_runs(workspace)[1]
    document = coco_document(images=IMAGES)
    document["categories"].append({"id": 4, "name": "grey"})
    document["images"].append({"id": 99, "file_name": "099.jpg", "width": 64, "height": 48})
    document["annotations"].append({"id": 99, "image_id": 99, "category_id": 4, "bbox": [0] * 4})
    file, root = make_collection(workspace.data_dir / "source-later", document)
    request = ImportRequest(str(file), str(root), "set", match=Match.NAMES)  # drawn anew
    import_file(workspace, request)
    with workspace.database.write() as session:
        session.execute(delete(Category).where(Category.name == "red"))
    assert [one.name for one in overview.category_counts(workspace, "set")] == [
        "green",
        "blue",
        "grey",
    ]
    # An earlier run proposes for those it knows and that are still there.
    model_runs.put_in_charge(workspace, dataset_id, first.id)
    work_off(workspace)
    assert all_runs(workspace)[1].serving
    assert proposed(workspace, first.id) == {"green", "blue"}
    # A new one knows them all; it is compared on what both know.
    embedding.embed(workspace, dataset_id)
    training.train(workspace, dataset_id)
    proposing.propose(workspace, dataset_id)
    third = all_runs(workspace)[0]
    assert third.serving
    assert third.gate is not None
    assert third.gate["against"] == first.id
    assert proposed(workspace, third.id) == {"green", "blue", "grey"}
    export.write_proposals(workspace, "set", workspace.data_dir / "out.csv")
    with (workspace.data_dir / "out.csv").open(newline="") as stream:
        assert {row["category"] for row in csv.DictReader(stream)} == {"green", "blue", "grey"}


def proposed(workspace: Workspace, run_id: int) -> set[str]:
    query = (
        select(Category.name)
        .join(Proposal, Proposal.category_id == Category.id)
        .where(Proposal.model_run_id == run_id, Proposal.status == "open")
    )
    with workspace.database.read() as session:
        return set(session.scalars(query))
