"""HTTP routes under ``/api``: pictures, the queue, verdicts, history, flags, keys; health, metrics.

They trust no one: every call but those for whoever runs the program carries a short-lived signed
key for one annotator on one dataset, pictures are reached by database id only, what is sent is
limited in size and rate, and other sites are refused.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import Route

from app.api import operations
from app.api.guard import Guard
from app.api.openapi import openapi
from app.api.table import OPERATIONS
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
    for one in OPERATIONS:
        found.append(Route(one.path, guard.endpoint(one), methods=[one.method]))
    return found
