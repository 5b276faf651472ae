"""An annotator's flags and keys."""

from __future__ import annotations

from dataclasses import asdict

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from app.api import requests
from app.services.access.grants import Grant
from app.services.people import preferences as service
from app.services.reviewing import flags
from app.services.workspace import Workspace


async def flag(workspace: Workspace, grant: Grant, given: requests.Flag) -> Response:
    """POST /api/flags: something is odd about an image."""
    receipt = await run_in_threadpool(
        flags.flag,
        workspace,
        grant,
        given.client_id,
        given.image_id,
        category_id=given.category_id,
        comment=given.comment or "",
    )
    return JSONResponse(asdict(receipt))


async def unflag(workspace: Workspace, grant: Grant, given: requests.Unflag) -> Response:
    """POST /api/unflag: the image's flags are settled."""
    receipt = await run_in_threadpool(
        flags.unflag, workspace, grant, given.client_id, given.image_id
    )
    return JSONResponse(asdict(receipt))


async def preferences(workspace: Workspace, grant: Grant, _given: requests.Nothing) -> Response:
    """GET /api/preferences: the annotator's keys, all of them."""
    keys = await run_in_threadpool(service.keys_of, workspace, grant)
    return JSONResponse({"keys": keys})


async def set_preferences(
    workspace: Workspace, grant: Grant, given: requests.Preferences
) -> Response:
    """POST /api/preferences: replace the keys that differ from the defaults."""
    complete = await run_in_threadpool(service.set_keys, workspace, grant, given.keys)
    return JSONResponse({"keys": complete})
