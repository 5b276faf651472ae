"""Where people spend their day: accept or reject what the model proposes."""

import streamlit as st

from app.components.plain_card import plain_card
from app.components.progress import live_jobs
from app.components.review import ReviewData, Strategy, review
from app.context import ANNOTATOR_KEY, annotator, current_dataset, error_boundary, plain, workspace
from app.services import views
from app.services.annotators import enter
from app.services.review_queue import QueueQuery
from app.services.views import DatasetView

NAME_FIELD = "review-name"

QUEUES: dict[str, Strategy] = {
    "Most likely first": "likely",
    "Most uncertain first": "uncertain",
    "Probably absent": "absent",
    "Random sample": "random",
}


def choices(dataset: DatasetView) -> tuple[Strategy, int | None]:
    """Which queue, which category: in the sidebar, out of the way."""
    with st.sidebar:
        queue = st.selectbox("Queue", list(QUEUES), key="review-queue")
        counts = views.category_counts(workspace(), dataset.name)
        names = {row.category_id: row.name for row in counts}
        category = st.selectbox(
            "Category",
            [None, *names],
            format_func=lambda id_: "All categories" if id_ is None else names[id_],
            key=f"review-category-{dataset.id}",
        )
    return QUEUES[queue], category


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
    """The card, or what is missing before there can be one."""
    if not annotator():
        ask_name()
        return
    if dataset.serving_run is None:
        st.info("There are no proposals yet. They appear here as soon as the first training ends.")
        live_jobs(dataset.id, key="review")
        st.page_link("screens/datasets.py", label="See where it stands")
        return
    strategy, category_id = choices(dataset)
    grant = enter(workspace(), dataset.name, annotator())
    with st.sidebar:
        simple = st.toggle(
            "Plain card",
            key="review-plain",
            help="Without scripts in the page: slower, but works in every browser.",
        )
    if simple:
        plain_card(grant, QueueQuery(strategy=strategy, category_id=category_id))
        return
    review(
        ReviewData(
            token=workspace().access.issue(grant),
            dataset_id=dataset.id,
            annotator=annotator(),
            strategy=strategy,
            category_id=category_id,
        ),
        key="review-card",
    )


with error_boundary():
    dataset = current_dataset()
    if dataset is None:
        st.title("Review")
        st.info(plain("There is no dataset yet. Start with Datasets."))
    else:
        draw(dataset)
