"""The review card drawn with Streamlit alone: for browsers without script access, and for tests.

Slower than the component (each verdict is a rerun), on the same services.
"""

from __future__ import annotations

import uuid
from dataclasses import replace

import streamlit as st

from app.context import plain, workspace
from app.services.access.grants import Grant
from app.services.pictures import rendering
from app.services.reviewing import undo, verdicts
from app.services.reviewing.cards import IMAGE_SIZE, Card
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer

UNDO_KEY = "plain-undo"


def plain_card(grant: Grant, query: QueueQuery) -> None:
    """Draw the next card with its buttons."""
    page = next_cards(workspace(), grant, replace(query, limit=1))
    if not page.cards:
        st.success("Nothing left in this queue. Choose another one, or export.")
        _undo_button(grant)
        return
    card = page.cards[0]
    left = page.left.queue if page.left else 1
    st.write(f"**{_question(card)}**")
    st.caption(f"{_certainty(card)} · {left} left")
    _buttons(grant, card)
    picture = rendering.thumbnail(workspace(), grant, card.image_id, IMAGE_SIZE)
    st.image(picture.content, caption=plain(card.file_name), alt=card.file_name)


def _question(card: Card) -> str:
    name = plain(card.category)
    if card.disputes:
        label = "is not" if card.state == "present" else "is"
        return f"The label says that there {label} “{name}” in this picture. Is there any?"
    if card.state == "present":
        return f"Is there “{name}” in this picture?"
    return f"Is it right that there is no “{name}” in this picture?"


def _certainty(card: Card) -> str:
    if card.probability is None:
        return f"score {card.score:.2f}"
    return f"probability {card.probability:.0%}"


def _buttons(grant: Grant, card: Card) -> None:
    accept, reject, skip, back = st.columns(4)
    opposite = "absent" if card.state == "present" else "present"
    for column, label, shortcut, verdict in (
        (accept, "Accept", "a", card.state),
        (reject, "Reject", "x", opposite),
        (skip, "Skip", "space", "skip"),
    ):
        column.button(
            label,
            shortcut=shortcut,
            key=f"plain-{label.lower()}",
            width="stretch",
            on_click=_decide,
            args=(grant, card, verdict),
        )
    with back:
        _undo_button(grant)


def _undo_button(grant: Grant) -> None:
    history: list[str] = st.session_state.setdefault(UNDO_KEY, [])
    st.button(
        "Undo",
        shortcut="backspace",
        key="plain-undo-button",
        width="stretch",
        disabled=not history,
        on_click=_undo,
        args=(grant,),
    )


def _decide(grant: Grant, card: Card, verdict: str) -> None:
    client_id = uuid.uuid4().hex
    answer = Answer(client_id, card.image_id, card.category_id, verdict, card.proposal_id)
    receipt = verdicts.decide(workspace(), grant, [answer])[0]
    if receipt.status == "saved":
        st.session_state.setdefault(UNDO_KEY, []).append(client_id)
    else:
        st.toast(plain(receipt.message or receipt.status))


def _undo(grant: Grant) -> None:
    client_id = st.session_state[UNDO_KEY].pop()
    receipt = undo.undo(workspace(), grant, uuid.uuid4().hex, client_id)
    if receipt.status != "saved":
        st.toast(plain(receipt.message or receipt.status))
