"""The queue, and what people answer."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api import operations, reading
from app.services.access.grants import Grant
from app.services.reviewing import queue as review_queue
from app.services.reviewing import undo as undoing
from app.services.reviewing import verdicts as review
from app.services.reviewing.history import history as read_history
from app.services.reviewing.queue import QueueQuery
from app.services.reviewing.verdicts import Answer, Receipt
from app.services.workspace import Workspace
from clsl_core.errors import InputError

AT_ONCE = 1
"""Pages of cards made at the same time. Windows ask for more long before they show the last, and
whoever has given a verdict waits: so pages queue, and verdicts go past them."""
_making = anyio.CapacityLimiter(AT_ONCE)


async def queue(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """GET /api/queue: the next cards."""
    given = request.query_params
    query = QueueQuery(
        strategy=reading.text(given.get("strategy", "likely"), "strategy"),
        category_id=reading.optional_integer(given.get("category"), "category"),
        state=reading.optional_text(given.get("state"), "state"),
        lowest=reading.optional_number(given.get("min"), "min"),
        highest=reading.optional_number(given.get("max"), "max"),
        split=reading.optional_text(given.get("split"), "split"),
        text=reading.optional_text(given.get("text"), "text"),
        anchor=reading.optional_integer(given.get("anchor"), "anchor"),
        limit=reading.integer(given.get("limit", "20"), "limit"),
        after=reading.optional_text(given.get("after"), "after"),
        siblings=given.get("siblings") == "1",
    )
    make = partial(review_queue.next_cards, workspace, grant, query)
    page = await anyio.to_thread.run_sync(make, limiter=_making)
    return JSONResponse(page.to_json())


async def leases(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """POST /api/leases: keep cards, or give all of them back."""
    body = await reading.body(request)
    if body.get("release") is True:
        await run_in_threadpool(review_queue.release_leases, workspace, grant)
        return JSONResponse({"lost": []})
    ids = body.get("proposals")
    if not isinstance(ids, list):
        raise InputError("the body must hold a list called proposals, or release: true")
    wanted = [reading.integer(id_, f"proposals[{index}]") for index, id_ in enumerate(ids)]
    lost = await run_in_threadpool(review_queue.renew_leases, workspace, grant, wanted)
    return JSONResponse({"lost": lost})


async def decisions(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """POST /api/decisions: verdicts, as a batch when a batch_id is given."""
    body = await reading.body(request)
    items = body.get("decisions")
    if not isinstance(items, list):
        raise InputError("the body must hold a list called decisions")
    answers = [_answer(item, index) for index, item in enumerate(items)]
    batch_id = reading.optional_text(body.get("batch_id"), "batch_id")
    receipts = await run_in_threadpool(review.decide, workspace, grant, answers, batch_id)
    for receipt in receipts:
        operations.receipts.labels(receipt.status).inc()
    fields = ("client_id", "status", "message")
    results = [{key: getattr(receipt, key) for key in fields} for receipt in receipts]
    return JSONResponse({"results": results})


async def absent(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """POST /api/absent: every category without a label is not in the image."""
    body = await reading.body(request)
    receipt = await run_in_threadpool(
        review.mark_others_absent,
        workspace,
        grant,
        reading.text(body.get("client_id"), "client_id"),
        reading.integer(body.get("image_id"), "image_id"),
        reading.seconds(body.get("seconds"), "seconds"),
    )
    return _receipt(receipt)


async def undo(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """POST /api/undo: take a decision or a batch back."""
    body = await reading.body(request)
    client_id = reading.text(body.get("client_id"), "client_id")
    undoes = reading.text(body.get("undoes"), "undoes")
    return _receipt(await run_in_threadpool(undoing.undo, workspace, grant, client_id, undoes))


async def redo(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """POST /api/redo: decide again what was undone."""
    body = await reading.body(request)
    client_id = reading.text(body.get("client_id"), "client_id")
    redoes = reading.text(body.get("redoes"), "redoes")
    return _receipt(await run_in_threadpool(undoing.redo, workspace, grant, client_id, redoes))


async def history(workspace: Workspace, grant: Grant, request: Request) -> Response:
    """GET /api/history: the annotator's own decisions, newest first."""
    limit = reading.integer(request.query_params.get("limit", "50"), "limit")
    before = reading.optional_text(request.query_params.get("before"), "before")
    page = await run_in_threadpool(read_history, workspace, grant, limit=limit, before=before)
    return JSONResponse(page.to_json())


def _receipt(receipt: Receipt) -> Response:
    return JSONResponse(asdict(receipt))


def _answer(item: object, index: int) -> Answer:
    where = f"decisions[{index}]"
    if not isinstance(item, dict):
        raise InputError(f"{where} must be an object")
    return Answer(
        client_id=reading.text(item.get("client_id"), f"{where}.client_id"),
        image_id=reading.integer(item.get("image_id"), f"{where}.image_id"),
        category_id=reading.integer(item.get("category_id"), f"{where}.category_id"),
        verdict=reading.text(item.get("verdict"), f"{where}.verdict"),
        proposal_id=reading.optional_integer(item.get("proposal_id"), f"{where}.proposal_id"),
        seconds=reading.seconds(item.get("seconds"), f"{where}.seconds"),
    )
