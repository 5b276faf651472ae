"""The loop: what starts embedding, training and proposing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.services import jobs as job_service
from app.services.jobs import JobView
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, NotFoundError
from db.models import (
    Dataset,
    JobKind,
    JobStatus,
)
from db.queries import decisions, jobs, runs
from db.session import JOBS

if TYPE_CHECKING:
    pass


def start(workspace: Workspace, dataset_id: int, trigger: str = "by hand") -> JobView:
    """Set the loop going in the background: embed what is new, train, propose.

    Raises:
        ConflictError: It is already under way.
    """
    with workspace.database.write(JOBS) as session:
        if session.get(Dataset, dataset_id) is None:
            raise NotFoundError(f"there is no dataset with the id {dataset_id}")
        kinds = [JobKind.EMBED, JobKind.TRAIN, JobKind.PROPOSE]
        waiting = [job for job in jobs.live(session, dataset_id) if job.kind in kinds]
        if waiting:
            raise ConflictError(
                f"job {waiting[0].id} ({waiting[0].kind}) is already at work on this dataset"
            )
        payload = {"trigger": trigger, "then": [kind.value for kind in kinds[1:]]}
        job = job_service.add(session, JobKind.EMBED, dataset_id, payload)
        view = job_service.view_of(session, job)
    workspace.jobs.queue.ring(view.id)
    return view


def due_retraining(session: Session, dataset_id: int) -> int | None:
    """Insert a training when enough was decided since the last; call within the transaction.

    Returns:
        Id of the new job, to be rung after the commit; None when none is due.
    """
    dataset = session.get_one(Dataset, dataset_id)
    if dataset.retrain_after == 0 or runs.latest_ready_run(session, dataset_id) is None:
        return None
    seen = runs.last_decision_seen(session, dataset_id)
    if decisions.count_after(session, dataset_id, seen) < dataset.retrain_after:
        return None
    queued = jobs.live_of_kind(session, dataset_id, JobKind.TRAIN)
    if any(job.status is JobStatus.QUEUED for job in queued):
        return None
    payload = {"trigger": "decisions", "then": [JobKind.PROPOSE.value]}
    try:
        with session.begin_nested():
            return job_service.add(session, JobKind.TRAIN, dataset_id, payload).id
    except IntegrityError:
        return None  # somebody else has just submitted one
