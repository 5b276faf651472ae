"""The frame around every page: navigation, and who is here."""

import streamlit as st

from app import sign_in
from app.components.door import closed_door, who_is_here
from app.components.notices import notice_lines
from app.context import ANNOTATOR_KEY, error_boundary, open_workspace
from app.services.access.rights import Actor
from clsl_core.errors import ClslError

st.set_page_config(page_title="CLSL annotation completion", page_icon="🏷️", layout="wide")


def arrive() -> tuple[Actor | None, ClslError | None]:
    """Who has signed in, or why nobody is let in."""
    try:
        return sign_in.arrive(open_workspace()), None
    except ClslError as error:
        return None, error


# Whatever fails leaves the door closed.
closed, must_sign_in = True, False
person: Actor | None = None
refusal: ClslError | None = None
with error_boundary():
    must_sign_in = sign_in.needed(open_workspace())
    if must_sign_in:
        person, refusal = arrive()
    closed = must_sign_in and person is None

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
    ],
    position="hidden" if closed else "sidebar",
    expanded=True,
)
# Streamlit leaves a wide empty band above the page; the pictures need that height.
st.html("<style>.stMainBlockContainer { padding-top: 3.5rem; padding-bottom: 2rem; }</style>")
if closed:
    if must_sign_in:
        with error_boundary():
            closed_door(refusal)
    st.stop()
with st.sidebar:
    if person is not None:
        who_is_here(person)
    else:
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
page.run()
