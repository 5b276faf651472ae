"""What an import would bring, drawn: counts, problems, pictures, categories, and the plan."""

from __future__ import annotations

import json

import altair as alt
import pandas as pd
import streamlit as st

from app.components.quality_charts import show_chart
from app.context import plain
from app.services.importing.plan import ImportPlan
from app.services.importing.preview import ImportPreview, ProblemGroup, Sample
from app.services.importing.report import report_csv, report_json
from clsl_core.types import Severity

IN_CHART = 40
"""Categories that a chart can hold."""
ACROSS = 4


def draw_preview(preview: ImportPreview) -> None:
    """Everything that is known before anything is written."""
    st.subheader("What the file holds")
    st.caption(plain(f"{preview.title}: {preview.reason}"))
    if preview.refusal is not None:
        st.error(plain(f"This file cannot be imported. {preview.refusal}"))
    else:
        _counts(preview)
    _problems(preview)
    _missing(preview)
    if preview.samples:
        _samples(preview.samples)
    if preview.categories:
        _histogram(preview)
    if preview.plan is not None:
        _plan(preview.plan)
    if preview.moves_from is not None:
        st.warning(
            plain(
                f"All pictures of this dataset will be looked for in {preview.image_root}, no "
                f"longer in {preview.moves_from}: those that are only there cannot be reached then."
            )
        )
    _downloads(preview)


def _counts(preview: ImportPreview) -> None:
    shown = {
        "Images": "images",
        "Categories": "categories",
        "Annotations": "annotations",
        "Labels present": "labels present",
        "Labels absent": "labels absent",
    }
    columns = st.columns(len(shown))
    for column, (title, name) in zip(columns, shown.items(), strict=True):
        column.metric(title, f"{preview.counts.get(name, 0):,}")
    if preview.counts.get("proposals"):
        st.caption(
            f"{preview.counts['proposals']:,} labels were made by a model: they become proposals, "
            "to be judged like those of the model trained here."
        )
    if not preview.groups and not preview.missing and not preview.near:
        st.success("Nothing to complain about.")


def _problems(preview: ImportPreview) -> None:
    if not preview.groups:
        return
    total = sum(group.count for group in preview.groups)
    st.markdown(f"**Problems: {total:,} of {len(preview.groups)} kinds**")
    for group in preview.groups:
        _problem(group)


def _problem(group: ProblemGroup) -> None:
    error = group.severity is Severity.ERROR
    icon = ":material/error:" if error else ":material/warning:"
    what = "refuses the file" if error else "is imported all the same"
    title = f"{plain(group.code)}: {group.count:,} ({what})"
    with st.expander(title, icon=icon, expanded=error):
        rows = [{"where": where, "what": message} for where, message in group.examples]
        st.dataframe(rows, hide_index=True, width="stretch")
        if group.count > len(group.examples):
            st.caption(f"The first {len(group.examples)}; the report below lists more.")


def _missing(preview: ImportPreview) -> None:
    if preview.image_root is None:
        if preview.ok:
            st.info("Name the folder of the pictures to see whether they are there.")
        return
    for line in preview.near:
        st.info(plain(line))
    total = sum(preview.missing.values())
    images = preview.counts.get("images", 0)
    if not total:
        st.caption(f"All {images:,} pictures are there.")
        return
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in preview.missing.items())
    later = " Those that are missing can come later." if "missing" in preview.missing else ""
    (st.error if total == images else st.warning)(
        plain(
            f"{total:,} of {images:,} pictures cannot be reached ({reasons}).{later} The others "
            "are used."
        )
    )
    with st.expander("Which, for example"):
        rows = [{"file": name, "what": message} for name, message in preview.missing_examples]
        st.dataframe(rows, hide_index=True, width="stretch")


def _samples(samples: tuple[Sample, ...]) -> None:
    st.markdown("**Some pictures with their labels**")
    for start in range(0, len(samples), ACROSS):
        row = st.columns(ACROSS)
        for column, sample in zip(row, samples[start : start + ACROSS], strict=False):
            with column:
                _sample(sample)


def _sample(sample: Sample) -> None:
    if sample.picture is not None:
        st.image(sample.picture, alt=sample.file_name)
    else:
        st.warning(plain(sample.problem or ""))
    lines = [sample.file_name]
    if sample.present:
        lines.append(f"present: {', '.join(sample.present)}")
    if sample.absent:
        lines.append(f"absent: {', '.join(sample.absent)}")
    if not sample.present and not sample.absent:
        lines.append("no label")
    st.caption("  \n".join(plain(line) for line in lines))


