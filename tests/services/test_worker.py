"""The worker process: killed in the middle of everything, it loses nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from app.services import learning, views
from app.services.jobs import JobKind, JobStatus, JobView
from app.services.settings import Settings
from app.services.worker import WorkerKeeper, is_running
from app.services.workspace import Workspace
from clsl_core.backbone import BackboneSpec
from clsl_core.features import FeatureStore
from db.models import EmbeddingRun, ModelRun, Proposal
from tests.builders import coco_document, make_dataset

ROOT = Path(__file__).parents[2]
IMAGES = 600


@pytest.fixture
def workspace(tmp_path: Path, database_url: str | None) -> Iterator[Workspace]:
    """A workspace with a real queue."""
    settings = Settings(data_dir=tmp_path / "data", backbone="builtin", database_url=database_url)
    (tmp_path / "data").mkdir()
    opened = Workspace.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def start(workspace: Workspace) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts workers, and ends those that a test leaves behind."""
    processes: list[subprocess.Popen[bytes]] = []

    def start_worker() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "app.cli", "--data-dir", str(workspace.data_dir), "worker"]
        url = workspace.settings.database_url
        environment = os.environ | ({} if url is None else {"CLSL_DATABASE_URL": url})
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        processes.append(process)
        return process

    yield start_worker
    for process in processes:
        process.kill()
        process.wait()


def wait_for(what: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def job_of(workspace: Workspace, kind: JobKind) -> JobView | None:
    return next((job for job in workspace.jobs.recent() if job.kind is kind), None)


def in_the_middle(workspace: Workspace, kind: JobKind, done: int) -> bool:
    job = job_of(workspace, kind)
    return job is not None and job.status is JobStatus.RUNNING and done <= job.done < job.total


def kill(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_killed_while_embedding_and_while_training(workspace: Workspace, start) -> None:
    result = make_dataset(workspace, document=coco_document(images=IMAGES))
    learning.start(workspace, result.dataset_id)
    for kind, done in ((JobKind.EMBED, 256), (JobKind.TRAIN, 1)):
        process = start()
        wait_for(lambda kind=kind, done=done: in_the_middle(workspace, kind, done))
        kill(process)
        interrupted = job_of(workspace, kind)
        assert interrupted is not None
        assert interrupted.status is JobStatus.RUNNING
    start()
    wait_for(lambda: not workspace.jobs.live())
    ended = {job.kind: (job.status, job.attempts) for job in workspace.jobs.recent()}
    assert ended == {
        JobKind.EMBED: (JobStatus.SUCCEEDED, 2),
        JobKind.TRAIN: (JobStatus.SUCCEEDED, 2),
        JobKind.PROPOSE: (JobStatus.SUCCEEDED, 1),
    }
    view = views.dataset(workspace, "set")
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


@pytest.mark.slow
def test_one_worker_for_each_data_directory(workspace: Workspace, start) -> None:
    first = start()
    wait_for(lambda: is_running(workspace.settings))
    second = start()
    assert second.wait(timeout=60) == 5
    assert first.poll() is None
    if hasattr(os, "getpriority"):
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, first.pid) == min(own + 10, 19)


@pytest.mark.slow
def test_the_keeper_replaces_a_killed_worker_and_takes_the_last_one_along(
    workspace: Workspace,
) -> None:
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


@pytest.mark.slow
def test_cancel_from_outside_reaches_the_worker(workspace: Workspace, start) -> None:
    result = make_dataset(workspace, document=coco_document(images=IMAGES))
    job = learning.start(workspace, result.dataset_id)
    start()
    wait_for(lambda: in_the_middle(workspace, JobKind.EMBED, 1))
    asked = time.monotonic()
    workspace.jobs.cancel(job.id)
    wait_for(lambda: not workspace.jobs.get(job.id).status.live, 10)
    assert workspace.jobs.get(job.id).status is JobStatus.CANCELLED
    assert time.monotonic() - asked < 4
    assert workspace.jobs.live() == []


@pytest.mark.slow
@pytest.mark.both_databases
def test_of_several_workers_another_goes_on(workspace: Workspace, start, backend: str) -> None:
    if backend == "sqlite":
        pytest.skip("a file has one worker")
    result = make_dataset(workspace, document=coco_document(images=IMAGES))
    workspace.jobs.submit(JobKind.EMBED, result.dataset_id)
    first = start()
    wait_for(lambda: in_the_middle(workspace, JobKind.EMBED, 256))
    second = start()
    wait_for(lambda: presences(workspace) == 2)
    assert workspace.jobs.sweep() == 0  # both live: nobody's work is taken away
    kill(first)
    assert second.poll() is None
    workspace.jobs.sweep()
    wait_for(lambda: workspace.jobs.recent()[0].attempts == 2, 10)
    wait_for(lambda: not workspace.jobs.live())
    job = job_of(workspace, JobKind.EMBED)
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
