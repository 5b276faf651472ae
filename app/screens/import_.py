"""Bring an annotation file in: check it, see what it holds, then import."""

import uuid
from pathlib import Path
from typing import Literal

import streamlit as st

from app.components.progress import live_jobs
from app.context import DATASET_KEY, error_boundary, plain, report_table, workspace
from app.services import ingest
from app.services.jobs import JobKind
from clsl_core.formats import FORMATS
from clsl_core.types import ValidationReport

STAGED = "import-staged"
REPORT = "import-report"


def chosen_file() -> Path | None:
    """The annotation file: uploaded, or on this machine."""
    way = st.radio(
        "Where is the file?", ["Upload", "On this machine"], horizontal=True, key="import-way"
    )
    if way == "On this machine":
        text = st.text_input("Path of the annotation file or folder", key="import-path")
        return Path(text).expanduser() if text.strip() else None
    upload = st.file_uploader(
        "Annotation file", type=["json", "jsonl", "csv", "tsv", "txt"], key="import-upload"
    )
    if upload is None:
        return None
    staged = st.session_state.get(STAGED)
    if staged is None or staged[0] != upload.file_id:
        suffix = Path(upload.name).suffix.lower()
        path = workspace().data_dir / "uploads" / f"{uuid.uuid4().hex}{suffix}"
        with path.open("wb") as file:
            while chunk := upload.read(1 << 20):
                file.write(chunk)
        st.session_state[STAGED] = staged = (upload.file_id, path)
    return Path(staged[1])


def choose_format(file: Path | None) -> str:
    """The format: found from the content, or named."""
    names = [ingest.AUTO, *FORMATS]
    chosen = st.selectbox(
        "Format",
        names,
        format_func=lambda name: "Find it" if name == ingest.AUTO else FORMATS[name].title,
        key="import-format",
    )
    if file is not None and chosen == ingest.AUTO:
        with error_boundary():
            found = ingest.recognise(file)
            st.caption(plain(f"{FORMATS[found.format].title}: {found.reason}"))
    return chosen


def show_report(report: ValidationReport) -> None:
    """What the file holds, and every problem of it."""
    counts = ", ".join(f"{count:,} {what}" for what, count in report.counts.items())
    if not report.ok:
        st.error(
            f"This file cannot be imported. Mend what is listed as an error: {len(report.errors)}"
        )
    elif report.problems:
        st.warning(f"Read {counts}. It can be imported; see what was noticed.")
    else:
        st.success(f"Read {counts}. Nothing to complain about.")
    if report.problems:
        report_table(report)


def submit(request: ingest.ImportRequest) -> None:
    """Hand the import to the worker, with the loop behind it."""
    then = [JobKind.EMBED.value, JobKind.TRAIN.value, JobKind.PROPOSE.value]
    payload = {**request.to_json(), "trigger": "import", "then": then}
    workspace().jobs.submit(JobKind.IMPORT, None, payload)
    st.session_state[DATASET_KEY] = request.name
    st.switch_page("screens/datasets.py")


with error_boundary():
    st.title("Import a collection")
    st.write(
        "An annotation file (COCO, LVIS, PASCAL VOC, CSV and others) and the folder with its "
        "pictures. Every record comes back unchanged when you export in the same format."
    )
    live_jobs(key="import")
    file = chosen_file()
    format_name = choose_format(file)
    folder = st.text_input("Folder of the pictures, on this machine", key="import-folder")
    name = st.text_input("Name of the dataset", key="import-name", max_chars=100)
    exhaustive = st.toggle(
        "Everything in these pictures was annotated: what has no annotation is absent",
        key="import-exhaustive",
        help="Leave this off when labels may be missing. That is what the tool is for.",
    )
    check, go, _ = st.columns([1, 1, 3])
    if check.button("Check the file", disabled=file is None, width="stretch") and file:
        st.session_state[REPORT] = (file, ingest.validate(file, format_name))
    ready = file is not None and bool(folder.strip()) and bool(name.strip())
    if (
        go.button("Import", type="primary", disabled=not ready, width="stretch", key="import-go")
        and file
    ):
        report = ingest.validate(file, format_name)
        st.session_state[REPORT] = (file, report)
        root = ingest.check_image_root(folder.strip())
        if report.ok:
            absent: Literal["unknown", "negative"] = "negative" if exhaustive else "unknown"
            checked = ingest.check_name(name)
            submit(ingest.ImportRequest(str(file), str(root), checked, format_name, absent))
    if not ready:
        st.caption(plain("Choose a file, name the folder and the dataset, then import."))
    shown = st.session_state.get(REPORT)
    if shown is not None and shown[0] == file:
        show_report(shown[1])
