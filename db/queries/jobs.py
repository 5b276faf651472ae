"""The job table: every change of a job's status is one conditional statement."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, false, or_, select, update
from sqlalchemy.orm import Session

from db.models import Dataset, Job, JobKind, JobStatus, ModelRun, Notice, RunStatus
from db.types import now

LIVE = (JobStatus.QUEUED, JobStatus.RUNNING)


def recent(session: Session, limit: int, dataset_id: int | None = None) -> Sequence[Job]:
    """The newest jobs first."""
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    if dataset_id is not None:
        query = query.where(Job.dataset_id == dataset_id)
    return session.scalars(query).all()


def live(session: Session, dataset_id: int | None = None) -> Sequence[Job]:
    """The jobs that still have something to do, oldest first."""
    query = select(Job).where(Job.status.in_(LIVE)).order_by(Job.id)
    if dataset_id is not None:
        query = query.where(Job.dataset_id == dataset_id)
    return session.scalars(query).all()


def live_of_kind(session: Session, dataset_id: int, kind: JobKind) -> Sequence[Job]:
    """Live jobs of one kind on one dataset, oldest first."""
    return [job for job in live(session, dataset_id) if job.kind is kind]


def is_at_work(session: Session, run: ModelRun) -> bool:
    """Whether a live job trains a run, lets it propose, or waits to do so."""
    job = None if run.job_id is None else session.get(Job, run.job_id)
    trained = run.status is RunStatus.RUNNING and job is not None and job.status.live
    return trained or proposes(session, run)


def proposes(session: Session, run: ModelRun) -> bool:
    """Whether a live job lets a run propose, or may do so."""
    waiting = live_of_kind(session, run.dataset_id, JobKind.PROPOSE)
    return any(job.payload.get("model_run", run.id) == run.id for job in waiting)


def claim(session: Session, job_id: int, owner: str) -> Job | None:
    """Take a queued job; None when somebody else has it or it is over."""
    moment = now()
    result = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.status == JobStatus.QUEUED)
        .values(
            status=JobStatus.RUNNING,
            owner=owner,
            attempts=Job.attempts + 1,
            started_at=moment,
            heartbeat_at=moment,
            error=None,
        )
        .returning(Job.id)
    )
    return session.get_one(Job, job_id) if result.first() else None


def beat(session: Session, job_id: int, owner: str) -> bool | None:
    """Write a heartbeat.

    Returns:
        Whether a cancel was requested; None when the job is no longer this owner's.
    """
    row = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.owner == owner, Job.status == JobStatus.RUNNING)
        .values(heartbeat_at=now())
        .returning(Job.cancel_requested)
    ).first()
    return None if row is None else bool(row[0])


def owners(session: Session, prefix: str) -> list[str]:
    """The different owners of running jobs whose name begins so."""
    query = select(Job.owner).where(
        Job.status == JobStatus.RUNNING, Job.owner.startswith(prefix, autoescape=True)
    )
    return [owner for owner in session.scalars(query.distinct()) if owner]


def heartbeats(session: Session) -> dict[int, datetime | None]:
    """The last heartbeat of every running job."""
    query = select(Job.id, Job.heartbeat_at).where(Job.status == JobStatus.RUNNING)
    return {row[0]: row[1] for row in session.execute(query)}


def fail_abandoned_runs(session: Session) -> None:
    """Model runs whose training has ended without them, for it was killed and not taken up."""
    over = select(Job.id).where(Job.status.not_in(LIVE))
    session.execute(
        update(ModelRun)
        .where(ModelRun.status == RunStatus.RUNNING, ModelRun.job_id.in_(over))
        .values(
            status=RunStatus.FAILED,
            finished_at=now(),
            error="its training was interrupted and not taken up again",
        )
    )


def tell_failed(session: Session, job_id: int, kind: JobKind, dataset_id: int, reason: str) -> None:
    """Leave a notice that a job has failed; of a training also when the next one begins."""
    message = f"{kind.value.capitalize()} (job {job_id}) failed: {reason}"
    after = session.get_one(Dataset, dataset_id).retrain_after
    if kind is JobKind.TRAIN and after:
        message = (
            f"{message.rstrip('.')}. It is not tried again by itself before {after} more verdicts "
            "are given, or a set time comes"
        )
    session.add(Notice(dataset_id=dataset_id, good=False, message=message))


def requeue_interrupted(
    session: Session,
    silent: Mapping[int, datetime | None],
    dead_owner_prefix: str | None,
    max_attempts: int,
    dead_owners: Collection[str] = (),
) -> int:
    """Give running jobs whose process is gone back to the queue.

    Args:
        session: A writing session.
        silent: Jobs whose process has shown no sign for long, with its last heartbeat.
        dead_owner_prefix: Owners known to be gone, whatever their heartbeat says.
        dead_owners: More of them, by their full names.
        max_attempts: A job interrupted this often is given up as FAILED.

    Returns:
        How many jobs were changed.
    """
    gone: ColumnElement[bool] = or_(
        false(),
        *(
            and_(Job.id == id_, Job.heartbeat_at.is_not_distinct_from(heartbeat))
            for id_, heartbeat in silent.items()
        ),
    )
    if dead_owner_prefix is not None:
        gone = or_(gone, Job.owner.startswith(dead_owner_prefix, autoescape=True))
    if dead_owners:
        gone = or_(gone, Job.owner.in_(dead_owners))
    running = Job.status == JobStatus.RUNNING
    reason = f"its process disappeared {max_attempts} times; start it again by hand"
    given_up = session.execute(
        update(Job)
        .where(running, gone, Job.attempts >= max_attempts)
        .values(status=JobStatus.FAILED, finished_at=now(), error=reason)
        .returning(Job.id, Job.kind, Job.dataset_id)
    ).all()
    for job_id, kind, dataset_id in given_up:
        if dataset_id is not None:
            tell_failed(session, job_id, kind, dataset_id, reason)
    cancelled = session.execute(
        update(Job)
        .where(running, gone, Job.cancel_requested)
        .values(status=JobStatus.CANCELLED, finished_at=now())
        .returning(Job.id)
    ).all()
    requeued = 0
    for job in session.scalars(select(Job).where(running, gone).order_by(Job.id)).all():
        twin = Job.kind == JobKind.TRAIN
        waiting = session.scalar(
            select(Job.id).where(
                twin, Job.dataset_id == job.dataset_id, Job.status == JobStatus.QUEUED
            )
        )
        if job.kind is JobKind.TRAIN and waiting is not None:
            # Only one training may wait: the newer one takes in all that this one would have.
            job.status, job.finished_at = JobStatus.CANCELLED, now()
            job.message = f"interrupted; job {waiting} takes its place"
        else:
            job.status, job.owner, job.message = JobStatus.QUEUED, None, "interrupted, waiting"
        session.flush()
        requeued += 1
    return len(given_up) + len(cancelled) + requeued
