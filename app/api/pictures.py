"""Pictures, heat maps, and what the source file says about a picture."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api import reading
from app.services.access.grants import Grant
from app.services.pictures import boxes as picture_facts
from app.services.pictures import rendering as pictures
from app.services.pictures.rendering import Picture
from app.services.workspace import Workspace

AT_ONCE = 8
"""Pictures made at the same time: those that wait for memory must not keep verdicts waiting."""
_drawing = anyio.CapacityLimiter(AT_ONCE)


async def image(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """GET /api/images/ID: one picture as WebP."""
    size = reading.integer(request.query_params.get("size", "960"), "size")
    image_id = reading.row(request, "image_id")
    make = partial(pictures.thumbnail, workspace, grant, image_id, size)
    picture = await anyio.to_thread.run_sync(make, limiter=_drawing)
    return _picture(request, picture)


async def heatmap(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """GET /api/heatmaps/ID: where the model looked."""
    proposal_id = reading.row(request, "proposal_id")
    picture = await run_in_threadpool(pictures.heatmap, workspace, grant, proposal_id)
    return _picture(request, picture)


async def boxes(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """GET /api/boxes/ID: the source file's boxes of one picture."""
    image_id = reading.row(request, "image_id")
    found = await run_in_threadpool(picture_facts.boxes, workspace, grant, image_id)
    return JSONResponse(asdict(found))


async def categories(workspace: Workspace, grant: Grant, _request: Request) -> Response:
    """GET /api/categories: every category of the dataset."""
    found = await run_in_threadpool(picture_facts.categories, workspace, grant)
    return JSONResponse({"categories": [asdict(category) for category in found]})


def _picture(request: Request, picture: Picture) -> Response:
    headers = {
        "ETag": picture.etag,
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == picture.etag:
        return Response(status_code=304, headers=headers)
    return Response(picture.content, media_type=picture.media_type, headers=headers)
