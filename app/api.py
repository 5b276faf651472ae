"""HTTP routes under ``/api``: pictures, the queue, decisions, health.

They trust no one: every call but ``/api/health`` carries a short-lived signed key for one
annotator on one dataset, pictures are reached by database id only, bodies are limited.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.services import pictures, review
from app.services.access import AccessDenied, Grant
from app.services.pictures import Picture
from app.services.workspace import Workspace
from clsl_core.errors import ClslError, ImageError, InputError, NotFoundError

log = logging.getLogger(__name__)

MAX_BODY = 256 * 1024
TOKEN_HEADER = "x-clsl-token"  # noqa: S105 - the name of a header

_STATUS: list[tuple[type[ClslError], int]] = [
    (AccessDenied, 401),
    (NotFoundError, 404),
    (ImageError, 404),
    (InputError, 400),
    (ClslError, 409),
]


def routes(open_workspace: Callable[[], Workspace]) -> list[Route]:
    """All routes.

    Args:
        open_workspace: Gives the process's workspace; called at the first request.
    """

    def guarded(handle: Callable[[Workspace, Grant, Request], Awaitable[Response]]) -> Any:
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

    return [
        Route("/api/health", _health),
        Route("/api/queue", guarded(_queue)),
        Route("/api/decisions", guarded(_decisions), methods=["POST"]),
        Route("/api/undo", guarded(_undo), methods=["POST"]),
        Route("/api/images/{image_id:int}", guarded(_image)),
        Route("/api/heatmaps/{proposal_id:int}", guarded(_heatmap)),
    ]


def _grant(workspace: Workspace, request: Request) -> Grant:
    token = request.headers.get(TOKEN_HEADER)
    if token is None and request.method in ("GET", "HEAD"):
        token = request.query_params.get("token")  # an <img> cannot send headers
    return workspace.access.check(token or "")


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _queue(workspace: Workspace, grant: Grant, request: Request) -> Response:
    query = request.query_params
    category = query.get("category")
    page = await run_in_threadpool(
        review.next_cards,
        workspace,
        grant,
        query.get("strategy", "likely"),
        category_id=_integer(category, "category") if category else None,
        limit=max(1, _integer(query.get("limit", "20"), "limit")),
        exclude=_integers(query.get("exclude", ""), "exclude"),
    )
    return JSONResponse(page.to_json())


async def _decisions(workspace: Workspace, grant: Grant, request: Request) -> Response:
    body = await _body(request)
    items = body.get("decisions")
    if not isinstance(items, list):
        raise InputError("the body must hold a list called decisions")
    answers = [_answer(item, index) for index, item in enumerate(items)]
    receipts = await run_in_threadpool(review.decide, workspace, grant, answers)
    fields = ("client_id", "status", "message")
    results = [{key: getattr(receipt, key) for key in fields} for receipt in receipts]
    return JSONResponse({"results": results})


async def _undo(workspace: Workspace, grant: Grant, request: Request) -> Response:
    body = await _body(request)
    client_id, undoes = body.get("client_id"), body.get("undoes")
    if not isinstance(client_id, str) or not isinstance(undoes, str):
        raise InputError("the body must hold the texts client_id and undoes")
    receipt = await run_in_threadpool(review.undo, workspace, grant, client_id, undoes)
    return JSONResponse(asdict(receipt))


async def _image(workspace: Workspace, grant: Grant, request: Request) -> Response:
    size = _integer(request.query_params.get("size", "960"), "size")
    image_id: int = request.path_params["image_id"]
    picture = await run_in_threadpool(pictures.thumbnail, workspace, grant, image_id, size)
    return _picture(request, picture)


async def _heatmap(workspace: Workspace, grant: Grant, request: Request) -> Response:
    proposal_id: int = request.path_params["proposal_id"]
    picture = await run_in_threadpool(pictures.heatmap, workspace, grant, proposal_id)
    return _picture(request, picture)


def _picture(request: Request, picture: Picture) -> Response:
    headers = {
        "ETag": picture.etag,
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == picture.etag:
        return Response(status_code=304, headers=headers)
    return Response(picture.content, media_type=picture.media_type, headers=headers)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request, read up to MAX_BODY bytes."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise InputError(f"the request is larger than {MAX_BODY} bytes")
    try:
        body = json.loads(bytes(content))
    except (ValueError, RecursionError) as error:
        raise InputError("the body is not JSON") from error
    if not isinstance(body, dict):
        raise InputError("the body must be a JSON object")
    return body


def _answer(item: object, index: int) -> review.Answer:
    where = f"decisions[{index}]"
    if not isinstance(item, dict):
        raise InputError(f"{where} must be an object")
    client_id, verdict = item.get("client_id"), item.get("verdict")
    if not isinstance(client_id, str) or not isinstance(verdict, str):
        raise InputError(f"{where} must hold the texts client_id and verdict")
    proposal = item.get("proposal_id")
    seconds = item.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | None):
        raise InputError(f"{where}.seconds must be a number")
    return review.Answer(
        client_id=client_id,
        image_id=_integer(item.get("image_id"), f"{where}.image_id"),
        category_id=_integer(item.get("category_id"), f"{where}.category_id"),
        verdict=verdict,
        proposal_id=None if proposal is None else _integer(proposal, f"{where}.proposal_id"),
        seconds=None if seconds is None else min(max(float(seconds), 0.0), 86_400.0),
    )


def _integers(text: str, name: str) -> list[int]:
    return [_integer(part, name) for part in text.split(",") if part][:500]


def _integer(value: object, name: str) -> int:
    """A whole number that a database can hold.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, str) and value.strip().lstrip("-").isascii():
        try:
            value = int(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise InputError(f"{name} must be a whole number")
    return value
