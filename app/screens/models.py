"""Every training, what came of it, and when the next one starts."""

import pandas as pd
import streamlit as st

from app.components.progress import live_jobs
from app.context import current_dataset, error_boundary, plain, workspace
from app.services import learning, model_runs, views
from app.services.model_runs import ModelRunView
from app.services.views import DatasetView


def controls(dataset: DatasetView, busy: bool) -> None:
    """Train now, and when to train without being asked."""
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        st.subheader("Train now")
        st.write("Reads new pictures first, then trains on all that is known, then proposes.")
        if st.button("Train now", type="primary", disabled=busy, key="train-now"):
            learning.start(workspace(), dataset.id)
            st.rerun()
    with right.container(border=True, height="stretch"):
        st.subheader("Train by itself")
        wanted = st.number_input(
            "Decisions that start a retraining (0 turns it off)",
            min_value=0,
            max_value=1_000_000,
            value=dataset.retrain_after,
            step=10,
            key=f"retrain-after-{dataset.id}",
        )
        if int(wanted) != dataset.retrain_after:
            views.set_retrain_after(workspace(), dataset.name, int(wanted))
            st.rerun()
        since = f"{dataset.decisions_since_training} decisions since the last training"
        st.caption(since + (f" of {wanted} needed" if wanted else ""))


def runs_table(runs: list[ModelRunView]) -> None:
    """All runs, newest first."""
    st.dataframe(
        [
            {
                "run": run.id,
                "in use": run.serving,
                "status": run.status,
                "started by": run.trigger,
                "new decisions": run.new_decisions,
                "known present": run.known_present,
                "known absent": run.known_absent,
                "held-out AP": run.metrics.get("held_out_ap", {}).get("blend"),
                "seconds": run.seconds,
                "features": run.backbone,
                "device": run.device,
                "begun": run.created_at,
            }
            for run in runs
        ],
        hide_index=True,
        width="stretch",
        column_config={
            "held-out AP": st.column_config.NumberColumn(
                format="%.3f",
                help="Mean average precision on known labels that training did not see.",
            ),
            "seconds": st.column_config.NumberColumn(format="%.1f"),
        },
    )


def details(runs: list[ModelRunView]) -> None:
    """One run: its curves, metrics and configuration."""
    chosen = st.selectbox("Look at run", [run.id for run in runs], key="look-at-run")
    run = next(run for run in runs if run.id == chosen)
    if run.error:
        st.error(plain(run.error))
    curves = pd.DataFrame(run.curves)
    losses = [name for name in curves.columns if "loss" in str(name)]
    if losses and "epoch" in curves:
        st.line_chart(curves, x="epoch", y=losses, height=260)
    left, right = st.columns(2)
    left.write("Metrics")
    left.json(run.metrics, expanded=True)
    right.write("Configuration")
    right.json({"seed": run.seed, "version": run.code_version, **run.config}, expanded=False)


with error_boundary():
    st.title("Models")
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        controls(dataset, live_jobs(dataset.id, key="models"))
        found = model_runs.all_runs(workspace(), dataset.name)
        if found:
            runs_table(found)
            details(found)
        else:
            st.info("No training yet.")
