"""The worker is killed at random points of everything it does: nothing is lost or doubled."""

import json
import random
import time

import pytest
from sqlalchemy import func, select, text

from app.services.importing.ingest import ImportRequest, import_file
from app.services.jobs.table import JobKind, JobStatus
from app.services.learning import embedding, model_runs, proposing, training, triggers
from app.services.workspace import Workspace
from clsl_core.backbones.spec import BackboneSpec
from clsl_core.features import FeatureStore
from clsl_core.files import PARTIAL
from clsl_core.recovery.model_file import load_recovery
from db.models import EmbeddingRun, ModelRun, Proposal, ProposalStatus, RunStatus
from tests.builders import coco_document, make_collection
from tests.services.conftest import Workers, wait_for

BEFORE, AFTER = 40, 264  # images of the first run, and of the one that is killed
CATEGORIES = 5
PAUSES = {JobKind.EMBED: 1.0, JobKind.TRAIN: 3.0, JobKind.PROPOSE: 1.5}  # seconds, at most


def serving_runs(workspace: Workspace) -> list[int]:
    with workspace.database.read() as session:
        return list(session.scalars(select(ModelRun.id).where(ModelRun.serving)))


def open_owners(workspace: Workspace) -> set[int]:
    query = select(Proposal.model_run_id).where(Proposal.status == ProposalStatus.OPEN).distinct()
    with workspace.database.read() as session:
        return set(session.scalars(query))


def consistent(workspace: Workspace) -> None:
    """What must be so at every moment, also right after a kill."""
    if not workspace.database.shared:
        with workspace.database.read() as session:
            assert session.scalar(text("PRAGMA integrity_check")) == "ok"
            assert session.execute(text("PRAGMA foreign_key_check")).all() == []
    (serving,) = serving_runs(workspace)
    assert serving in open_owners(workspace)


def prepared(workspace: Workspace) -> int:
    """A dataset with a serving run, and many pictures that came since."""
    file, root = make_collection(workspace.data_dir / "source", document(AFTER), grain=40.0)
    request = ImportRequest(str(file), str(root), "set")
    file.write_text(json.dumps(document(BEFORE)))
    dataset_id = import_file(workspace, request).dataset_id
    embedding.embed(workspace, dataset_id)
    training.train(workspace, dataset_id)
    proposing.propose(workspace, dataset_id)
    file.write_text(json.dumps(document(AFTER)))
    import_file(workspace, request)
    return dataset_id


def document(images: int) -> dict[str, object]:
    return coco_document(images=images, categories=CATEGORIES)


def at_work(workers: Workers, kind: JobKind) -> bool:
    job = workers.newest(kind)
    return job is not None and job.status is not JobStatus.QUEUED


def switching(workspace: Workspace) -> bool:
    """Whether the newest run has stored proposals: the switch is near, or just over."""
    with workspace.database.read() as session:
        newest = select(func.max(ModelRun.id)).scalar_subquery()
        return bool(session.scalar(select(Proposal.id).where(Proposal.model_run_id == newest)))


@pytest.mark.second_order("kills and full disks")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_four_kills_at_random_points(workers: Workers, seed: int) -> None:
    """With five seeds: twenty kills in embedding, training, proposing and the switch."""
    workspace, draw = workers.workspace, random.Random(seed)
    dataset_id = prepared(workspace)
    triggers.start(workspace, dataset_id)
    for kind in (JobKind.EMBED, JobKind.TRAIN, JobKind.PROPOSE):
        process = workers.start()
        wait_for(lambda kind=kind: at_work(workers, kind))
        time.sleep(draw.uniform(0, PAUSES[kind]))
        workers.kill(process)
        consistent(workspace)
    if not workspace.jobs.live():  # the last kill came after the end: begin again
        triggers.start(workspace, dataset_id)
    process = workers.start()
    wait_for(lambda: switching(workspace))
    time.sleep(draw.uniform(0, 0.1))
    workers.kill(process)
    consistent(workspace)
    workers.start()
    wait_for(lambda: not workspace.jobs.live())
    whole(workers, dataset_id)


def whole(workers: Workers, dataset_id: int) -> None:
    """Every job has finished, once; the newest run serves, and its files are sound."""
    workspace = workers.workspace
    consistent(workspace)
    jobs = workspace.jobs.recent()
    assert {job.status for job in jobs} == {JobStatus.SUCCEEDED}, jobs
    trainings = [job for job in jobs if job.kind is JobKind.TRAIN]
    with workspace.database.read() as session:
        runs = session.scalars(select(ModelRun).order_by(ModelRun.id)).all()
        features = session.scalars(select(EmbeddingRun)).one()
        pairs = session.scalar(
            select(func.count()).where(Proposal.model_run_id == runs[-1].id).select_from(Proposal)
        )
    assert len(runs) == 1 + len(trainings)
    assert {run.status for run in runs} == {RunStatus.READY}
    assert serving_runs(workspace) == [runs[-1].id]
    assert open_owners(workspace) == {runs[-1].id}
    proposed = next(job.result for job in jobs if job.kind is JobKind.PROPOSE)
    assert proposed is not None
    assert (pairs, proposed["model_run"]) == (proposed["proposals"], runs[-1].id)
    assert pairs > AFTER
    folder = workspace.data_dir / f"runs/{dataset_id}/{runs[-1].id}"
    assert load_recovery(folder / "model").category_count == CATEGORIES
    assert not (folder / "resume").exists()
    store = FeatureStore.open(
        workspace.data_dir / features.directory, BackboneSpec.from_json(features.spec)
    )
    assert (len(store), store.verify()) == (AFTER, [])
    kept = [path.name for path in folder.rglob("*") if path.name.endswith(PARTIAL)]
    assert len(kept) <= 1  # what a kill left half written is never read
    assert model_runs.all_runs(workspace, "set")[0].trigger == "by hand"


@pytest.mark.second_order("kills and full disks")
@pytest.mark.slow
@pytest.mark.parametrize("kind", [JobKind.EMBED, JobKind.TRAIN, JobKind.PROPOSE])
def test_a_cancelled_job_ends_within_two_seconds(workers: Workers, kind: JobKind) -> None:
    workspace = workers.workspace
    dataset_id = prepared(workspace)
    workers.start()
    seconds = [cancel_in_the_middle(workers, dataset_id, kind)]
    while min(seconds) >= 2 and len(seconds) < 3:  # others may have kept the machine busy
        seconds.append(cancel_in_the_middle(workers, dataset_id, kind))
    assert min(seconds) < 2, seconds


def cancel_in_the_middle(workers: Workers, dataset_id: int, kind: JobKind) -> float:
    """Seconds until a job that is at work has stopped."""
    workspace = workers.workspace
    first = triggers.start(workspace, dataset_id)

    def is_at_work() -> bool:
        job = workers.newest(kind)
        return job is not None and job.id >= first.id and workers.in_the_middle(kind, 0)

    wait_for(is_at_work)
    job = workers.newest(kind)
    assert job is not None
    asked = time.monotonic()
    workspace.jobs.cancel(job.id)
    wait_for(lambda: not workspace.jobs.get(job.id).status.live, 10)
    seconds = time.monotonic() - asked
    ended = workspace.jobs.get(job.id).status
    # Proposing may take less time here than a cancel takes to be heard.
    assert ended is JobStatus.CANCELLED or (kind, ended) == (JobKind.PROPOSE, JobStatus.SUCCEEDED)
    assert workspace.jobs.live() == []
    consistent(workspace)
    return seconds
