"""Rename, merge and map categories: first what would happen, then the button."""

import json

import streamlit as st

from app.context import current_dataset, error_boundary, plain, workspace
from app.services.access import rights
from app.services.access.rights import Right
from app.services.categories import changes, mapping
from app.services.categories.changes import CategoryRow, ChangeView, MergePreview, Policy, Rule
from app.services.datasets.overview import DatasetView
from app.services.runtime.legible import legible

POLICIES = {
    Policy.SAME: "the same thing under several names",
    Policy.WIDER: "the one that stays is the wider concept",
}
RULES = {
    Rule.TARGET: "what the one that stays says",
    Rule.PRESENT: "present",
    Rule.UNKNOWN: "unknown",
}
DONE = "categories-done"


def done(message: str) -> None:
    """Draw the page anew and say what was done."""
    st.session_state[DONE] = message
    st.rerun()


def table(rows: list[CategoryRow]) -> None:
    """All categories with their labels."""
    st.dataframe(
        [
            {
                "id in the file": legible(str(json.loads(row.source_id))),
                "name": legible(row.name),
                "present": row.present,
                "absent": row.absent,
                "merged into": None if row.merged_into is None else legible(row.merged_into),
            }
            for row in rows
        ],
        hide_index=True,
        width="stretch",
        placeholder="–",
    )


def choices(rows: list[CategoryRow]) -> dict[str, str]:
    """How each category that is shown is named to the services, and to people."""
    shown = [row for row in rows if row.merged_into is None]
    names = [row.name for row in shown]
    return {
        f"id:{json.loads(row.source_id)}" if names.count(row.name) > 1 else row.name: (
            legible(row.name)
            if names.count(row.name) == 1
            else f"{legible(row.name)} ({json.loads(row.source_id)})"
        )
        for row in shown
    }


def rename(dataset: DatasetView, names: dict[str, str], allowed: bool) -> None:
    """Another name for one."""
    with st.form("rename", border=False):
        left, middle, right = st.columns([3, 3, 1], vertical_alignment="bottom")
        chosen = left.selectbox(
            "Category", list(names), format_func=lambda key: names[key], key="rename-what"
        )
        new = middle.text_input("New name", max_chars=changes.LONGEST_NAME, key="rename-to")
        pressed = right.form_submit_button("Rename", width="stretch", disabled=not allowed)
    st.caption("Only the name changes; the category keeps its id, in the exported file too.")
    if pressed and chosen is not None:
        made = changes.rename(workspace(), dataset.name, chosen, new)
        done(f"Renamed: {made.what}.")


def merge(dataset: DatasetView, names: dict[str, str], allowed: bool) -> None:
    """Several become one."""
    left, right = st.columns(2)
    into = left.selectbox(
        "The category that stays", list(names), format_func=lambda key: names[key], key="into"
    )
    others = [key for key in names if key != into]
    sources = right.multiselect(
        "Categories that go into it", others, format_func=lambda key: names[key], key="sources"
    )
    policy, rule = how("merge")
    if not sources or into is None:
        st.caption("Choose what goes into it: what would happen is shown here first.")
        return
    preview = changes.preview_merge(workspace(), dataset.name, sources, into)
    consequences(preview, policy, rule)
    if st.button("Merge", type="primary", key="merge", disabled=not allowed):
        made = changes.merge(workspace(), dataset.name, sources, into, policy, rule)
        done(f"Merged: {made.what}.")


def how(key: str) -> tuple[Policy, Rule]:
    """What merged categories are to one another."""
    left, right = st.columns(2)
    policy = left.radio(
        "They are",
        [one.value for one in Policy],
        format_func=lambda one: POLICIES[Policy(one)],
        key=f"{key}-policy",
    )
    rule = right.radio(
        "Where one says present and another absent",
        [one.value for one in Rule],
        format_func=lambda one: RULES[Rule(one)],
        key=f"{key}-rule",
        disabled=policy == Policy.WIDER,
        help="Only for the same thing: of a wider concept, one present is enough.",
    )
    return Policy(policy), Rule(rule)


