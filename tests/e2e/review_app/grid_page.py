"""A page with the review component as a grid."""

import streamlit as st
from stage import STAGE

from app.components.review import ReviewData, review

st.set_page_config(page_title="Scratch grid", layout="wide")
with st.sidebar:
    strategy = st.radio("Queue", ["uncertain", "absent"])
    category = st.radio("Category", [2, 1])
data = ReviewData(
    token=STAGE.token(),
    dataset_id=1,
    annotator="Ada",
    mode="grid",
    strategy=strategy,
    category_id=category,
)
review(data, key="review")
