"""Background work: what runs, what waits, what became of the rest."""

import streamlit as st

from app.components.progress import live_jobs
from app.context import error_boundary, workspace
from app.services.jobs import keeper

with error_boundary():
    st.title("Jobs")
    if not keeper.is_running(workspace().settings):
        st.warning(
            "No worker is running: jobs wait. The app starts one by itself within a few seconds; "
            "by hand it is `clsl worker`."
        )
    if not live_jobs(key="jobs"):
        st.success("Nothing is running or waiting.")
    st.dataframe(
        [
            {
                "job": job.id,
                "what": job.kind.value,
                "dataset": job.dataset,
                "status": job.status.value,
                "done": job.fraction,
                "message": job.error or job.message,
                "attempts": job.attempts,
                "begun": job.started_at,
                "ended": job.finished_at,
            }
            for job in workspace().jobs.recent(200)
        ],
        hide_index=True,
        width="stretch",
        column_config={
            "done": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
        },
    )
