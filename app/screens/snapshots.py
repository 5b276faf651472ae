"""Keep the labels of a moment under a name, and see what changed since."""

import csv
import io

import streamlit as st

from app.context import current_dataset, error_boundary, plain, workspace
from app.services.datasets import snapshots
from app.services.datasets.overview import DatasetView
from app.services.datasets.snapshots import Diff, SnapshotView

SHOWN = 1_000
NOW = "now"


def take(dataset: DatasetView) -> None:
    """A name, and the button."""
    with st.form("snapshot", border=False):
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        name = left.text_input("Name", placeholder="before the second pass", max_chars=100)
        if right.form_submit_button("Take a snapshot", type="primary", width="stretch"):
            with error_boundary():
                kept = snapshots.take(workspace(), dataset.name, name)
                st.toast(plain(f"{kept.name}: {kept.present + kept.absent:,} labels are kept."))


def table(found: list[SnapshotView]) -> None:
    """All of them."""
    st.dataframe(
        [
            {
                "name": one.name,
                "taken by": one.by,
                "at": one.at,
                "present": one.present,
                "absent": one.absent,
            }
            for one in found
        ],
        hide_index=True,
        width="stretch",
    )


def changes(dataset: DatasetView, found: list[SnapshotView]) -> None:
    """Two of them beside one another."""
    st.subheader("What changed?")
    names = [one.name for one in found]
    left, right = st.columns(2)
    old = left.selectbox("From", names, key="snapshot-old")
    new = right.selectbox("To", [NOW, *names], key="snapshot-new")
    compared = snapshots.diff(workspace(), dataset.name, old, snapshots.NOW if new == NOW else new)
    if not compared.changes:
        st.info("No label differs.")
        return
    for column, (kind, count) in zip(
        st.columns(max(3, len(compared.counts))), compared.counts.items(), strict=False
    ):
        column.metric(kind, f"{count:,}")
    rows = list(snapshots.table(compared.changes))
    st.dataframe(
        [dict(zip(snapshots.COLUMNS, row, strict=True)) for row in rows[:SHOWN]],
        hide_index=True,
        width="stretch",
        placeholder="–",
    )
    if len(rows) > SHOWN:
        st.caption(f"The first {SHOWN:,} of {len(rows):,}; the file has all of them.")
    st.download_button(
        "Changes as CSV",
        _csv(compared),
        "changes.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
    )


def _csv(compared: Diff) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(snapshots.COLUMNS)
    writer.writerows(snapshots.table(compared.changes))
    return stream.getvalue()


with error_boundary():
    st.title("Snapshots")
    st.caption(
        "A snapshot keeps all labels as they are now, under a name; nothing changes it later. "
        "Take one before and after a piece of work to see what it changed."
    )
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        take(dataset)
        found = snapshots.all_snapshots(workspace(), dataset.name)
        if found:
            table(found)
            changes(dataset, found)
        else:
            st.info("There is no snapshot yet: name one and take it.")
