"""Run with ``streamlit run``: the scratch page and the real routes in one server."""

import streamlit as st
from stage import ROUTES

app = st.App("scratch_page.py", routes=ROUTES)
