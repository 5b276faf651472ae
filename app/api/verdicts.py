"""The queue, and what people answer."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from app.api import operations, requests
from app.services.access.grants import Grant
from app.services.reviewing import queue as review_queue
from app.services.reviewing import undo as undoing
from app.services.reviewing import verdicts
from app.services.reviewing.history import history as read_history
from app.services.reviewing.queue import QueueQuery
from app.services.reviewing.verdicts import Answer, Receipt
from app.services.workspace import Workspace

AT_ONCE = 1
"""Pages of cards made at the same time. Windows ask for more long before they show the last, and
whoever has given a verdict waits: so pages queue, and verdicts go past them."""
_making = anyio.CapacityLimiter(AT_ONCE)


async def queue(workspace: Workspace, grant: Grant, given: requests.Queue) -> Response:
    """GET /api/queue: the next cards."""
    query = QueueQuery(
        strategy=given.strategy,
        category_id=given.category,
        state=given.state,
        lowest=given.lowest,
        highest=given.highest,
        split=given.split,
        text=given.text,
        anchor=given.anchor,
        limit=given.limit,
        after=given.after,
        siblings=given.siblings == "1",
    )
    make = partial(review_queue.next_cards, workspace, grant, query)
    page = await anyio.to_thread.run_sync(make, limiter=_making)
    return JSONResponse(page.to_json())


async def leases(workspace: Workspace, grant: Grant, given: requests.Leases) -> Response:
    """POST /api/leases: keep cards, or give all of them back."""
    if given.release:
        await run_in_threadpool(review_queue.release_leases, workspace, grant)
        return JSONResponse({"lost": []})
    lost = await run_in_threadpool(review_queue.renew_leases, workspace, grant, given.proposals)
    return JSONResponse({"lost": lost})


async def decisions(workspace: Workspace, grant: Grant, given: requests.Decisions) -> Response:
    """POST /api/decisions: verdicts, as a batch when a batch_id is given."""
    answers = [Answer(**one.model_dump()) for one in given.decisions]
    receipts = await run_in_threadpool(verdicts.decide, workspace, grant, answers, given.batch_id)
    for receipt in receipts:
        operations.receipts.labels(receipt.status).inc()
    fields = ("client_id", "status", "message")
    results = [{key: getattr(receipt, key) for key in fields} for receipt in receipts]
    return JSONResponse({"results": results})


async def absent(workspace: Workspace, grant: Grant, given: requests.Absent) -> Response:
    """POST /api/absent: every category without a label is not in the image."""
    sent = (given.client_id, given.image_id, given.seconds)
    return _receipt(await run_in_threadpool(verdicts.mark_others_absent, workspace, grant, *sent))


async def undo(workspace: Workspace, grant: Grant, given: requests.Undo) -> Response:
    """POST /api/undo: take a decision or a batch back."""
    sent = (given.client_id, given.undoes)
    return _receipt(await run_in_threadpool(undoing.undo, workspace, grant, *sent))


async def redo(workspace: Workspace, grant: Grant, given: requests.Redo) -> Response:
    """POST /api/redo: decide again what was undone."""
    sent = (given.client_id, given.redoes)
    return _receipt(await run_in_threadpool(undoing.redo, workspace, grant, *sent))


async def history(workspace: Workspace, grant: Grant, given: requests.History) -> Response:
    """GET /api/history: the annotator's own decisions, newest first."""
    read = partial(read_history, workspace, grant, limit=given.limit, before=given.before)
    return JSONResponse((await run_in_threadpool(read)).to_json())


def _receipt(receipt: Receipt) -> Response:
    return JSONResponse(asdict(receipt))
