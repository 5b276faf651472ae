"""What starts a training: decisions, the clock, a person; all at once they start one."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import cycle

import pytest
from sqlalchemy import select

from app.services.datasets import overview
from app.services.jobs.table import Handler, JobContext, JobKind, JobStatus, JobView
from app.services.learning import embedding, model_runs, notices, training, triggers
from app.services.reviewing import undo, verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import (
    ConflictError,
    InputError,
    JobCancelled,
    NotFoundError,
    TrainingError,
)
from clsl_core.types import JsonObject
from db.models import Category, Dataset, Job, ModelRun, RunStatus
from db.types import now
from tests.builders import coco_document, make_dataset, make_grant, make_proposals, make_run

pytestmark = pytest.mark.both_databases


@pytest.fixture
def dataset_id(workspace: Workspace) -> int:
    return make_dataset(workspace, document=coco_document(images=24)).dataset_id


def first_category(workspace: Workspace) -> int:
    with workspace.database.read() as session:
        return session.scalars(select(Category.id).order_by(Category.position)).all()[0]


def live(workspace: Workspace, dataset_id: int) -> list[tuple[JobKind, JobStatus]]:
    return [(job.kind, job.status) for job in workspace.jobs.live(dataset_id)]


def claim(workspace: Workspace, job_id: int) -> None:
    with workspace.database.write() as session:
        session.get_one(Job, job_id).status = JobStatus.RUNNING


def finish(workspace: Workspace, job: JobView) -> None:
    """Let a job succeed as the worker would, without doing its work."""
    assert workspace.jobs.run(job.id, "worker:1", {job.kind: lambda _: {}})


def test_fifty_triggers_at_once_leave_one_that_runs_and_one_that_waits(
    workspace: Workspace, dataset_id: int
) -> None:
    make_proposals(workspace, dataset_id)
    running = workspace.jobs.submit(JobKind.TRAIN, dataset_id)
    claim(workspace, running.id)
    with workspace.database.write() as session:
        run = make_run_of(session, dataset_id, running.id)
        session.add(run)
        dataset = session.get_one(Dataset, dataset_id)
        dataset.schedule, dataset.schedule_from = "* * * * *", now() - timedelta(hours=1)
        dataset.retrain_after = 1
    grant = make_grant(workspace, dataset_id)
    cards = next_cards(workspace, grant, QueueQuery(limit=20)).cards
    answers = [
        Answer(f"a-client-{card.proposal_id}", card.image_id, card.category_id, "absent")
        for card in cards
    ]
    assert len(answers) == 20
    errors: list[Exception] = []
    barrier = threading.Barrier(50)

    def pull(number: int, kind: str) -> None:
        barrier.wait()
        try:
            if kind == "person":
                triggers.start(workspace, dataset_id)
            elif kind == "clock":
                triggers.run_due(workspace)
            else:
                verdicts.decide(workspace, grant, [answers[number % 20]])
        except ConflictError:
            pass
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=pull, args=pair)
        for pair in zip(range(50), cycle(["person", "clock", "decision"]), strict=False)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    states = live(workspace, dataset_id)
    assert (JobKind.TRAIN, JobStatus.RUNNING) in states
    assert [status for _, status in states].count(JobStatus.QUEUED) == 1
    assert len(states) == 2


def make_run_of(session, dataset_id: int, job_id: int) -> ModelRun:
    """The run that a training job has begun."""
    serving = session.scalars(select(ModelRun).where(ModelRun.serving)).one()
    return ModelRun(
        dataset_id=dataset_id,
        embedding_run_id=serving.embedding_run_id,
        job_id=job_id,
        trigger="test",
        new_decisions=0,
        last_decision_id=0,
        known_present=0,
        known_absent=0,
        config={},
        seed=0,
        code_version="test",
    )


def test_a_trigger_while_one_runs_queues_exactly_one_more(
    workspace: Workspace, dataset_id: int
) -> None:
    first = triggers.start(workspace, dataset_id)
    with pytest.raises(ConflictError, match=f"job {first.id} "):
        triggers.start(workspace, dataset_id)
    finish(workspace, first)
    (training_job,) = workspace.jobs.live(dataset_id)
    assert training_job.kind is JobKind.TRAIN
    with pytest.raises(ConflictError, match="takes in everything"):
        triggers.start(workspace, dataset_id)
    claim(workspace, training_job.id)
    assert not triggers.waits(workspace, dataset_id)
    second = triggers.start(workspace, dataset_id)
    assert triggers.waits(workspace, dataset_id)
    finish(workspace, second)
    # The second one's training waits for the first one's end; a third trigger adds nothing.
    with pytest.raises(ConflictError):
        triggers.start(workspace, dataset_id)
    assert sorted(live(workspace, dataset_id)) == [
        (JobKind.TRAIN, JobStatus.QUEUED),
        (JobKind.TRAIN, JobStatus.RUNNING),
    ]


def test_decisions_that_a_starting_training_will_read_trigger_no_other(
    workspace: Workspace, dataset_id: int
) -> None:
    with workspace.database.write() as session:
        make_run(session, dataset_id)
        session.get_one(Dataset, dataset_id).retrain_after = 1
    grant = make_grant(workspace, dataset_id)
    category = first_category(workspace)
    verdicts.decide(workspace, grant, [Answer("decision-1", 2, category, "absent")])
    ((kind, status),) = live(workspace, dataset_id)
    assert (kind, status) == (JobKind.TRAIN, JobStatus.QUEUED)
    claim(workspace, workspace.jobs.live(dataset_id)[0].id)
    verdicts.decide(workspace, grant, [Answer("decision-2", 3, category, "absent")])
    assert live(workspace, dataset_id) == [(JobKind.TRAIN, JobStatus.RUNNING)]


def fail_with(how: type[Exception]) -> Handler:
    def handler(_context: JobContext) -> JsonObject:
        raise how("as told")

    return handler


@pytest.mark.parametrize("how", [TrainingError, JobCancelled, RuntimeError])
@pytest.mark.parametrize("has_a_run", [True, False])
def test_a_training_that_ends_badly_waits_for_as_many_new_verdicts_again(
    workspace: Workspace, dataset_id: int, has_a_run: bool, how: type[Exception]
) -> None:
    make_proposals(workspace, dataset_id)
    with workspace.database.write() as session:
        session.get_one(Dataset, dataset_id).retrain_after = 3
    grant = make_grant(workspace, dataset_id)
    cards = next_cards(workspace, grant, QueueQuery(limit=20)).cards
    begun = []
    for number, card in enumerate(cards[:9], 1):
        answer = Answer(f"a-client-{number}", card.image_id, card.category_id, "absent")
        assert verdicts.decide(workspace, grant, [answer])[0].status == "saved"
        for job in workspace.jobs.live(dataset_id):
            begun.append(number)
            if has_a_run:
                with workspace.database.write() as session:
                    run = make_run_of(session, dataset_id, job.id)
                    run.status, run.last_decision_id = RunStatus.FAILED, number
                    session.add(run)
            workspace.jobs.run(job.id, "worker:1", {JobKind.TRAIN: fail_with(how)})
    assert begun == [3, 6, 9]
    told = notices.take(workspace, "ada")
    assert len(told) == (0 if how is JobCancelled else 3)
    assert all("before 3 more verdicts" in one.message for one in told)


def test_a_run_notes_what_started_it_and_how_much_was_new(
    workspace: Workspace, dataset_id: int
) -> None:
    embedding.embed(workspace, dataset_id)
    grant = make_grant(workspace, dataset_id)
    category = first_category(workspace)
    for i in (2, 3, 5):
        verdicts.decide(workspace, grant, [Answer(f"decision-{i}", i, category, "absent")])
    undo.undo(workspace, grant, "an-undo-id", "decision-5")
    training.train(workspace, dataset_id, "schedule")
    with workspace.database.read() as session:
        run = session.scalars(select(ModelRun)).one()
    assert (run.trigger, run.new_decisions, run.last_decision_id) == ("schedule", 2, 4)
    assert (run.snapshot["decisions"], run.snapshot["images"]) == (2, 24)
    assert len(run.snapshot["categories"]) == 3
    assert run.checksum
    assert len(run.checksum) == 64
    assert run.seconds
    assert run.peak_memory
    assert run.peak_memory > 50_000_000  # torch alone takes more


def test_a_due_time_triggers_once_however_many_passed(
    workspace: Workspace, dataset_id: int
) -> None:
    make_dataset(workspace, "other")
    assert "03:00" in str(triggers.set_schedule(workspace, "set", " 0  3 * * * "))
    assert overview.dataset(workspace, "set").schedule == "0 3 * * *"
    assert triggers.run_due(workspace) == []
    later = now() + timedelta(days=9)
    (job_id,) = triggers.run_due(workspace, later)
    job = workspace.jobs.get(job_id)
    assert (job.dataset_id, job.kind) == (dataset_id, JobKind.EMBED)
    assert job.payload == {"trigger": "schedule", "then": ["train", "propose"]}
    assert workspace.jobs.bell.rung == [job_id]
    assert triggers.run_due(workspace, later + timedelta(minutes=1)) == []
    # The next one finds that a training waits already.
    assert triggers.run_due(workspace, later + timedelta(days=1)) == []
    assert len(live(workspace, dataset_id)) == 1
    triggers.set_schedule(workspace, "set", None)
    assert triggers.run_due(workspace, later + timedelta(days=99)) == []


def test_times_follow_the_expression() -> None:
    moment = datetime(2026, 3, 4, 2, 30, tzinfo=UTC).astimezone()
    times = [moment]
    for _ in range(3):
        times.append(triggers.next_time("*/20 * * * *", times[-1]))
    assert [time - moment for time in times[1:]] == [
        timedelta(minutes=10),
        timedelta(minutes=30),
        timedelta(minutes=50),
    ]


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("at three", "Wrong number of fields"),
        ("0 25 * * *", "Bad hour"),
        ("* * * *", "Wrong number of fields"),
        ("0 0 30 2 *", "Bad day-of-month"),
    ],
)
def test_a_time_that_cannot_be_is_refused(
    workspace: Workspace, dataset_id: int, expression: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        triggers.set_schedule(workspace, "set", expression)
    assert overview.dataset(workspace, "set").schedule is None


def test_only_a_dataset_that_is_there_has_times(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError):
        triggers.set_schedule(workspace, "nowhere", "0 3 * * *")


def test_a_training_given_up_leaves_no_run_behind_and_is_told(
    workspace: Workspace, dataset_id: int
) -> None:
    make_proposals(workspace, dataset_id)
    make_grant(workspace, dataset_id)
    job = workspace.jobs.submit(JobKind.TRAIN, dataset_id)
    with workspace.database.write() as session:
        session.add(make_run_of(session, dataset_id, job.id))
    for _ in range(5):
        with workspace.database.write() as session:
            row = session.get_one(Job, job.id)
            row.status, row.owner, row.attempts = JobStatus.RUNNING, "worker:1", row.attempts + 1
        workspace.jobs.sweep(dead_owner_prefix="worker:")
    assert workspace.jobs.get(job.id).status is JobStatus.FAILED
    abandoned, serving = model_runs.all_runs(workspace, "set")
    assert (abandoned.state, serving.state) == ("failed", "serves")
    assert "not taken up again" in str(abandoned.error)
    (notice,) = notices.take(workspace, "ada")
    assert "disappeared 5 times" in notice.message
