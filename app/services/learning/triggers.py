"""The loop: what starts embedding, training and proposing.

Whoever triggers it, a person, the clock or enough decisions, at most one training of a dataset
runs and at most one more waits. One that waits takes in everything decided until it begins, so
a further trigger adds nothing to it.
"""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.services.access import rights as who
from app.services.access.rights import Right
from app.services.jobs import table as job_service
from app.services.jobs.table import LOOP, JobView
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, NotFoundError
from db.models import Dataset, Job, JobKind, JobStatus
from db.queries import decisions, jobs, runs
from db.session import JOBS


def start(workspace: Workspace, dataset_id: int, trigger_: str = "by hand") -> JobView:
    """Set the loop going in the background: embed what is new, train, propose.

    While a training runs, one more is queued.

    Raises:
        NotFoundError: There is no such dataset.
        ConflictError: A training waits already.
    """
    who.require(Right.MANAGE)
    with workspace.database.write(JOBS) as session:
        if session.get(Dataset, dataset_id) is None:
            raise NotFoundError(f"there is no dataset with the id {dataset_id}")
        job = trigger(session, dataset_id, trigger_)
        if job is None:
            waiting = _about_to_train(session, dataset_id)
            raise ConflictError(
                f"job {waiting[0].id} ({waiting[0].kind}) is already at work on this dataset: the "
                "training that follows takes in everything decided until it begins"
            )
        view = job_service.view_of(session, job)
    workspace.jobs.queue.ring(view.id)
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
    session.get_one(Dataset, dataset_id, with_for_update=True)  # one trigger at a time
    if _about_to_train(session, dataset_id):
        return None
    then = [kind.value for kind in LOOP[LOOP.index(first) + 1 :]]
    return job_service.add(session, first, dataset_id, {"trigger": why, "then": then})


def due_retraining(session: Session, dataset_id: int) -> int | None:
    """Queue a training when enough was decided since the last; call within the transaction.

    One that failed or was cancelled counts as tried: it would fail again with every verdict.

    Returns:
        Id of the new job, to be rung after the commit; None when none is due.
    """
    dataset = session.get_one(Dataset, dataset_id)
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
