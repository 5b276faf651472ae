"""What happened in the background, as quiet lines in the sidebar.

They take no focus and cover nothing. They stay until they are put away or the page is loaded
again; nobody is told the same twice.
"""

from __future__ import annotations

import streamlit as st

from app.context import annotator, plain, still_here, workspace
from app.services.learning import notices
from app.services.learning.notices import NoticeView

SHOWN_KEY = "notices-shown"
EVERY_SECONDS = 20.0


@st.fragment(run_every=EVERY_SECONDS)
def notice_lines() -> None:
    """Look for news and draw them; call it within the sidebar."""
    still_here()
    name = annotator()
    shown: list[NoticeView] = st.session_state.setdefault(SHOWN_KEY, [])
    if name:
        shown.extend(notices.take(workspace(), name))
    if not shown:
        return
    for notice in shown:
        icon = ":material/check_circle:" if notice.good else ":material/error:"
        st.caption(f"{icon} {plain(f'{notice.dataset}: {notice.message}')}")
    st.button("Put away", key="notices-put-away", on_click=shown.clear, type="tertiary")
