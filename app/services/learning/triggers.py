"""The loop: what starts embedding, training and proposing.

Whoever triggers it, a person, the clock or enough decisions, at most one training of a dataset
runs and at most one more waits. One that waits takes in everything decided until it begins, so
a further trigger adds nothing to it.

The clock follows one cron expression for each dataset, in the computer's local time. The worker
looks every few seconds. A time that passed while no worker ran is made up for once, however many
passed.
"""

from __future__ import annotations

from datetime import datetime

from cronsim import CronSim, CronSimError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.services.access import rights
from app.services.access.rights import Right
from app.services.jobs.table import LOOP, JobView, add_job, view_of
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import ConflictError, InputError, NotFoundError
from db.models import Dataset, Job, JobKind, JobStatus
from db.queries import datasets, decisions, jobs, runs, stored
from db.session import JOBS
from db.types import now


def start(workspace: Workspace, dataset_id: int, trigger_: str = "by hand") -> JobView:
    """Set the loop going in the background: embed what is new, train, propose.

    While a training runs, one more is queued.

    Raises:
        NotFoundError: There is no such dataset.
        ConflictError: A training waits already.
    """
    rights.require(Right.MANAGE)
    with workspace.database.write(JOBS) as session:
        if stored.find(session, Dataset, dataset_id) is None:
            raise NotFoundError(f"there is no dataset with the id {dataset_id}")
        job = trigger(session, dataset_id, trigger_)
        if job is None:
            waiting = _about_to_train(session, dataset_id)
            raise ConflictError(
                f"job {waiting[0].id} ({waiting[0].kind}) is already at work on this dataset: the "
                "training that follows takes in everything decided until it begins"
            )
        view = view_of(session, job)
    workspace.jobs.bell.ring(view.id)
    return view


def waits(workspace: Workspace, dataset_id: int) -> bool:
    """Whether a training is to begin, so that a further trigger would add nothing."""
    with workspace.database.read() as session:
        return bool(_about_to_train(session, dataset_id))


def trigger(
    session: Session, dataset_id: int, why: str, first: JobKind = JobKind.EMBED
) -> Job | None:
    """Queue a training, in the caller's transaction, unless one waits already.

    Args:
        session: Writes.
        dataset_id: The dataset.
        why: Noted with the model run.
        first: EMBED to read new pictures first, TRAIN to leave that out.

    Returns:
        The new job, to be rung after the commit; None when the one that waits will do.
    """
    datasets.lock(session, dataset_id)  # one trigger at a time
    if _about_to_train(session, dataset_id):
        return None
    then = [kind.value for kind in LOOP[LOOP.index(first) + 1 :]]
    return add_job(session, first, dataset_id, {"trigger": why, "then": then})


def due_retraining(session: Session, dataset_id: int) -> int | None:
    """Queue a training when enough was decided since the last; call within the transaction.

    One that failed or was cancelled counts as tried: it would fail again with every verdict.

    Returns:
        Id of the new job, to be rung after the commit; None when none is due.
    """
    dataset = stored.one(session, Dataset, dataset_id)
    if dataset.retrain_after == 0 or not runs.has_ready_run(session, dataset_id):
        return None
    seen = runs.last_decision_tried(session, dataset_id)
    if decisions.count_after(session, dataset_id, seen) < dataset.retrain_after:
        return None
    for job in jobs.live_of_kind(session, dataset_id, JobKind.TRAIN):
        if runs.run_of_job(session, job.id) is None:
            return None  # it has not read the decisions yet
    try:
        with session.begin_nested():
            added = trigger(session, dataset_id, "decisions", JobKind.TRAIN)
    except IntegrityError:
        return None  # somebody else has just submitted one
    if added is None:
        return None
    added.payload = {**added.payload, runs.BEGUN_WITH: decisions.last_id(session, dataset_id)}
    return added.id


def _about_to_train(session: Session, dataset_id: int) -> list[Job]:
    """The live jobs after which a training begins, or which are one that waits."""
    return [
        job
        for job in jobs.live(session, dataset_id)
        if JobKind.TRAIN.value in job.payload.get("then", [])
        or (job.kind is JobKind.TRAIN and job.status is JobStatus.QUEUED)
    ]


def set_schedule(workspace: Workspace, name: str, expression: str | None) -> str | None:
    """Train a dataset at set times; None, or nothing but spaces, ends that.

    Returns:
        The expression in words; None where there is none.

    Raises:
        NotFoundError: There is no such dataset.
        InputError: The expression cannot be read.
    """
    rights.require(Right.MANAGE)
    kept = " ".join((expression or "").split()) or None
    words = None if kept is None else schedule_in_words(kept)
    with workspace.database.write(JOBS) as session:
        dataset = find_dataset(session, name)
        if dataset.schedule != kept:
            dataset.schedule, dataset.schedule_from = kept, now()
    return words


def schedule_in_words(expression: str) -> str:
    """A cron expression in words.

    Raises:
        InputError: It cannot be read.
    """
    next_time(expression, now())
    return CronSim(expression, now().astimezone()).explain()


def next_time(expression: str, after: datetime) -> datetime:
    """The first time after a moment.

    Raises:
        InputError: The expression cannot be read.
    """
    try:
        return next(CronSim(expression, after.astimezone()))
    except CronSimError as error:
        raise InputError(
            f"{expression!r} is not a cron expression ({error}); give minute, hour, day of the "
            "month, month and day of the week, as in '0 3 * * *' for every night at three"
        ) from error


def run_due(workspace: Workspace, moment: datetime | None = None) -> list[int]:
    """Trigger the trainings whose time has come.

    Args:
        workspace: Where.
        moment: Instead of now.

    Returns:
        Ids of the jobs that were added. A dataset that a training waits for gets none.
    """
    moment = moment or now()
    with workspace.database.read() as session:
        if not any(_is_due(dataset, moment) for dataset in datasets.scheduled(session)):
            return []
    added = []
    with workspace.database.write(JOBS) as session:
        for dataset in datasets.scheduled(session):
            if _is_due(dataset, moment):
                dataset.schedule_from = moment
                job = trigger(session, dataset.id, "schedule")
                added += [] if job is None else [job.id]
    for job_id in added:
        workspace.jobs.bell.ring(job_id)
    return added


def _is_due(dataset: Dataset, moment: datetime) -> bool:
    if dataset.schedule is None or dataset.schedule_from is None:
        return False
    return next_time(dataset.schedule, dataset.schedule_from) <= moment
