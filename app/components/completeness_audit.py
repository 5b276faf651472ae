"""A stratified sample of what is unknown: draw it, answer it, read what is missing."""

from __future__ import annotations

import streamlit as st

from app.components.judge import judge
from app.context import annotator, error_boundary, plain, workspace
from app.services.access.grants import Grant
from app.services.datasets import overview
from app.services.datasets.overview import DatasetView
from app.services.people.annotators import enter
from app.services.quality import sample_audit
from app.services.quality.completeness import ALL

HOW = (
    "A sample of its own, with more pairs where the model is in doubt: it needs fewer verdicts "
    "than the random control arm for the same certainty. All categories together need far fewer "
    "than each by itself."
)


def draw_audit(dataset: DatasetView) -> None:
    """Choose what it is about, then draw, answer and read."""
    st.caption(HOW)
    if not annotator():
        st.info("Type your name in the sidebar: every verdict is stored with it.")
        return
    grant = enter(workspace(), dataset.name, annotator())
    names = {
        row.category_id: row.name for row in overview.category_counts(workspace(), dataset.name)
    }
    everything: list[int | None] = [None]
    left, middle, right = st.columns([3, 2, 2], vertical_alignment="bottom")
    chosen = left.selectbox(
        "What is missing of",
        everything + list(names),
        format_func=lambda id_: ALL if id_ is None else names[id_],
        key="completeness-of",
    )
    size = middle.number_input(
        "Pairs to check", min_value=10, max_value=5_000, value=100, step=10, key="completeness-size"
    )
    found = sample_audit.estimate(workspace(), grant, chosen)
    right.button(
        "Draw a sample" if found is None else "Draw another sample",
        key="completeness-draw",
        on_click=_draw,
        args=(grant, chosen, int(size)),
        width="stretch",
    )
    if found is None:
        return
    say = st.success if found.stop else st.info
    say(plain(f"{found.category}: {found.reason}"), icon=":material/flag:")
    judge(grant, sample_audit.to_check(workspace(), grant, chosen), key="completeness")


def _draw(grant: Grant, category_id: int | None, size: int) -> None:
    with error_boundary():
        sample_audit.draw(workspace(), grant, category_id, size)
