"""Two model runs side by side: facts, figures, settings and curves."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from app.context import plain
from app.services.learning.model_runs import Comparison, Difference, ModelRunView

CURVES = {
    "loss": "Loss in training",
    "held_out_loss": "Log loss on held-out labels",
    "held_out_ap": "Average precision on held-out labels",
}


def facts(run: ModelRunView) -> dict[str, str]:
    """What a run was made from and with, in words."""
    return {
        "State": run.state,
        "Begun": f"{run.created_at:%Y-%m-%d %H:%M} UTC",
        "Started by": run.trigger,
        "New verdicts": f"{run.new_decisions:,}",
        "Verdicts in all": "unknown" if run.decisions is None else f"{run.decisions:,}",
        "Newest verdict": f"no. {run.last_decision}" if run.last_decision else "none",
        "Images": "unknown" if run.images is None else f"{run.images:,}",
        "Known labels": f"{run.known_present:,} present, {run.known_absent:,} absent",
        "Started from run": "none" if run.parent is None else str(run.parent),
        "Features": run.backbone,
        "Duration": "unknown" if run.seconds is None else f"{run.seconds:,.1f} s",
        "Device": run.device or "unknown",
        "Peak memory": memory(run.peak_memory),
        "Peak GPU memory": memory(run.peak_gpu_memory),
        "Seed": str(run.seed),
        "Program version": run.code_version,
        "Checksum (sha256)": run.checksum or "none",
    }


def memory(size: int | None) -> str:
    """Bytes as MB."""
    return "not measured" if size is None else f"{size / 1e6:,.0f} MB"


def draw_facts(runs: list[ModelRunView]) -> None:
    """The facts of some runs, one column each."""
    columns = {f"run {run.id}": facts(run) for run in runs}
    st.dataframe(pd.DataFrame(columns), width="stretch", placeholder="–")


def draw_curves(runs: list[ModelRunView], key: str) -> None:
    """The curves of some runs over the epochs, in one chart for each measure."""
    rows = [
        {"run": f"run {run.id}", "epoch": point["epoch"], "measure": title, "value": point[name]}
        for run in runs
        for point in run.curves
        for name, title in CURVES.items()
        if name in point
    ]
    if not rows:
        st.caption("No curves: nothing was trained step by step.")
        return
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            color=alt.Color("run:N", title=None),
            strokeDash=alt.StrokeDash("run:N", title=None),
            tooltip=["run", "measure", "epoch", alt.Tooltip("value:Q", format=".4f")],
        )
        .properties(width=260, height=180)
        .facet(column=alt.Column("measure:N", title=None, sort=list(CURVES.values())))
        .resolve_scale(y="independent")
    )
    st.altair_chart(chart, key=key)


def draw_comparison(found: Comparison) -> None:
    """Both runs, and what the paired comparison says."""
    st.markdown(
        plain(
            f"Run {found.second.id} as the newer one, on labels that neither had learned from: "
            f"{found.paired.reason}"
        )
    )
    draw_facts([found.first, found.second])
    draw_curves([found.first, found.second], key="curves-compared")
    left, right = st.columns(2)
    with left:
        st.caption("Figures of each run on what it held out itself")
        _table(found.metrics, found)
    with right:
        if found.config:
            st.caption("Settings in which they differ")
            _table(found.config, found)
        else:
            st.caption("All settings are the same.")


def _table(rows: tuple[Difference, ...], found: Comparison) -> None:
    names = [f"run {found.first.id}", f"run {found.second.id}"]
    values = [[_cell(row.first), _cell(row.second)] for row in rows]
    index = [row.name for row in rows]
    st.dataframe(pd.DataFrame(values, index=index, columns=names), width="stretch", placeholder="–")


def _cell(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
