"""The way in: ``streamlit run streamlit_app.py``."""

from pathlib import Path

import streamlit as st

from app.api import routes
from app.context import lifespan, workspace

app = st.App(Path(__file__).parent / "app" / "main.py", routes=routes(workspace), lifespan=lifespan)