def _histogram(preview: ImportPreview) -> None:
    rows = [
        {"category": share.category, "labels": count, "state": state, "place": place}
        for place, share in enumerate(preview.categories[:IN_CHART])
        for state, count in (("present", share.present), ("absent", share.absent))
        if count or state == "present"
    ]
    data = pd.DataFrame(rows)
    more = len(preview.categories) - IN_CHART
    title = "**Labels by category**" + (f", the first {IN_CHART} of {more + IN_CHART}" * (more > 0))
    st.markdown(title)
    chart = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=alt.X("labels:Q", title="labels", axis=alt.Axis(format=",d", tickMinStep=1)),
            y=alt.Y("category:N", sort=alt.EncodingSortField("place", "min"), title=None),
            color=alt.Color("state:N", title="state"),
            tooltip=["category:N", "state:N", "labels:Q"],
        )
    )
    show_chart(chart, data.drop(columns="place"), "import-categories", "No categories.")


def _plan(plan: ImportPlan) -> None:
    st.subheader("What the import would do")
    name = plain(plan.dataset)
    if plan.questions:
        _questions(plan)
        return
    if plan.new:
        st.write(f"Make the dataset **{name}**.")
    elif plan.changes:
        st.write(f"Add to the dataset **{name}**, and update it.")
    else:
        st.write(f"Nothing: **{name}** already holds everything in this file.")
    rows = [
        {
            "": table,
            "added": plan.added[table],
            "updated": plan.updated[table],
            "taken back": plan.removed.get(table, 0),
            "unchanged": plan.unchanged[table],
            "kept as people decided": plan.kept if table == "labels" else 0,
        }
        for table in plan.added
    ]
    st.dataframe(rows, hide_index=True, width="stretch")
    _changes(plan)
    if plan.kept_examples:
        with st.expander(f"Kept because a person decided: {plan.kept:,}"):
            kept = [
                {
                    "image": one.image,
                    "category": one.category,
                    "the file says": one.in_file,
                    "decided": one.decided,
                }
                for one in plan.kept_examples
            ]
            st.dataframe(kept, hide_index=True, width="stretch")


def _questions(plan: ImportPlan) -> None:
    """Both readings of what cannot be told, side by side."""
    count = len(plan.questions)
    st.error(
        f"Ids and names tell different things in {count:,} places. Say below the dataset's name "
        "which counts; nothing is written before."
    )
    rows = [
        {
            "what": f"{one.kind} {one.source_id}",
            "was": one.before,
            "is": one.now,
            "if ids count": one.by_ids,
            "if names count": one.by_names,
        }
        for one in plan.questions
    ]
    st.dataframe(rows, hide_index=True, width="stretch")


def _changes(plan: ImportPlan) -> None:
    """Every label that would change its word, its picture or its state."""
    for title, changes in (
        ("Categories that are called something else", plan.words),
        ("Images with another file", plan.pictures),
    ):
        if changes:
            with st.expander(f"{title}: {len(changes):,}", expanded=True):
                rows = [
                    {
                        "was": one.before,
                        "is": one.now,
                        "labels": one.labels,
                        "given by people": one.decided,
                    }
                    for one in changes
                ]
                st.dataframe(rows, hide_index=True, width="stretch")
    if plan.states:
        with st.expander(f"Labels that say something else: {len(plan.states):,}"):
            states = [
                {"image": one.image, "category": one.category, "was": one.before, "is": one.now}
                for one in plan.states
            ]
            st.dataframe(states, hide_index=True, width="stretch")


def _downloads(preview: ImportPreview) -> None:
    left, right, _ = st.columns([1, 1, 3])
    left.download_button(
        "Report as JSON",
        lambda: json.dumps(report_json(preview), indent=2),
        "import-report.json",
        "application/json",
        key="import-report-json",
        on_click="ignore",
        icon=":material/download:",
        width="stretch",
    )
    right.download_button(
        "Report as CSV",
        lambda: report_csv(preview),
        "import-report.csv",
        "text/csv",
        key="import-report-csv",
        on_click="ignore",
        icon=":material/download:",
        width="stretch",
    )
