"""A page with the review component as a grid."""

import fake_routes
import streamlit as st

from app.components.review import ReviewData, review

st.set_page_config(page_title="Scratch grid", layout="wide")
with st.sidebar:
    strategy = st.radio("Queue", ["likely", "absent"])
    category = st.radio("Category", [2, 1])
data = ReviewData(
    token=fake_routes.SERVER.token(),
    dataset_id=1,
    annotator="Ada",
    mode="grid",
    strategy=strategy,
    category_id=category,
)
review(data, key="review")
