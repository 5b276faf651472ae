"""What is going on in the background, redrawn by itself until it is over."""

from __future__ import annotations

import streamlit as st

from app.context import plain, still_here, workspace
from app.services.jobs.table import JobKind, JobStatus, JobView

WORDS = {
    JobKind.IMPORT: "Importing",
    JobKind.DEMO: "Drawing the demo",
    JobKind.EMBED: "Reading the pictures",
    JobKind.TRAIN: "Training",
    JobKind.PROPOSE: "Proposing labels",
    JobKind.EXPORT: "Exporting",
}


def live_jobs(dataset_id: int | None = None, *, key: str) -> bool:
    """Draw the live jobs with their progress; rerun the page when one of them ends.

    Args:
        dataset_id: Only this dataset's jobs (and those that make a new dataset).
        key: Distinguishes several of these on one page.

    Returns:
        Whether anything is going on.
    """
    jobs = _live(dataset_id)
    if jobs:
        _panel(dataset_id, key, tuple(job.id for job in jobs))
    return bool(jobs)


@st.fragment(run_every=1.0)
def _panel(dataset_id: int | None, key: str, before: tuple[int, ...]) -> None:
    still_here()
    jobs = _live(dataset_id)
    if tuple(job.id for job in jobs) != before:
        st.rerun(scope="app")
    for job in jobs:
        _draw(job, key)


def _draw(job: JobView, key: str) -> None:
    words = WORDS[job.kind]
    if job.status is JobStatus.QUEUED:
        st.progress(0.0, text=f"{words}: waits for the worker")
        return
    then = [WORDS[JobKind(kind)].lower() for kind in job.payload.get("then", [])]
    after = f" · then {', '.join(then)}" if then else ""
    share = f" · {job.done} of {job.total}" if job.total > 1 else ""
    left, right = st.columns([8, 1], vertical_alignment="center")
    left.progress(job.fraction, text=plain(f"{words}: {job.message}{share}{after}"))
    if right.button("Cancel", key=f"{key}-cancel-{job.id}", width="stretch"):
        workspace().jobs.cancel(job.id)


def _live(dataset_id: int | None) -> list[JobView]:
    jobs = workspace().jobs.live()
    if dataset_id is None:
        return jobs
    return [job for job in jobs if job.dataset_id in (dataset_id, None)]


def last_failure(dataset_id: int) -> JobView | None:
    """The newest job of a dataset, if it failed."""
    jobs = workspace().jobs.recent(1, dataset_id)
    return jobs[0] if jobs and jobs[0].status is JobStatus.FAILED else None
