"""Running a job in the command's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.cli.console import progress_bar
from clsl_core.errors import ClslError, JobCancelled

if TYPE_CHECKING:
    from app.services.jobs.table import JobKind, JobView
    from app.services.workspace import Workspace
    from clsl_core.types import JsonObject


def run_for(workspace: Workspace, kind: JobKind, name: str, payload: JsonObject) -> JobView:
    """As ``run_job``, for the dataset of a name."""
    from app.services.datasets import overview

    return run_job(workspace, kind, overview.dataset_id(workspace, name), payload)


def run_job(
    workspace: Workspace, kind: JobKind, dataset_id: int | None, payload: JsonObject
) -> JobView:
    """Run a job in this process with a progress bar.

    Raises:
        ClslError: It failed.
        JobCancelled: It was cancelled, here with Ctrl-C or from elsewhere.
    """
    from app import worker
    from app.services.jobs.table import JobStatus

    with progress_bar() as progress:
        work = worker.handlers(workspace)
        job = workspace.jobs.run_here(kind, dataset_id, payload, work, progress)
    if job.status is JobStatus.CANCELLED:
        raise JobCancelled(f"{kind.value} was cancelled; what was finished is kept")
    if job.status is not JobStatus.SUCCEEDED:
        raise ClslError(job.error or f"{kind.value} did not finish")
    return job
