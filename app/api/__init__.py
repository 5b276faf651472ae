"""HTTP routes under ``/api``: pictures, the queue, verdicts, history, flags, keys, health.

They trust no one: every call but ``/api/health`` carries a short-lived signed key for one
annotator on one dataset, pictures are reached by database id only, bodies are limited.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api import annotator, pictures, verdicts
from app.api.guard import guarded
from app.services.workspace import Workspace


def routes(open_workspace: Callable[[], Workspace]) -> list[Route]:
    """All routes.

    Args:
        open_workspace: Gives the process's workspace; called at the first request.
    """
    found = [Route("/api/health", _health)]
    for path, method, handle in (
        ("/api/queue", "GET", verdicts.queue),
        ("/api/leases", "POST", verdicts.leases),
        ("/api/decisions", "POST", verdicts.decisions),
        ("/api/absent", "POST", verdicts.absent),
        ("/api/undo", "POST", verdicts.undo),
        ("/api/redo", "POST", verdicts.redo),
        ("/api/history", "GET", verdicts.history),
        ("/api/flags", "POST", annotator.flag),
        ("/api/unflag", "POST", annotator.unflag),
        ("/api/preferences", "GET", annotator.preferences),
        ("/api/preferences", "POST", annotator.set_preferences),
        ("/api/categories", "GET", pictures.categories),
        ("/api/images/{image_id:int}", "GET", pictures.image),
        ("/api/boxes/{image_id:int}", "GET", pictures.boxes),
        ("/api/heatmaps/{proposal_id:int}", "GET", pictures.heatmap),
    ):
        found.append(Route(path, guarded(open_workspace, handle), methods=[method]))
    return found


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})
