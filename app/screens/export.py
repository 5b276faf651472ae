"""Take the completed annotations out."""

import streamlit as st

from app.components.progress import live_jobs
from app.context import current_dataset, error_boundary, plain, workspace
from app.services import exchange
from app.services.jobs import JobKind, JobStatus
from app.services.views import DatasetView


def contents(dataset: DatasetView) -> None:
    """What the file would hold."""
    summary = exchange.preview(workspace(), dataset.name)
    columns = st.columns(4)
    columns[0].metric("Images", f"{summary.images:,}")
    columns[1].metric("Annotations, unchanged", f"{summary.annotations:,}")
    columns[2].metric("Present, added", f"{summary.labels_added.get('human present', 0):,}")
    columns[3].metric("Absent, added", f"{summary.labels_added.get('human absent', 0):,}")
    st.caption(
        "Every record of the source file comes back as it was. Decisions made here are added as a "
        "list called `labels`, which COCO loaders ignore. Proposals nobody decided are left out."
    )


def download(dataset: DatasetView) -> None:
    """The newest finished export of this dataset."""
    finished = [
        job
        for job in workspace().jobs.recent(50, dataset.id)
        if job.kind is JobKind.EXPORT and job.status is JobStatus.SUCCEEDED and job.result
    ]
    if not finished:
        return
    path = workspace().data_dir / "exports" / str((finished[0].result or {})["file"])
    if not path.exists():
        return
    moment = finished[0].finished_at
    st.download_button(
        "Download",
        data=path.read_bytes,
        file_name=f"{dataset.name}-completed.json",
        mime="application/json",
        icon=":material/download:",
        key="download-export",
    )
    st.caption(plain(f"Prepared {moment:%Y-%m-%d %H:%M} UTC, {path.stat().st_size / 1e6:.1f} MB"))


with error_boundary():
    st.title("Export")
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        contents(dataset)
        busy = live_jobs(dataset.id, key="export")
        if st.button("Prepare the COCO file", type="primary", disabled=busy, key="prepare"):
            workspace().jobs.submit(JobKind.EXPORT, dataset.id, {"format": "coco"})
            st.rerun()
        download(dataset)
