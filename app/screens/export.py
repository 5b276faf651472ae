"""Take the completed annotations out."""

import streamlit as st

from app.components.progress import live_jobs
from app.context import current_dataset, error_boundary, plain, workspace
from app.services import exchange
from app.services.jobs import JobKind, JobStatus
from app.services.views import DatasetView
from clsl_core.formats import FORMATS


def contents(dataset: DatasetView) -> None:
    """What the file would hold."""
    summary = exchange.preview(workspace(), dataset.name)
    columns = st.columns(4)
    columns[0].metric("Images", f"{summary.images:,}")
    columns[1].metric("Annotations, unchanged", f"{summary.annotations:,}")
    columns[2].metric("Present, added", f"{summary.labels_added.get('human present', 0):,}")
    columns[3].metric("Absent, added", f"{summary.labels_added.get('human absent', 0):,}")
    st.caption("Proposals nobody decided are left out.")


def choose_format(dataset: DatasetView) -> str:
    """The format to write, first the one it came in; what would be lost is said before."""
    names = [dataset.format, *(name for name in FORMATS if name != dataset.format)]
    chosen = st.selectbox(
        "Format",
        names,
        format_func=lambda name: FORMATS[name].title,
        key=f"export-format-{dataset.id}",
    )
    if chosen == dataset.format:
        st.caption(
            "The format it came in: every record comes back as it was, and the decisions made "
            "here are added."
        )
        return chosen
    lost = exchange.left_behind(workspace(), dataset.name, chosen)
    if lost:
        st.warning(plain(f"This format does not carry: {'; '.join(lost)}."))
    else:
        st.caption("Labels go with their three states, and their origin in the file or beside it.")
    return chosen


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
        file_name=f"{dataset.name}-completed{path.suffix}",
        mime="application/octet-stream",
        icon=":material/download:",
        key="download-export",
    )
    kind = FORMATS[str((finished[0].result or {}).get("format", "coco"))].title
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    st.caption(plain(f"{kind}, prepared {moment:%Y-%m-%d %H:%M} UTC, {size}"))


with error_boundary():
    st.title("Export")
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        contents(dataset)
        chosen = choose_format(dataset)
        busy = live_jobs(dataset.id, key="export")
        if st.button("Prepare the file", type="primary", disabled=busy, key="prepare"):
            workspace().jobs.submit(JobKind.EXPORT, dataset.id, {"format": chosen})
            st.rerun()
        download(dataset)
