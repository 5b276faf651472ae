"""The way in: ``streamlit run streamlit_app.py``."""

from pathlib import Path

import streamlit as st

from app import sign_in
from app.api import page_script, routes
from app.context import lifespan, open_workspace

app = st.App(
    Path(__file__).parent / "app" / "main.py",
    routes=[*routes(open_workspace, sign_in.needed), page_script.ROUTE],
    lifespan=lifespan,
)
