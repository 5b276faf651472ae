"""A page with the review component, and around it what may disturb it."""

import streamlit as st
from stage import STAGE

from app.components.review import ReviewData, review

st.set_page_config(page_title="Scratch review", layout="wide")
state = st.session_state
state.runs = state.get("runs", 0) + 1
state.setdefault("renewed", 0)
state.setdefault("finished", 0)


def renewed() -> None:
    state.renewed += 1


def finished() -> None:
    state.finished += 1


with st.sidebar:
    st.header("Scratch")
    st.text_input("Search")
    st.button("Rerun")
    strategy = st.radio("Queue", ["uncertain", "absent"])
    category = st.selectbox("Category", [None, 1, 2, 3, 4, 5], format_func=str)
    shown = st.toggle("Show the card", value=True)
    st.caption(f"runs {state.runs} · renewed {state.renewed} · finished {state.finished}")

if shown:
    data = ReviewData(
        token=STAGE.token(),
        dataset_id=1,
        annotator="Ada <b>Lovelace</b>",
        strategy=strategy,
        category_id=category,
        next_steps=["Choose another queue.", "Train again."],
    )
    review(data, key="review", on_token_expired=renewed, on_finished=finished)
