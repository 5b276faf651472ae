"""The way in: ``streamlit run streamlit_app.py``."""

from pathlib import Path

import streamlit as st

from app import sign_in
from app.api import routes
from app.context import lifespan, open_workspace

app = st.App(
    Path(__file__).parent / "app" / "main.py",
    routes=routes(open_workspace, sign_in.needed),
    lifespan=lifespan,
)
