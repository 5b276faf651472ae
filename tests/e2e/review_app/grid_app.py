"""Run with ``streamlit run``: the page of the grid and the real routes in one server."""

import streamlit as st
from stage import ROUTES

app = st.App("grid_page.py", routes=ROUTES)
