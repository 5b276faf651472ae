"""An annotator's flags and keys."""

from __future__ import annotations

from dataclasses import asdict

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api import reading
from app.services.access.grants import Grant
from app.services.people import preferences as service
from app.services.reviewing import flags
from app.services.workspace import Workspace
from clsl_core.errors import InputError


async def flag(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """POST /api/flags: something is odd about an image."""
    body = await reading.body(request)
    receipt = await run_in_threadpool(
        flags.flag,
        workspace,
        grant,
        reading.text(body.get("client_id"), "client_id"),
        reading.integer(body.get("image_id"), "image_id"),
        category_id=reading.optional_integer(body.get("category_id"), "category_id"),
        comment=reading.optional_text(body.get("comment"), "comment") or "",
    )
    return JSONResponse(asdict(receipt))


async def unflag(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """POST /api/unflag: the image's flags are settled."""
    body = await reading.body(request)
    client_id = reading.text(body.get("client_id"), "client_id")
    image_id = reading.integer(body.get("image_id"), "image_id")
    receipt = await run_in_threadpool(flags.unflag, workspace, grant, client_id, image_id)
    return JSONResponse(asdict(receipt))


async def preferences(workspace: Workspace, grant: Grant, _request: Request) -> Response:
    """GET /api/preferences: the annotator's keys, all of them."""
    keys = await run_in_threadpool(service.keys_of, workspace, grant)
    return JSONResponse({"keys": keys})


async def set_preferences(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """POST /api/preferences: replace the keys that differ from the defaults."""
    keys = (await reading.body(request)).get("keys")
    if not isinstance(keys, dict):
        raise InputError("the body must hold an object called keys")
    complete = await run_in_threadpool(service.set_keys, workspace, grant, keys)
    return JSONResponse({"keys": complete})
