"""Several people, one truth: how many judge a pair, what they disagree on, how far they agree."""

import uuid

import streamlit as st

from app.components.agreement_tables import draw_agreement, draw_gold
from app.context import annotator, current_dataset, error_boundary, plain, workspace
from app.services.access import rights
from app.services.access.rights import Right
from app.services.datasets.overview import DatasetView
from app.services.people.annotators import enter
from app.services.pictures import rendering
from app.services.quality import agreement
from app.services.reviewing import assignments, gold, panels
from app.services.reviewing.panels import Conflict
from clsl_core.errors import ClslError

PICTURE = 480
SHOWN = 5


def draw(dataset: DatasetView) -> None:
    """What whoever is here may see."""
    if not rights.may(Right.ADJUDICATE):
        st.info("Reviewers and administrators see here how people agree, and settle conflicts.")
        return
    found = agreement.report(workspace(), dataset.name)
    people = "person judges" if found.overlap == 1 else "people judge"
    st.caption(plain(f"{found.overlap} {people} each pair of {dataset.name}."))
    if rights.may(Right.MANAGE):
        settings(dataset, found.overlap)
    st.subheader("Conflicts")
    conflicts(dataset)
    st.subheader("Agreement")
    draw_agreement(found)
    st.subheader("Known answers")
    draw_gold(found)
    st.subheader("Who judges what")
    parts(dataset)


def settings(dataset: DatasetView, overlap: int) -> None:
    """How many judge a pair, and more known answers."""
    with st.expander("Settings"):
        left, right = st.columns(2, vertical_alignment="bottom")
        left.number_input("People for each pair", 1, panels.MOST, overlap, key="team-overlap")
        left.button("Set", on_click=set_overlap, args=(dataset.name,), key="team-set-overlap")
        right.number_input("Known answers to add", 1, gold.MOST, 50, key="team-gold")
        right.button("Add", on_click=add_gold, args=(dataset.name,), key="team-add-gold")


def set_overlap(name: str) -> None:
    """As the field says."""
    with error_boundary():
        panels.set_overlap(workspace(), name, int(st.session_state["team-overlap"]))


def add_gold(name: str) -> None:
    """As many as the field says."""
    with error_boundary():
        gold.add(workspace(), name, int(st.session_state["team-gold"]))


def conflicts(dataset: DatasetView) -> None:
    """The first pairs on which people disagree."""
    outvoted = st.toggle("Also where a majority has decided", key="team-outvoted")
    found = panels.conflicts(workspace(), dataset.id, limit=SHOWN, outvoted=outvoted)
    if not found:
        st.caption("There is no pair on which all have spoken and disagree.")
    for one in found:
        with st.container(border=True):
            conflict(dataset, one)


def conflict(dataset: DatasetView, one: Conflict) -> None:
    """A picture, who said what, and the two answers."""
    picture, words = st.columns(2)
    with words:
        st.markdown(f"**{plain(one.category)}** in {plain(one.file_name)}")
        for said in one.opinions:
            st.text(f"{said.annotator}: {said.verdict}")
        key = f"{one.image_id}-{one.category_id}"
        if not annotator():
            st.caption("Give your name at the side to settle it.")
            return
        yes, no = st.columns(2)
        for column, label, verdict in ((yes, "Present", "present"), (no, "Absent", "absent")):
            column.button(
                label,
                key=f"team-{verdict}-{key}",
                width="stretch",
                on_click=settle,
                args=(dataset.name, one, verdict, uuid.uuid4().hex),
            )
    with picture:
        try:
            grant = enter(workspace(), dataset.name, annotator())
            shown = rendering.thumbnail(workspace(), grant, one.image_id, PICTURE)
            st.image(shown.content, width="stretch")
        except ClslError as error:
            st.caption(plain(str(error)))


def settle(name: str, one: Conflict, verdict: str, client_id: str) -> None:
    """Store what was decided."""
    with error_boundary():
        grant = enter(workspace(), name, annotator())
        pair = (one.image_id, one.category_id)
        panels.adjudicate(workspace(), grant, *pair, verdict, client_id)


def parts(dataset: DatasetView) -> None:
    """The table of who judges what."""
    found = assignments.parts(workspace(), dataset.name)
    if not found:
        st.caption("Everybody judges everything. `clsl assign` gives people parts of their own.")
        return
    st.dataframe(
        [
            {
                "person": one.annotator,
                "category": one.category or "all",
                "split": one.split or "all",
                "file names begin": one.prefix or "",
                "offered": "only" if one.exclusive else "first",
            }
            for one in found
        ],
        hide_index=True,
        width="stretch",
    )


with error_boundary():
    st.title("Team")
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        draw(dataset)
