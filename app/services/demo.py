"""The demo: a drawn collection with most labels hidden, and the loop set going on it."""

from __future__ import annotations

from dataclasses import asdict

from app.services.importing import ingest
from app.services.jobs.table import JobContext, JobView
from app.services.workspace import Workspace
from clsl_core.demo.collection import draw_demo
from clsl_core.errors import ConflictError
from clsl_core.types import JsonObject, Progress, no_progress
from db.models import Dataset, JobKind
from db.queries import datasets, stored

NAME = "demo"
IMAGES = 300


def create_demo(workspace: Workspace, progress: Progress = no_progress) -> ingest.ImportResult:
    """Draw the demo's pictures and import them with the builtin backbone chosen."""
    files = draw_demo(workspace.data_dir / "demo", images=IMAGES, progress=progress)
    request = ingest.ImportRequest(str(files.instances), str(files.images), NAME)
    result = ingest.import_file(workspace, request, progress)
    with workspace.database.write(result.dataset_id) as session:
        stored.one(session, Dataset, result.dataset_id).backbone = "builtin"
    return result


def run_demo(workspace: Workspace, context: JobContext) -> JsonObject:
    """Job handler of JobKind.DEMO."""
    result = create_demo(workspace, context.progress)
    return {**asdict(result), "message": result.message}


def start_demo(workspace: Workspace) -> JobView:
    """Set the demo going in the background: draw, import, embed, train, propose.

    Raises:
        ConflictError: The demo is there already.
    """
    with workspace.database.read() as session:
        if datasets.by_name(session, NAME) is not None:
            raise ConflictError(f"there is a dataset called {NAME!r} already: open it")
    then = [JobKind.EMBED.value, JobKind.TRAIN.value, JobKind.PROPOSE.value]
    return workspace.jobs.submit(JobKind.DEMO, None, {"trigger": "demo", "then": then})
