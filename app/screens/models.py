"""Every training, what came of it, which one serves, and when the next one starts."""

import streamlit as st

from app.components.progress import live_jobs
from app.components.run_actions import run_actions
from app.components.run_comparison import draw_comparison, draw_curves, draw_facts
from app.components.run_findings import draw_findings
from app.context import current_dataset, error_boundary, plain, workspace
from app.services.datasets import overview
from app.services.datasets.overview import DatasetView
from app.services.learning import model_runs, triggers
from app.services.learning.model_runs import ModelRunView
from clsl_core.errors import InputError


def controls(dataset: DatasetView, busy: bool) -> None:
    """Train now, and when to train without being asked."""
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        st.subheader("Train now")
        st.write("Reads new pictures first, then trains on all that is known, then proposes.")
        waits = triggers.waits(workspace(), dataset.id)
        label = "Train once more after this" if busy and not waits else "Train now"
        if st.button(label, type="primary", disabled=waits, key="train-now"):
            triggers.start(workspace(), dataset.id)
            st.rerun()
        if waits:
            st.caption("A training waits or begins: it takes in all that is decided until then.")
    with right.container(border=True, height="stretch"):
        st.subheader("Train by itself")
        after_decisions(dataset)
        at_set_times(dataset)


def after_decisions(dataset: DatasetView) -> None:
    """How many decisions start a training."""
    wanted = st.number_input(
        "Decisions that start a retraining (0 turns it off)",
        min_value=0,
        max_value=1_000_000,
        value=dataset.retrain_after,
        step=10,
        key=f"retrain-after-{dataset.id}",
    )
    if int(wanted) != dataset.retrain_after:
        overview.set_retrain_after(workspace(), dataset.name, int(wanted))
        st.rerun()
    since = f"{dataset.decisions_since_training} decisions since the last training"
    st.caption(since + (f" of {wanted} needed" if wanted else ""))


def at_set_times(dataset: DatasetView) -> None:
    """The cron expression."""
    wanted = st.text_input(
        "Set times (cron expression, local time of the computer that runs this)",
        value=dataset.schedule or "",
        placeholder="0 3 * * * is every night at three",
        key=f"schedule-{dataset.id}",
    )
    try:
        if wanted != (dataset.schedule or ""):
            triggers.set_schedule(workspace(), dataset.name, wanted)
        words = triggers.schedule_in_words(wanted) if wanted.strip() else "At no set times"
    except InputError as error:
        st.error(plain(str(error)))
    else:
        st.caption(plain(f"{words}."))


def runs_table(runs: list[ModelRunView]) -> None:
    """All runs, newest first."""
    st.dataframe(
        [
            {
                "run": run.id,
                "state": run.state,
                "started by": run.trigger,
                "new verdicts": run.new_decisions,
                "against serving": difference(run),
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
            "against serving": st.column_config.NumberColumn(
                format="%+.1f",
                help="Points of mean average precision, against the run that served then, on "
                "labels that neither had learned from. Empty where too few could be compared.",
            ),
            "held-out AP": st.column_config.NumberColumn(
                format="%.3f",
                help="Average precision on known labels that this training held out. Two runs "
                "hold out different labels as more become known: compare by the column before.",
            ),
            "seconds": st.column_config.NumberColumn(format="%.1f"),
        },
    )


def difference(run: ModelRunView) -> float | None:
    """Points of mean average precision against the run that served before."""
    found = (run.gate or {}).get("difference")
    return None if found is None else 100 * float(found)


def details(dataset: DatasetView, runs: list[ModelRunView], busy: bool) -> None:
    """One run: what was said of it, what can be done with it, its facts and curves."""
    chosen = st.selectbox("Look at run", [run.id for run in runs], key="look-at-run")
    run = next(run for run in runs if run.id == chosen)
    if run.error:
        st.error(plain(run.error))
    if run.gate:
        mended = " A person let it serve all the same." if run.gate.get("overridden") else ""
        st.info(plain(f"{run.gate['reason']}{mended}"), icon=":material/balance:")
    draw_findings(run)
    run_actions(dataset.id, run, any(one.pinned for one in runs), busy)
    draw_facts([run])
    draw_curves([run], key="curves-of-one")
    left, right = st.columns(2)
    left.write("Metrics")
    left.json(run.metrics, expanded=False)
    right.write("Configuration")
    right.json({"seed": run.seed, **run.config}, expanded=False)


def comparison(dataset: DatasetView, runs: list[ModelRunView]) -> None:
    """Two runs side by side."""
    ready = [run.id for run in runs if run.status == "ready"]
    if len(ready) < 2:
        st.caption("Two runs that have finished can be compared here.")
        return
    left, right = st.columns(2)
    first = left.selectbox("Run", ready, index=1, key="compare-first")
    second = right.selectbox("with run", ready, index=0, key="compare-second")
    if first == second:
        st.caption("Choose two different runs.")
        return
    with st.spinner("Comparing", show_time=False):
        found = model_runs.compare(workspace(), dataset.id, first, second)
    draw_comparison(found)


with error_boundary():
    st.title("Models")
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        busy = live_jobs(dataset.id, key="models")
        controls(dataset, busy)
        found = model_runs.all_runs(workspace(), dataset.name)
        if found:
            runs_table(found)
            one, two = st.tabs(
                ["One run", "Two runs side by side"], on_change="rerun", key="runs-shown"
            )
            with one:
                details(dataset, found, busy)
            with two:
                if two.open:
                    comparison(dataset, found)
        else:
            st.info("No training yet.")
