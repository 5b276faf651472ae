"""What somebody has decided, newest first: to look up, to undo, to redo, days later too."""

import uuid

import streamlit as st

from app.context import annotator, current_dataset, error_boundary, plain, workspace
from app.services.access.grants import Grant
from app.services.datasets.overview import DatasetView
from app.services.people.annotators import enter
from app.services.reviewing import history, undo
from app.services.reviewing.history import Entry

PAGE = 25
PLACES_KEY = "history-places"
WORDS = {"present": "present", "absent": "absent", "skip": "skipped"}


def places() -> list[str]:
    """Cursors of the pages before this one; empty on the first."""
    found: list[str] = st.session_state.setdefault(PLACES_KEY, [])
    return found


def words(entry: Entry) -> str:
    """One line that says what was decided."""
    what = "**" + plain(entry.category or f"{entry.count} labels") + "**"
    verdict = WORDS[entry.verdict]
    where = plain(entry.file_name) if entry.file_name else f"{entry.count} pictures"
    other = f", {entry.exceptions} the opposite" if entry.exceptions else ""
    unseen = ", accepted unseen after an audit" if entry.unseen else ""
    return f"{what} {verdict}{other}{unseen} · {where}"


def row(grant: Grant, entry: Entry) -> None:
    """One entry with what can be done about it."""
    left, middle, right = st.columns([6, 2, 1.4], vertical_alignment="center")
    left.markdown(words(entry) if not entry.undone else f"{words(entry)} · :gray[undone]")
    middle.caption(entry.decided_at.astimezone().strftime("%Y-%m-%d %H:%M"))
    label = "Redo" if entry.undone else "Undo"
    right.button(
        label,
        key=f"history-{entry.id}",
        width="stretch",
        disabled=not (entry.undone or entry.undoable),
        help=None if entry.undone or entry.undoable else "Decided again since.",
        on_click=change,
        args=(grant, entry),
    )


def change(grant: Grant, entry: Entry) -> None:
    """Undo or redo, and say what came of it."""
    change = undo.redo if entry.undone else undo.undo
    receipt = change(workspace(), grant, uuid.uuid4().hex, entry.id)
    done = "Done again" if entry.undone else "Undone"
    said = receipt.message or f"{done}: {receipt.count} label{'s' * (receipt.count != 1)}."
    st.toast(plain(said if receipt.status == "saved" else f"Nothing changed: {said}"))


def draw(dataset: DatasetView) -> None:
    """The list, page by page."""
    if not annotator():
        st.info("Type your name in the sidebar: everybody sees their own decisions.")
        return
    grant = enter(workspace(), dataset.name, annotator())
    before = places()[-1] if places() else None
    page = history.history(workspace(), grant, limit=PAGE, before=before)
    if not page.entries:
        st.info("Nothing decided yet. What you say in Review appears here.")
        return
    for entry in page.entries:
        row(grant, entry)
    newest, older, _ = st.columns([1, 1, 4])
    newest.button("Newest", disabled=not places(), on_click=places().clear, width="stretch")
    if page.cursor is not None:
        older.button("Older", on_click=places().append, args=(page.cursor,), width="stretch")


with error_boundary():
    st.title("History")
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        draw(dataset)