def consequences(preview: MergePreview, policy: Policy, rule: Rule) -> None:
    """What a merge would do, the chosen way marked."""
    chosen = preview.chosen(policy, rule)
    st.dataframe(
        [
            {
                "chosen": one == chosen,
                "they are": POLICIES[one.policy],
                "a contradiction becomes": "–" if one.rule is None else RULES[one.rule],
                "present": one.present,
                "absent": one.absent,
                "unknown": one.unknown,
                "labels changed": one.changed,
            }
            for one in preview.forecasts
        ],
        hide_index=True,
        width="stretch",
    )
    st.caption(
        plain(
            f"{preview.annotations:,} annotations go out under the id of {preview.target}. "
            f"{preview.proposals:,} open proposals and {preview.assignments:,} assignments of the "
            "merged ones reach nobody any more."
        )
    )
    if preview.contradictions:
        with st.expander(f"Contradictions: {preview.contradictions:,}"):
            st.dataframe(
                [
                    {"image": legible(file_name)}
                    | {legible(category): state for category, state in said}
                    for file_name, said in preview.examples
                ],
                hide_index=True,
                width="stretch",
                placeholder="–",
            )


def draw_mapping(dataset: DatasetView, allowed: bool) -> None:
    """A table does both for many."""
    st.caption(
        "A CSV with the columns `from` and `to`. Rows with one name merge, so does the name of a "
        "category that there is; an empty `to` leaves a category as it is."
    )
    upload = st.file_uploader("Table", type=["csv"], key="map-table")
    policy, rule = how("map")
    if upload is None:
        return
    text = mapping.decoded(upload.getvalue(), legible(upload.name))
    plan = mapping.plan(workspace(), dataset.name, text)
    st.dataframe(
        [
            {
                "category": legible(step.stays),
                "name": legible(step.name),
                "goes into it": ", ".join(map(legible, step.merge.sources)) if step.merge else "",
                "labels changed": step.merge.chosen(policy, rule).changed if step.merge else 0,
                "contradictions": step.merge.contradictions if step.merge else 0,
            }
            for step in plan.steps
        ],
        hide_index=True,
        width="stretch",
    )
    st.caption(f"{plan.left:,} categories stay as they are.")
    ready = allowed and bool(plan.steps)
    if st.button("Apply the table", type="primary", key="map", disabled=not ready):
        made = mapping.apply(workspace(), dataset.name, text, policy, rule)
        done(f"{len(made)} changes were made, and are undone as one.")


def draw_changes(dataset: DatasetView, found: list[ChangeView], allowed: bool) -> None:
    """What was done, and taking it back."""
    st.subheader("What was done")
    if not found:
        st.info("Nothing yet: the categories are those of the file.")
        return
    st.dataframe(
        [
            {
                "change": one.id,
                "kind": one.kind.value,
                "what": one.what,
                "by": one.by,
                "at": one.at,
                "undone by": one.undone_by,
            }
            for one in found
        ],
        hide_index=True,
        width="stretch",
        placeholder="–",
    )
    standing = {one.id: one for one in found if one.undone_by is None}
    if not standing:
        return
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    chosen = left.selectbox(
        "Change",
        list(standing),
        format_func=lambda id_: f"{id_}: {standing[id_].what}",
        key=f"undo-change-{max(standing)}",
    )
    if right.button("Undo", key="undo", width="stretch", disabled=not allowed):
        undone = changes.undo(workspace(), dataset.name, chosen)
        stay = f" {undone.kept:,} were decided again since and stay." if undone.kept else ""
        done(f"Undone: {'; '.join(undone.changes)}. {undone.restored:,} labels put back.{stay}")


with error_boundary():
    st.title("Categories")
    st.caption(
        "Give categories other names, merge several into one, or map them to another vocabulary. "
        "Each change is shown before and can be undone after; ids never change."
    )
    if DONE in st.session_state:
        st.success(plain(st.session_state.pop(DONE)))
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        allowed = rights.may(Right.MANAGE)
        if not allowed:
            st.info("Only administrators change categories.")
        rows = changes.listed(workspace(), dataset.name)
        table(rows)
        names = choices(rows)
        one, several, many = st.tabs(["Rename", "Merge", "Map by a table"])
        with one, error_boundary():
            rename(dataset, names, allowed)
        with several, error_boundary():
            merge(dataset, names, allowed)
        with many, error_boundary():
            draw_mapping(dataset, allowed)
        with error_boundary():
            draw_changes(dataset, changes.history(workspace(), dataset.name), allowed)
