"""Run with ``streamlit run``: the scratch page and the fake routes in one server."""

import streamlit as st
from fake_routes import ROUTES

app = st.App("scratch_page.py", routes=ROUTES)
