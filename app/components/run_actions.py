"""What a person can do with one model run; what cannot be taken back is asked twice."""

from __future__ import annotations

import streamlit as st

from app.context import workspace
from app.services.learning import model_runs
from app.services.learning.model_runs import ModelRunView


def run_actions(dataset_id: int, run: ModelRunView, pinned: bool, busy: bool) -> None:
    """Buttons: pin or unpin, put in charge, delete.

    Args:
        dataset_id: The dataset.
        run: The run.
        pinned: Whether any run of the dataset is pinned.
        busy: Whether a job works on the dataset.
    """
    with st.container(horizontal=True):
        if run.serving:
            _pin(dataset_id, run)
        elif run.status == "ready" and not run.pruned:
            _put_in_charge(dataset_id, run, pinned)
        if not run.serving:
            _delete(dataset_id, run, busy)


def _pin(dataset_id: int, run: ModelRunView) -> None:
    if run.pinned:
        if st.button("Unpin", key=f"unpin-{run.id}", help="Let later runs take over again."):
            model_runs.unpin(workspace(), dataset_id, run.id)
            st.rerun()
    elif st.button("Pin", key=f"pin-{run.id}", help="Keep it in charge until it is unpinned."):
        model_runs.pin(workspace(), dataset_id, run.id)
        st.rerun()


def _put_in_charge(dataset_id: int, run: ModelRunView, pinned: bool) -> None:
    kept = run.gate is not None and run.gate["decision"] == "keep"
    title = "Serve anyway" if kept else "Roll back to it" if run.gate else "Serve"
    with st.popover(title, disabled=pinned, key=f"serve-menu-{run.id}"):
        st.write(
            f"Run {run.id} proposes anew for what is unknown now; then people see its proposals "
            "in place of those they see today. Verdicts stay as they are."
        )
        if st.button(f"Yes, let run {run.id} serve", key=f"serve-{run.id}", type="primary"):
            model_runs.put_in_charge(workspace(), dataset_id, run.id)
            st.rerun()


def _delete(dataset_id: int, run: ModelRunView, busy: bool) -> None:
    with st.popover("Delete", key=f"delete-menu-{run.id}"):
        st.write(
            f"Run {run.id} goes with its proposals, figures and files, for good. Verdicts and "
            "labels stay; those given on its proposals no longer say which run made them."
        )
        if busy:
            st.caption("A job works on this dataset: what it works on cannot be deleted.")
        if st.button(f"Yes, delete run {run.id}", key=f"delete-{run.id}"):
            model_runs.delete(workspace(), dataset_id, run.id)
            st.rerun()
