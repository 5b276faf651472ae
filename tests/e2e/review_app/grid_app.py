"""Run with ``streamlit run``: the page of the grid and the fake routes in one server."""

import streamlit as st
from fake_routes import ROUTES

app = st.App("grid_page.py", routes=ROUTES)
