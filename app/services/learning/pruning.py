"""Old model runs lose their files: one of 100,000 images and 1,203 categories takes half a GB."""

from __future__ import annotations

import shutil

from app.services.workspace import Workspace
from db.queries import jobs, runs

__all__ = ["prune"]


def prune(workspace: Workspace, dataset_id: int) -> int:
    """Remove the files of old runs, which then can serve no more; their figures and verdicts stay.

    The serving run, a pinned one, the newest ``keep_runs`` and those that a job works on keep
    theirs.

    Returns:
        Of how many runs they were removed.
    """
    keep = workspace.settings.keep_runs
    if keep == 0:
        return 0
    with workspace.database.write(dataset_id) as session:
        old = [
            run
            for run in runs.with_files(session, dataset_id)[keep:]
            if not (run.serving or run.pinned or jobs.is_at_work(session, run))
        ]
        folders = [workspace.data_dir / str(run.directory) for run in old]
        for run in old:
            run.directory = None
    for folder in folders:  # what a kill leaves here, the doctor finds as stray
        shutil.rmtree(folder, ignore_errors=True)
    return len(folders)
