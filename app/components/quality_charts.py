"""The charts of the quality page; the data under each can be taken away as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from app.services.quality.report import QualityReport
from app.services.runtime.legible import legible
from clsl_core.formats.text.table_source import safe_cell

PERCENT = alt.Axis(format="%")
WHOLE = alt.Scale(domain=[0, 1])


def table_of(rows: Sequence[Any]) -> pd.DataFrame:
    """Frozen rows as a table with a column for each field."""
    return pd.DataFrame([asdict(row) for row in rows])


def safe_csv(data: pd.DataFrame) -> str:
    """A table as CSV, with names from files that a spreadsheet would run as formulas disarmed."""
    columns = [safe_cell(str(name)) for name in data.columns]
    texts = data.apply(lambda column: column.map(_disarmed)).set_axis(columns, axis=1)
    return str(texts.to_csv(index=False))


def _disarmed(value: object) -> object:
    return safe_cell(legible(value, 1_000)) if isinstance(value, str) else value


def show_chart(chart: Any, data: pd.DataFrame, name: str, empty: str) -> None:
    """A chart with its data to download, or what is needed before there is one."""
    if data.empty:
        st.caption(empty)
        return
    st.altair_chart(chart, width="stretch")
    st.download_button(
        "Data as CSV",
        safe_csv(data),
        f"{name}.csv",
        "text/csv",
        key=f"csv-{name}",
        on_click="ignore",
        icon=":material/download:",
    )


def labels(report: QualityReport) -> None:
    """Labels by state and source, a bar for each category."""
    data = table_of(report.labels)
    if not data.empty:
        data["kind"] = data["state"] + ", " + data["source"]
    chart = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=alt.X("labels:Q", title="labels"),
            y=alt.Y("category:N", sort="-x", title=None),
            color=alt.Color("kind:N", title="state, source"),
            tooltip=["category:N", "state:N", "source:N", "labels:Q"],
        )
    )
    show_chart(chart, data, "labels", "No labels yet.")


def acceptance(report: QualityReport) -> None:
    """Share of proposals that people accepted, by category and run."""
    data = table_of(report.acceptance)
    chart = (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=alt.X("run:O", title="model run"),
            y=alt.Y("category:N", title=None),
            color=alt.Color(
                "share:Q", title="accepted", scale=WHOLE, legend=alt.Legend(format="%")
            ),
            tooltip=[
                "category:N",
                "run:O",
                "verdicts:Q",
                *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("share", "low", "high")),
            ],
        )
    )
    show_chart(chart, data, "acceptance", "No verdicts on proposals yet.")


def agreement(report: QualityReport) -> None:
    """Agreement over consecutive verdicts, with its interval."""
    data = table_of(report.agreement)
    base = alt.Chart(data).encode(x=alt.X("verdict:Q", title="verdicts given"))
    band = base.mark_errorbar().encode(y=alt.Y("low:Q", title="agreed", axis=PERCENT), y2="high:Q")
    line = base.mark_line(point=True).encode(
        y=alt.Y("share:Q", scale=WHOLE, axis=PERCENT),
        tooltip=["verdict:Q", "until:T", "verdicts:Q", alt.Tooltip("share:Q", format=".1%")],
    )
    show_chart(band + line, data, "agreement", "No verdicts on proposals yet.")


def learning(report: QualityReport) -> None:
    """Held-out average precision of each run."""
    data = table_of(report.learning)
    chart = (
        alt.Chart(data)
        .mark_line(point=True)
        .encode(
            x=alt.X("known_labels:Q", title="known labels", scale=alt.Scale(zero=False)),
            y=alt.Y("held_out_ap:Q", title="held-out average precision", scale=WHOLE),
            order="run:O",
            tooltip=[
                "run:O",
                "begun:T",
                "known_labels:Q",
                alt.Tooltip("held_out_ap:Q", format=".3f"),
            ],
        )
    )
    show_chart(chart, data, "learning", "No training with held-out labels yet.")


def effort(report: QualityReport) -> None:
    """Verdicts for each recovered positive."""
    data = table_of([row for row in report.effort if row.verdicts])
    chart = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=alt.X("per_positive:Q", title="verdicts for each recovered positive"),
            y=alt.Y("arm:N", title=None, axis=alt.Axis(labelLimit=240)),
            tooltip=[
                "arm:N",
                "verdicts:Q",
                "recovered:Q",
                alt.Tooltip("per_positive:Q", format=".1f"),
            ],
        )
    )
    show_chart(chart, data, "effort", "No verdicts on proposals yet.")


def reliability(report: QualityReport) -> None:
    """Stated probability against what people said."""
    data = table_of(report.reliability)
    line = alt.Chart(pd.DataFrame({"x": [0, 1]})).mark_line(strokeDash=[4, 4], color="grey")
    base = alt.Chart(data).encode(x=alt.X("stated:Q", scale=WHOLE, axis=PERCENT))
    bars = base.mark_errorbar().encode(
        y=alt.Y("share_low:Q", title="people agreed", axis=PERCENT), y2="share_high:Q"
    )
    dots = base.mark_point(filled=True).encode(
        y=alt.Y("share:Q", scale=WHOLE, axis=PERCENT),
        size=alt.Size("count:Q", title="verdicts"),
        tooltip=["count:Q", *(alt.Tooltip(f"{n}:Q", format=".1%") for n in ("stated", "share"))],
    )
    chart = line.encode(x=alt.X("x:Q", title="stated probability"), y="x:Q") + bars + dots
    show_chart(chart, data, "reliability", "No verdicts on proposals with a probability yet.")


def together(report: QualityReport) -> None:
    """Which categories share images."""
    data = table_of(report.together)
    names = list(dict.fromkeys(row.given for row in report.together))
    chart = (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=alt.X("category:N", sort=names, title="… carry this too"),
            y=alt.Y("given:N", sort=names, title="of the images with …"),
            color=alt.Color("share:Q", scale=WHOLE, legend=alt.Legend(format="%"), title="share"),
            tooltip=["given:N", "category:N", "images:Q", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    show_chart(chart, data, "together", "No positives yet.")
