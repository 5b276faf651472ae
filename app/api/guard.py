"""What every route does first and last: check the key, turn errors into answers."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.services.access import AccessDenied, Grant
from app.services.workspace import Workspace
from clsl_core.errors import ClslError, DatabaseError, ImageError, InputError, NotFoundError

log = logging.getLogger(__name__)

TOKEN_HEADER = "x-clsl-token"  # noqa: S105 - the name of a header
CLIENT_HEADER = "x-clsl-client"
CLIENT = re.compile(r"[A-Za-z0-9-]{8,64}")

Handler = Callable[[Workspace, Grant, Request], Awaitable[Response]]

_STATUS: list[tuple[type[ClslError], int]] = [
    (AccessDenied, 401),
    (NotFoundError, 404),
    (ImageError, 404),
    (InputError, 400),
    (DatabaseError, 503),  # the client keeps what it sent, and tries again
    (ClslError, 409),
]


def guarded(open_workspace: Callable[[], Workspace], handle: Handler) -> Any:
    """An endpoint that lets in whoever has a key, and answers errors as ``{"error": …}``."""

    async def endpoint(request: Request) -> Response:
        try:
            workspace = open_workspace()
            return await handle(workspace, _grant(workspace, request), request)
        except ClslError as error:
            status = next(code for kind, code in _STATUS if isinstance(error, kind))
            return JSONResponse({"error": str(error)}, status)
        except Exception:
            incident = uuid.uuid4().hex[:8]
            log.exception("request %s failed, incident %s", request.url.path, incident)
            return JSONResponse({"error": f"unexpected error {incident}"}, 500)

    return endpoint


def _grant(workspace: Workspace, request: Request) -> Grant:
    token = request.headers.get(TOKEN_HEADER)
    if token is None and request.method in ("GET", "HEAD"):
        token = request.query_params.get("token")  # an <img> cannot send headers
    grant = workspace.access.check(token or "")
    client = request.headers.get(CLIENT_HEADER, "")
    if client and not CLIENT.fullmatch(client):
        raise InputError(f"{CLIENT_HEADER} must have 8 to 64 letters, digits or hyphens")
    return replace(grant, client=client)
