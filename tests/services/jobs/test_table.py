"""Background work survives everything: kills, cancels, two claimers, unknown errors."""

import threading
from datetime import timedelta

import pytest

from app.services.jobs import table
from app.services.jobs.bell import SilentBell
from app.services.jobs.table import JobContext, Jobs, new_owner
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, InputError, NotFoundError
from db.models import Job, JobKind, JobStatus
from db.session import Database, Presence
from db.types import now
from tests.builders import make_dataset

pytestmark = pytest.mark.both_databases


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's heart beats here: no need to watch."""
    monkeypatch.setattr(table, "WATCH_SECONDS", 0.01)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database, SilentBell())


def age(jobs: Jobs, job_id: int, seconds: float, owner: str) -> None:
    """Make a job look as if its process had died some time ago."""
    with jobs.database.write() as session:
        job = session.get_one(Job, job_id)
        job.status, job.owner = JobStatus.RUNNING, owner
        job.attempts += 1
        job.heartbeat_at = now() - timedelta(seconds=seconds)


def test_submit_inserts_then_rings(jobs: Jobs) -> None:
    job = jobs.submit(JobKind.DEMO, None, {"a": 1})
    assert jobs.get(job.id).status is JobStatus.QUEUED
    assert jobs.bell.rung == [job.id]


def test_a_job_runs_once_however_often_it_is_rung(jobs: Jobs) -> None:
    ran: list[int] = []
    barrier = threading.Barrier(4)

    def handler(context: JobContext) -> dict[str, object]:
        ran.append(context.job.id)
        return {"message": "well"}

    job = jobs.submit(JobKind.DEMO, None)

    def claim() -> None:
        barrier.wait()
        jobs.run(job.id, new_owner("worker"), {JobKind.DEMO: handler})

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ran == [job.id]
    assert jobs.get(job.id).status is JobStatus.SUCCEEDED
    assert jobs.get(job.id).message == "well"


def test_a_stale_job_goes_back_to_the_queue_and_is_rung(jobs: Jobs) -> None:
    job = jobs.submit(JobKind.DEMO, None)
    age(jobs, job.id, 3600, "cli:1")
    assert jobs.sweep() == 1
    assert jobs.get(job.id).status is JobStatus.QUEUED
    assert jobs.bell.rung == [job.id, job.id]


def test_a_beating_job_is_left_alone_unless_its_owner_is_known_dead(jobs: Jobs) -> None:
    job = jobs.submit(JobKind.DEMO, None)
    presence = Presence(jobs.database, "worker:1")
    presence.keep()
    age(jobs, job.id, 1, "worker:1")
    assert jobs.sweep() == 0
    assert jobs.get(job.id).status is JobStatus.RUNNING
    assert jobs.sweep(dead_owner_prefix="worker:") == 1
    assert jobs.get(job.id).status is JobStatus.QUEUED
    presence.end()
    age(jobs, job.id, 1, "worker:1")
    assert jobs.sweep() == (1 if jobs.database.shared else 0)


def test_a_job_that_kills_its_process_every_time_is_given_up(jobs: Jobs) -> None:
    job = jobs.submit(JobKind.DEMO, None)
    for _ in range(5):
        age(jobs, job.id, 3600, "worker:1")
        jobs.sweep()
    found = jobs.get(job.id)
    assert found.status is JobStatus.FAILED
    assert "5 times" in str(found.error)


def test_cancel_of_a_waiting_job_is_immediate(jobs: Jobs) -> None:
    job = jobs.submit(JobKind.DEMO, None)
    assert jobs.cancel(job.id).status is JobStatus.CANCELLED
    assert not jobs.run(job.id, "worker:1", {})


def test_cancel_stops_a_running_job_within_two_seconds(jobs: Jobs) -> None:
    started, job_id = threading.Event(), jobs.submit(JobKind.DEMO, None).id

    def handler(context: JobContext) -> dict[str, object]:
        for step in range(2000):
            context.progress(step, 2000, "working")
            started.set()
            threading.Event().wait(0.01)
        return {}

    thread = threading.Thread(target=jobs.run, args=(job_id, "worker:1", {JobKind.DEMO: handler}))
    thread.start()
    started.wait(5)
    jobs.cancel(job_id)
    thread.join(timeout=3)
    assert not thread.is_alive()
    assert jobs.get(job_id).status is JobStatus.CANCELLED


def test_progress_is_seen_from_outside(jobs: Jobs) -> None:
    seen = []

    def handler(context: JobContext) -> dict[str, object]:
        context.progress(3, 10, "third")
        view = jobs.get(context.job.id)
        seen.append((view.done, view.total, view.message, view.fraction))
        return {}

    jobs.run(jobs.submit(JobKind.DEMO, None).id, "worker:1", {JobKind.DEMO: handler})
    assert seen == [(3, 10, "third", 0.3)]


@pytest.mark.parametrize(
    ("error", "expected"),
    [(InputError("the file is odd"), "the file is odd"), (ValueError("boom"), "unexpected error")],
)
def test_a_failure_is_kept_with_its_reason(jobs: Jobs, error: Exception, expected: str) -> None:
    def handler(context: JobContext) -> dict[str, object]:
        raise error

    job = jobs.submit(JobKind.DEMO, None)
    jobs.run(job.id, "worker:1", {JobKind.DEMO: handler})
    found = jobs.get(job.id)
    assert found.status is JobStatus.FAILED
    assert expected in str(found.error)


def test_the_next_job_of_a_chain_is_submitted_with_the_success(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    jobs = workspace.jobs
    payload = {"then": ["train", "propose"], "trigger": "test"}
    first = jobs.submit(JobKind.EMBED, dataset_id, payload)
    jobs.run(first.id, "worker:1", {JobKind.EMBED: lambda _: {}})
    (second,) = jobs.live(dataset_id)
    assert (second.kind, second.payload) == (
        JobKind.TRAIN,
        {"trigger": "test", "then": ["propose"]},
    )
    assert jobs.bell.rung == [first.id, second.id]


def test_one_training_runs_and_at_most_one_waits(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    jobs = workspace.jobs
    outcome: list[str] = []

    def submit() -> None:
        try:
            jobs.submit(JobKind.TRAIN, dataset_id)
            outcome.append("submitted")
        except ConflictError:
            outcome.append("refused")

    threads = [threading.Thread(target=submit) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome) == ["refused"] * 19 + ["submitted"]
    (running,) = jobs.live(dataset_id)

    def handler(context: JobContext) -> dict[str, object]:
        waiting = jobs.submit(JobKind.TRAIN, dataset_id)
        assert not jobs.run(waiting.id, "worker:2", {})
        return {}

    assert jobs.run(running.id, "worker:1", {JobKind.TRAIN: handler})
    assert jobs.get(running.id).status is JobStatus.SUCCEEDED
    assert [job.status for job in jobs.live(dataset_id)] == [JobStatus.QUEUED]


def test_an_interrupted_training_yields_to_one_that_waits(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    jobs = workspace.jobs
    first = jobs.submit(JobKind.TRAIN, dataset_id)
    age(jobs, first.id, 3600, "worker:1")
    second = jobs.submit(JobKind.TRAIN, dataset_id)
    jobs.sweep()
    assert jobs.get(first.id).status is JobStatus.CANCELLED
    assert jobs.get(second.id).status is JobStatus.QUEUED


def test_an_unknown_job_is_named(jobs: Jobs) -> None:
    with pytest.raises(NotFoundError, match="no job 99"):
        jobs.get(99)
