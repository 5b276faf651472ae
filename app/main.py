"""The frame around every page: navigation, and who is here."""

import streamlit as st

from app.components.notices import notice_lines
from app.context import ANNOTATOR_KEY, enter_person, error_boundary

st.set_page_config(page_title="CLSL annotation completion", page_icon="🏷️", layout="wide")

page = st.navigation(
    [
        st.Page(
            "screens/datasets.py", title="Datasets", icon=":material/photo_library:", default=True
        ),
        st.Page(
            "screens/import_.py", title="Import", icon=":material/upload_file:", url_path="import"
        ),
        st.Page("screens/review.py", title="Review", icon=":material/rule:"),
        st.Page("screens/bulk.py", title="Accept in bulk", icon=":material/done_all:"),
        st.Page("screens/history.py", title="History", icon=":material/history:"),
        st.Page("screens/models.py", title="Models", icon=":material/model_training:"),
        st.Page("screens/quality.py", title="Quality", icon=":material/monitoring:"),
        st.Page("screens/team.py", title="Team", icon=":material/group:"),
        st.Page("screens/categories.py", title="Categories", icon=":material/category:"),
        st.Page("screens/snapshots.py", title="Snapshots", icon=":material/photo_camera_back:"),
        st.Page("screens/splits.py", title="Splits", icon=":material/call_split:"),
        st.Page("screens/export.py", title="Export", icon=":material/download:"),
        st.Page("screens/jobs.py", title="Jobs", icon=":material/pending_actions:"),
    ]
)
# Streamlit leaves a wide empty band above the page; the pictures need that height.
st.html("<style>.stMainBlockContainer { padding-top: 3.5rem; padding-bottom: 2rem; }</style>")
with st.sidebar:
    st.text_input(
        "Your name",
        key=ANNOTATOR_KEY,
        bind="query-params",
        placeholder="who decides?",
        max_chars=100,
        help="Every verdict is stored with the name of the person who gave it.",
    )
with st.sidebar, error_boundary():
    notice_lines()
with error_boundary():
    enter_person()
page.run()
