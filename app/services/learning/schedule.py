"""Trainings at set times: one cron expression for each dataset, in the computer's local time.

The worker looks every few seconds. A time that passed while no worker ran is made up for once,
however many passed.
"""

from __future__ import annotations

from datetime import datetime

from cronsim import CronSim, CronSimError

from app.services.access import rights as who
from app.services.access.rights import Right
from app.services.learning import triggers as learning
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import InputError
from db.models import Dataset
from db.queries import datasets
from db.session import JOBS
from db.types import now


def set_schedule(workspace: Workspace, name: str, expression: str | None) -> str | None:
    """Train a dataset at set times; None, or nothing but spaces, ends that.

    Returns:
        The expression in words; None where there is none.

    Raises:
        NotFoundError: There is no such dataset.
        InputError: The expression cannot be read.
    """
    who.require(Right.MANAGE)
    kept = " ".join((expression or "").split()) or None
    words = None if kept is None else explain(kept)
    with workspace.database.write(JOBS) as session:
        dataset = find_dataset(session, name)
        if dataset.schedule != kept:
            dataset.schedule, dataset.schedule_from = kept, now()
    return words


def explain(expression: str) -> str:
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
                job = learning.trigger(session, dataset.id, "schedule")
                added += [] if job is None else [job.id]
    for job_id in added:
        workspace.jobs.queue.ring(job_id)
    return added


def _is_due(dataset: Dataset, moment: datetime) -> bool:
    if dataset.schedule is None or dataset.schedule_from is None:
        return False
    return next_time(dataset.schedule, dataset.schedule_from) <= moment
