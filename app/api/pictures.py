"""Pictures, heat maps, and what the source file says about a picture."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from app.api import requests
from app.services.access.grants import Grant
from app.services.pictures import boxes as picture_facts
from app.services.pictures import rendering
from app.services.pictures.rendering import Picture
from app.services.workspace import Workspace

AT_ONCE = 8
"""Pictures made at the same time: those that wait for memory must not keep verdicts waiting."""
_drawing = anyio.CapacityLimiter(AT_ONCE)


async def image(workspace: Workspace, grant: Grant, given: requests.Picture) -> Response:
    """GET /api/images/ID: one picture as WebP."""
    make = partial(rendering.thumbnail, workspace, grant, given.image_id, given.size)
    picture = await anyio.to_thread.run_sync(make, limiter=_drawing)
    return _picture(picture)


async def heatmap(workspace: Workspace, grant: Grant, given: requests.Heatmap) -> Response:
    """GET /api/heatmaps/ID: where the model looked."""
    picture = await run_in_threadpool(rendering.heatmap, workspace, grant, given.proposal_id)
    return _picture(picture)


async def boxes(workspace: Workspace, grant: Grant, given: requests.Boxes) -> Response:
    """GET /api/boxes/ID: the source file's boxes of one picture."""
    found = await run_in_threadpool(picture_facts.boxes, workspace, grant, given.image_id)
    return JSONResponse(asdict(found))


async def categories(workspace: Workspace, grant: Grant, _given: requests.Nothing) -> Response:
    """GET /api/categories: every category of the dataset."""
    found = await run_in_threadpool(picture_facts.categories, workspace, grant)
    return JSONResponse({"categories": [asdict(category) for category in found]})


def _picture(picture: Picture) -> Response:
    headers = {"ETag": picture.etag, "Cache-Control": "private, max-age=3600"}
    return Response(picture.content, media_type=picture.media_type, headers=headers)
