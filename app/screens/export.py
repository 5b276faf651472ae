"""Take the completed annotations out."""

from dataclasses import replace

import streamlit as st

from app.components.progress import live_jobs
from app.context import current_dataset, error_boundary, plain, workspace
from app.services.datasets import overview, snapshots
from app.services.datasets.overview import DatasetView
from app.services.exporting import export
from app.services.exporting.part import GIVEN_HERE, ExportChoice, ExportPart, Only
from app.services.jobs.table import JobKind, JobStatus
from app.services.runtime.legible import legible
from clsl_core.formats import FORMATS
from clsl_core.types import JsonObject, LabelSource

LOST = "export-lost"
EACH = "\0each"
SOURCES = {
    LabelSource.HUMAN: "given by people",
    LabelSource.MODEL_AUDITED: "accepted in bulk, after an audit",
}


ONLY = {
    Only.ALL: "all images",
    Only.REVIEWED: "images somebody gave a label here",
    Only.COMPLETE: "images without an unknown label",
}


def choose_part(dataset: DatasetView) -> tuple[ExportPart, bool]:
    """Which images and categories, and whether each split gets a file of its own."""
    splits = overview.splits(workspace(), dataset.name)
    names = [one.name for one in overview.category_counts(workspace(), dataset.name)]
    with st.expander("Only a part of it"):
        left, right = st.columns(2)
        split = left.selectbox(
            "Split",
            [None, EACH, *splits],
            format_func=lambda name: {None: "all", EACH: "a file for each"}.get(name, str(name)),
            key=f"export-split-{dataset.id}",
            disabled=not splits,
            help=None if splits else "No image has a split; the page Splits makes some.",
        )
        only = right.selectbox(
            "Images", list(Only), format_func=ONLY.__getitem__, key=f"export-only-{dataset.id}"
        )
        chosen = st.multiselect(
            "Categories",
            list(dict.fromkeys(names)),
            placeholder="all of them",
            format_func=legible,
            key=f"export-categories-{dataset.id}",
        )
        prefix = st.text_input(
            "File names that begin with", key=f"export-prefix-{dataset.id}", placeholder="any"
        )
    each = split == EACH
    part = ExportPart(None if each else split, tuple(chosen), prefix or None, Only(str(only)))
    return part, each


def choose_snapshot(dataset: DatasetView) -> str | None:
    """The labels of now, or of which snapshot."""
    found = snapshots.all_snapshots(workspace(), dataset.name)
    if not found:
        return None
    return st.selectbox(
        "Labels as they are",
        [None, *(one.name for one in found)],
        format_func=lambda name: "now" if name is None else f"in the snapshot {name}",
        key=f"export-snapshot-{dataset.id}",
    )


def choose_contents(dataset: DatasetView) -> ExportChoice:
    """What goes in, beyond what came in."""
    st.markdown("Labels given here that go in")
    sources = [
        source
        for source in GIVEN_HERE
        if st.checkbox(SOURCES[source], value=True, key=f"export-{source.name}-{dataset.id}")
    ]
    st.caption("What came with the source file always goes out again.")
    proposals = st.toggle(
        "The open proposals too, in a table of their own",
        key=f"export-proposals-{dataset.id}",
        help="A proposal is never written as a label: `proposals.csv` lies beside the file.",
    )
    return ExportChoice.of(sources, proposals)


def contents(dataset: DatasetView, choice: ExportChoice) -> None:
    """What the file would hold."""
    summary = export.preview(workspace(), dataset.name, choice)
    added = summary.labels_added
    columns = st.columns(5)
    columns[0].metric("Images", f"{summary.images:,}")
    columns[1].metric("Annotations, unchanged", f"{summary.annotations:,}")
    for column, word in ((columns[2], "present"), (columns[3], "absent")):
        number = sum(count for kind, count in added.items() if kind.endswith(f" {word}"))
        column.metric(f"{word.capitalize()}, added", f"{number:,}")
    columns[4].metric("Proposals, beside", f"{summary.proposals:,}")
    if summary.left_out:
        left = ", ".join(f"{number:,} {what}" for what, number in summary.left_out.items())
        st.caption(f"Left out: {left}.")
    if summary.category_changes:
        with st.expander(f"Categories that were changed here: {len(summary.category_changes)}"):
            for line in summary.category_changes:
                st.write(plain(line))
    if not choice.proposals:
        st.caption("Proposals nobody decided are left out.")
    newest = export.newest_labels(workspace(), dataset.name, choice)
    if newest:
        with st.expander(f"The newest labels that are added: {len(newest)}"):
            names = ("image", "category", "state", "source", "annotator")
            rows = [
                {**dict(zip(names, map(legible, row[:5]), strict=True)), "time": row[5]}
                for row in newest
            ]
            st.dataframe(rows, hide_index=True, width="stretch")


def choose_format(dataset: DatasetView) -> str:
    """The format to write, first the one it came in."""
    names = [dataset.format, *(name for name in FORMATS if name != dataset.format)]
    return st.selectbox(
        "Format",
        names,
        format_func=lambda name: FORMATS[name].title,
        key=f"export-format-{dataset.id}",
    )


def losses(dataset: DatasetView, chosen: str, choice: ExportChoice) -> None:
    """What would be lost, said before."""
    asked = (dataset.id, chosen, choice, dataset.present, dataset.absent_labels)
    known = st.session_state.get(LOST)
    if known is None or known[0] != asked:  # it takes a look at every record
        with st.spinner("Looking for what this format cannot carry"):
            lost = export.left_behind(workspace(), dataset.name, chosen, choice)
        st.session_state[LOST] = known = (asked, lost)
    if known[1]:
        st.warning(plain(f"This format does not carry: {'; '.join(known[1])}."))
    elif chosen == dataset.format and choice.as_it_came:
        st.caption(
            "The format it came in: every record comes back as it was, and the decisions made "
            "here are added."
        )
    else:
        st.caption("Labels go with their three states, and their origin in the file or beside it.")


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
    result = finished[0].result or {}
    kind = FORMATS[str(result.get("format", "coco"))].title
    size = f"{path.stat().st_size / 1e6:,.2f} MB"
    added = ", ".join(f"{count:,} {what}" for what, count in result["labels_added"].items())
    what = _what(result)
    beside = f", {result['proposals']:,} proposals beside" if result.get("proposals") else ""
    st.caption(
        plain(
            f"{kind}{what}, prepared {moment:%Y-%m-%d %H:%M} UTC, {size}. Labels added: "
            f"{added or 'none'}{beside}"
        )
    )


def _what(result: JsonObject) -> str:
    """Of which part and which labels a file is; nothing for the whole of now."""
    said = [f"{key} {value}" for key, value in (result.get("part") or {}).items()]
    if result.get("snapshot"):
        said.append(f"snapshot {result['snapshot']}")
    said += [
        f"{split}: {images:,} images" for split, images in (result.get("splits") or {}).items()
    ]
    return f" ({legible('; '.join(said))})" if said else ""


with error_boundary():
    st.title("Export")
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        chosen = choose_format(dataset)
        part, each = choose_part(dataset)
        choice = choose_contents(dataset)
        choice = replace(choice, part=part, snapshot=choose_snapshot(dataset))
        contents(dataset, choice)
        losses(dataset, chosen, choice)
        busy = live_jobs(dataset.id, key="export")
        if st.button("Prepare the file", type="primary", disabled=busy, key="prepare"):
            payload = {"format": chosen, **choice.to_json()}
            if each:
                payload["per_split"] = True
            workspace().jobs.submit(JobKind.EXPORT, dataset.id, payload)
            st.rerun()
        download(dataset)
