"""HTTP routes under ``/api``: pictures, the queue, verdicts, history, flags, keys; health, metrics.

They trust no one: every call but those for whoever runs the program carries a short-lived signed
key for one annotator on one dataset, pictures are reached by database id only, what is sent is
limited in size and rate, and other sites are refused.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import Route

from app.api import annotator, operations, pictures, verdicts
from app.api.guard import Guard
from app.api.openapi import openapi
from app.services.people import identities
from app.services.workspace import Workspace


def routes(
    open_workspace: Callable[[], Workspace],
    must_sign_in: Callable[[Workspace], bool] = identities.required,
) -> list[Route]:
    """All routes.

    Args:
        open_workspace: Gives the process's workspace; called at the first request.
        must_sign_in: Whether the key of a page counts only for people who sign in.
    """
    guard = Guard(open_workspace, must_sign_in)
    found = [
        Route("/api/health", operations.health),
        Route("/api/ready", operations.ready(open_workspace)),
        Route("/api/openapi.json", openapi),
        Route("/api/metrics", operations.metrics(open_workspace)),
    ]
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
        found.append(Route(path, guard.endpoint(path, handle), methods=[method]))
    return found
