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
SAID = {"present": "there", "absent": "not there"}


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
    st.caption(f"{_belief(card)} · {left} left")
    _buttons(grant, card)
    picture = rendering.thumbnail(workspace(), grant, card.image_id, IMAGE_SIZE)
    st.image(picture.content, caption=plain(card.file_name), alt=card.file_name)


def _question(card: Card) -> str:
    """The same whatever the model thinks, so that the buttons always mean the same."""
    return f"Is there “{plain(card.category)}” in this picture?"


def _belief(card: Card) -> str:
    """What model and label hold: information beside the question, never a part of it."""
    model = f"The model thinks: {SAID[card.state]} ({_certainty(card)})."
    if not card.disputes:
        return model
    label = "absent" if card.state == "present" else "present"
    return f"The label so far says: {SAID[label]}. {model}"


def _certainty(card: Card) -> str:
    if card.probability is None:
        return f"score {card.score:.2f}"
    return f"probability {card.probability:.0%} that it is there"


def _buttons(grant: Grant, card: Card) -> None:
    there, not_there, skip, back = st.columns(4)
    for column, label, shortcut, verdict in (
        (there, "✓ Present", "a", "present"),
        (not_there, "✗ Absent", "x", "absent"),
        (skip, "Skip", "space", "skip"),
    ):
        column.button(
            label,
            shortcut=shortcut,
            key=f"plain-{verdict}",
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
