"""Where everybody starts: what is here, and what to do next."""

import streamlit as st

from app.components.progress import last_failure, live_jobs
from app.context import (
    current_dataset,
    error_boundary,
    plain,
    switch_to,
    workspace,
)
from app.services import demo
from app.services.datasets import overview
from app.services.datasets.overview import DatasetView
from app.services.learning import triggers


def welcome() -> None:
    """The first screen of an empty workspace."""
    st.title("Complete a partly labelled image collection")
    st.write(
        "The model proposes the labels that are missing, you say what is there and what is not, "
        "and every verdict teaches the next round. Nothing in your file is lost."
    )
    if live_jobs(key="welcome"):
        return
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        st.subheader("Try it on a demo")
        st.write(
            "300 drawn pictures with most labels hidden. Works offline and takes "
            "about a minute until you can review."
        )
        if st.button("Start the demo", type="primary", key="start-demo"):
            demo.start_demo(workspace())
            st.rerun()
    with right.container(border=True, height="stretch"):
        st.subheader("Bring your own pictures")
        st.write("A COCO JSON file and the folder with its pictures on this machine.")
        st.page_link(
            "screens/import_.py", label="Import a collection", icon=":material/upload_file:"
        )


def next_step(dataset: DatasetView, busy: bool) -> None:
    """One sentence and one button: what this dataset waits for."""
    if dataset.open_proposals:
        with st.container(border=True):
            waiting = f"**{dataset.open_proposals:,} proposals** wait for a verdict."
            st.write(waiting + " The most likely ones come first.")
            if st.button("Review proposals", type="primary", icon=":material/rule:"):
                switch_to("review")
        return
    if busy:
        return
    failed = last_failure(dataset.id)
    with st.container(border=True):
        if failed is not None:
            st.error(plain(f"The last {failed.kind.value} failed: {failed.error}"))
        st.write(
            "No proposals wait here. The loop reads the pictures that are new, trains on all "
            "that is known, and proposes what is missing."
        )
        if st.button("Start the loop", type="primary", icon=":material/play_arrow:"):
            triggers.start(workspace(), dataset.id)
            st.rerun()


def draw_overview(dataset: DatasetView) -> None:
    """The figures of one dataset."""
    columns = st.columns(5)
    columns[0].metric("Images", f"{dataset.images:,}")
    columns[1].metric("Categories", f"{dataset.categories:,}")
    columns[2].metric("Known present", f"{dataset.present:,}")
    columns[3].metric("Known absent", f"{dataset.absent_labels:,}")
    columns[4].metric("Unknown", f"{dataset.unknown:,}", help="Image × category pairs in question.")
    if dataset.backbone:
        st.caption(plain(f"Features: {dataset.backbone}"))
    if dataset.backbone_notice:
        st.info(plain(dataset.backbone_notice), icon=":material/info:")


def problem_images(dataset: DatasetView) -> None:
    """Pictures that cannot be used, with the reason for each."""
    if not dataset.problem_images:
        return
    title = f"{dataset.problem_images:,} pictures cannot be used"
    with st.expander(title, icon=":material/broken_image:"):
        st.write("Everything else goes on without them. Mend the files, then start the loop again.")
        st.dataframe(
            [
                {"file": row.file_name, "reason": row.reason, "what": row.problem}
                for row in overview.problem_images(workspace(), dataset.name)
            ],
            hide_index=True,
            width="stretch",
        )


def categories(dataset: DatasetView) -> None:
    """What is known, category by category."""
    st.subheader("Labels by category")
    st.dataframe(
        [
            {
                "category": row.name,
                "present, from the file": row.imported_present,
                "present, decided here": row.human_present,
                "present, accepted unseen": row.audited_present,
                "absent": row.absent,
                "unknown": dataset.images - row.present - row.absent,
            }
            for row in overview.category_counts(workspace(), dataset.name)
        ],
        hide_index=True,
        width="stretch",
        height=420,
    )


with error_boundary():
    dataset = current_dataset()
    if dataset is None:
        welcome()
    else:
        st.title(plain(dataset.name))
        busy = live_jobs(dataset.id, key="datasets")
        next_step(dataset, busy)
        draw_overview(dataset)
        problem_images(dataset)
        categories(dataset)
