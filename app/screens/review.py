"""Where people spend their day: they say what is there of what the model proposes."""

import streamlit as st

from app.components.plain_card import plain_card
from app.components.progress import live_jobs
from app.components.review import Filters, Mode, ReviewData, Strategy, review
from app.context import ANNOTATOR_KEY, annotator, current_dataset, error_boundary, plain, workspace
from app.services.access.grants import Grant
from app.services.datasets import overview
from app.services.datasets.overview import DatasetView
from app.services.people import preferences
from app.services.people.annotators import enter
from app.services.pictures import boxes
from app.services.reviewing.queue import QueueQuery

NAME_FIELD = "review-name"

QUEUES: dict[str, Strategy] = {
    "Most likely first": "likely",
    "Most uncertain first": "uncertain",
    "Mixed, categories in turn": "mixed",
    "Probably absent": "absent",
    "Random sample": "random",
    "Labels the model doubts": "disagreements",
    "Flagged pictures": "flagged",
    "Like the last one found": "similar",
}
MODES: dict[str, Mode] = {"Cards": "card", "Grid": "grid"}
STATES = {"Any": None, "Probably present": "present", "Probably absent": "absent"}
NEXT_STEPS = [
    "Choose another queue or another category in the sidebar.",
    "Train again (Models): your verdicts make the next proposals better.",
    "Export when enough is known: every label goes back with its source.",
]


def choose_mode() -> Mode:
    """One picture at a time, or many of one category."""
    label = st.radio("View", list(MODES), key="review-mode", horizontal=True)
    return MODES[label]


def choose_category(dataset: DatasetView, grant: Grant, mode: Mode) -> int | None:
    """A category, or all of them; a grid is of one, first of the one with most to accept."""
    names = {row.id: row.name for row in boxes.categories(workspace(), grant)}
    everything: list[int | None] = [None]
    options = list(names) if mode == "grid" else everything + list(names)
    key = f"review-category-{mode}-{dataset.id}"
    if mode == "grid" and key not in st.session_state:
        st.session_state[key] = overview.busiest_category(workspace(), dataset.id) or options[0]
    return st.selectbox(
        "Category",
        options,
        format_func=lambda id_: "All categories" if id_ is None else names[id_],
        key=key,
    )


def choose_filters(dataset: DatasetView) -> Filters:
    """What the queue is narrowed to; closed while nothing is."""
    with st.expander("Filters"):
        text = st.text_input("File name contains", key="review-text", max_chars=200)
        low, high = st.slider("Probability or score", 0.0, 1.0, (0.0, 1.0), key="review-range")
        state = st.selectbox("The model holds", list(STATES), key="review-state")
        splits = overview.splits(workspace(), dataset.name)
        split = st.selectbox("Split", ["All", *splits], key="review-split") if splits else "All"
    return Filters(
        state=STATES[state],
        min=low or None,
        max=None if high == 1.0 else high,
        split=None if split == "All" else split,
        text=text.strip() or None,
    )


def ask_name() -> None:
    """Nobody reviews without a name."""
    st.title("Review")
    with st.form("who", width=480):
        st.text_input("Who is reviewing?", key=NAME_FIELD, max_chars=100)
        st.caption("Every verdict is stored with the name of the person who gave it.")
        st.form_submit_button("Begin", type="primary", on_click=take_name)


def take_name() -> None:
    """Put the name into the sidebar's field, where it stays."""
    st.session_state[ANNOTATOR_KEY] = st.session_state[NAME_FIELD].strip()


def draw(dataset: DatasetView) -> None:
    """The cards or the grid, or what is missing before there can be any."""
    if not annotator():
        ask_name()
        return
    if dataset.serving_run is None and not dataset.open_proposals:
        st.info("There are no proposals yet. They appear here as soon as the first training ends.")
        live_jobs(dataset.id, key="review")
        st.page_link("screens/datasets.py", label="See where it stands")
        return
    grant = enter(workspace(), dataset.name, annotator())
    with st.sidebar:
        mode = choose_mode()
        strategy = QUEUES[st.selectbox("Queue", list(QUEUES), key="review-queue")]
        category_id = choose_category(dataset, grant, mode)
        filters = choose_filters(dataset)
        simple = st.toggle(
            "Plain card",
            key="review-plain",
            help="Without scripts in the page: slower, but works in every browser.",
        )
    if simple:
        plain_card(grant, plain_query(strategy, category_id, filters))
        return
    review(
        ReviewData(
            token=workspace().access.issue(grant),
            dataset_id=dataset.id,
            annotator=annotator(),
            mode=mode,
            strategy=strategy,
            category_id=category_id,
            filters=filters,
            keys=preferences.keys_of(workspace(), grant),
            next_steps=NEXT_STEPS,
        ),
        key="review-card",
    )


def plain_query(strategy: Strategy, category_id: int | None, filters: Filters) -> QueueQuery:
    """The same queue, asked for by Streamlit itself."""
    return QueueQuery(
        strategy=strategy,
        category_id=category_id,
        state=filters.state,
        lowest=filters.min,
        highest=filters.max,
        split=filters.split,
        text=filters.text,
    )


with error_boundary():
    dataset = current_dataset()
    if dataset is None:
        st.title("Review")
        st.info(plain("There is no dataset yet. Start with Datasets."))
    else:
        draw(dataset)
