"""The worker process: killed in the middle of everything, it loses nothing."""

import os
import signal
import time
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from app.services.datasets import overview
from app.services.jobs.keeper import WorkerKeeper, is_running
from app.services.jobs.table import JobKind, JobStatus
from app.services.learning import triggers
from app.services.workspace import Workspace
from clsl_core.backbones.spec import BackboneSpec
from clsl_core.features import FeatureStore
from db.models import Dataset, EmbeddingRun, ModelRun, Proposal
from db.types import now
from tests.builders import coco_document, make_dataset
from tests.services.conftest import Workers, wait_for

IMAGES = 600


@pytest.mark.slow
def test_killed_while_embedding_and_while_training(workers: Workers) -> None:
    workspace = workers.workspace
    result = make_dataset(workspace, document=coco_document(images=IMAGES))
    triggers.start(workspace, result.dataset_id)
    for kind, done in ((JobKind.EMBED, 256), (JobKind.TRAIN, 1)):
        process = workers.start()
        wait_for(lambda kind=kind, done=done: workers.in_the_middle(kind, done))
        workers.kill(process)
        interrupted = workers.newest(kind)
        assert interrupted is not None
        assert interrupted.status is JobStatus.RUNNING
    workers.start()
    wait_for(lambda: not workspace.jobs.live())
    ended = {job.kind: (job.status, job.attempts) for job in workspace.jobs.recent()}
    assert ended == {
        JobKind.EMBED: (JobStatus.SUCCEEDED, 2),
        JobKind.TRAIN: (JobStatus.SUCCEEDED, 2),
        JobKind.PROPOSE: (JobStatus.SUCCEEDED, 1),
    }
    view = overview.dataset(workspace, "set")
    assert (view.embedded, view.problem_images) == (IMAGES, 0)
    with workspace.database.read() as session:
        (run,) = session.scalars(select(ModelRun)).all()
        assert run.serving
        embedding = session.get_one(EmbeddingRun, run.embedding_run_id)
        pairs = session.scalar(
            select(func.count()).select_from(Proposal).where(Proposal.model_run_id == run.id)
        )
    assert pairs
    store = FeatureStore.open(
        workspace.data_dir / embedding.directory, BackboneSpec.from_json(embedding.spec)
    )
    assert (len(store), store.verify()) == (IMAGES, [])


@pytest.mark.second_order("kills and full disks")
@pytest.mark.sqlite_only  # a server's queue is shared by several
@pytest.mark.slow
def test_one_worker_for_each_data_directory(workers: Workers) -> None:
    first = workers.start()
    wait_for(lambda: is_running(workers.workspace.settings))
    second = workers.start()
    assert second.wait(timeout=60) == 5
    assert first.poll() is None
    if hasattr(os, "getpriority"):
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, first.pid) == min(own + 10, 19)


@pytest.mark.second_order("kills and full disks")
@pytest.mark.slow
def test_the_keeper_replaces_a_killed_worker_and_takes_the_last_one_along(
    workers: Workers,
) -> None:
    workspace = workers.workspace
    keeper = WorkerKeeper(workspace.settings)
    keeper.start()
    try:
        wait_for(lambda: is_running(workspace.settings))
        process = keeper._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: keeper._process is not process)
        wait_for(lambda: is_running(workspace.settings))
    finally:
        keeper.stop()
    wait_for(lambda: not is_running(workspace.settings), 10)


@pytest.mark.second_order("kills and full disks")
@pytest.mark.slow
def test_a_worker_whose_app_died_while_it_was_loading_ends(workers: Workers) -> None:
    keeper = WorkerKeeper(workers.workspace.settings)
    process = keeper._spawn()
    assert process.stdin is not None
    process.stdin.close()  # as the end of the app would
    try:
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()


@pytest.mark.slow
def test_cancel_from_outside_reaches_the_worker(workers: Workers) -> None:
    workspace = workers.workspace
    result = make_dataset(workspace, document=coco_document(images=IMAGES))
    job = triggers.start(workspace, result.dataset_id)
    workers.start()
    wait_for(lambda: workers.in_the_middle(JobKind.EMBED, 1))
    asked = time.monotonic()
    workspace.jobs.cancel(job.id)
    wait_for(lambda: not workspace.jobs.get(job.id).status.live, 10)
    assert workspace.jobs.get(job.id).status is JobStatus.CANCELLED
    assert time.monotonic() - asked < 4
    assert workspace.jobs.live() == []


@pytest.mark.slow
def test_of_several_workers_another_goes_on(workers: Workers, backend: str) -> None:
    if backend == "sqlite":
        pytest.skip("a file has one worker")
    workspace = workers.workspace
    result = make_dataset(workspace, document=coco_document(images=IMAGES))
    workspace.jobs.submit(JobKind.EMBED, result.dataset_id)
    first = workers.start()
    wait_for(lambda: workers.in_the_middle(JobKind.EMBED, 256))
    second = workers.start()
    wait_for(lambda: presences(workspace) == 2)
    assert workspace.jobs.sweep() == 0  # both live: nobody's work is taken away
    workers.kill(first)
    assert second.poll() is None
    workspace.jobs.sweep()
    wait_for(lambda: workspace.jobs.recent()[0].attempts == 2, 10)
    wait_for(lambda: not workspace.jobs.live())
    job = workers.newest(JobKind.EMBED)
    assert job is not None
    assert (job.status, job.attempts) == (JobStatus.SUCCEEDED, 2)


def presences(workspace: Workspace) -> int:
    """How many workers show that they live."""
    with workspace.database.read() as session:
        held = text(
            "SELECT count(*) FROM pg_locks "
            "WHERE locktype = 'advisory' AND mode = 'ShareLock' AND objsubid = 2"
        )
        return session.scalar(held) or 0


@pytest.mark.second_order("kills and full disks")
@pytest.mark.slow
def test_the_worker_keeps_to_set_times(workers: Workers) -> None:
    workspace = workers.workspace
    dataset_id = make_dataset(workspace).dataset_id
    triggers.set_schedule(workspace, "set", "* * * * *")
    with workspace.database.write() as session:
        session.get_one(Dataset, dataset_id).schedule_from = now() - timedelta(hours=1)
    workers.start()
    wait_for(lambda: workers.newest(JobKind.EMBED) is not None, 60)
    job = workers.newest(JobKind.EMBED)
    assert job is not None
    assert job.payload["trigger"] == "schedule"
