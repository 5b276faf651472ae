"""Pictures of an audit's sample with a question each; the answers become ordinary verdicts."""

from __future__ import annotations

import uuid

import streamlit as st

from app.context import error_boundary, plain, workspace
from app.services.access.grants import Grant
from app.services.pictures import rendering
from app.services.quality.audit_pairs import Check
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from clsl_core.errors import ClslError

COLUMNS = 4
PICTURE = 240
VERDICTS = {"Yes": "present", "No": "absent", "Cannot tell": "skip"}


def judge(grant: Grant, asked: list[Check], key: str) -> None:
    """Ask about some pairs; nothing where there are none. ``key`` tells two such forms apart."""
    if not asked:
        return
    with st.form(f"{key}-checks", border=False):
        for start in range(0, len(asked), COLUMNS):
            row = asked[start : start + COLUMNS]
            for column, one in zip(st.columns(COLUMNS), row, strict=False):
                with column:
                    _question(grant, one, key)
        st.form_submit_button(
            "Store these verdicts", type="primary", on_click=_store, args=(grant, asked, key)
        )


def _question(grant: Grant, one: Check, key: str) -> None:
    try:
        found = rendering.thumbnail(workspace(), grant, one.image_id, PICTURE)
        st.image(found.content, caption=plain(one.file_name), width="stretch", alt=one.file_name)
    except ClslError as error:
        st.warning(plain(str(error)))
    st.radio(
        f"Is there **{plain(one.category)}**?",
        list(VERDICTS),
        index=None,
        horizontal=True,
        key=_answer_key(one, key),
    )


def _answer_key(one: Check, key: str) -> str:
    return f"{key}-{one.category_id}-{one.image_id}"


def _store(grant: Grant, asked: list[Check], key: str) -> None:
    """Store the verdicts that were chosen; pictures without one are asked again."""
    chosen = [(one, st.session_state.get(_answer_key(one, key))) for one in asked]
    answers = [
        Answer(uuid.uuid4().hex, one.image_id, one.category_id, VERDICTS[word], one.proposal_id)
        for one, word in chosen
        if word is not None
    ]
    with error_boundary():
        receipts = verdicts.decide(workspace(), grant, answers)
        lost = [one.message for one in receipts if one.status == "refused"]
        if lost:
            st.toast(plain(f"Not stored: {lost[0]}"))
