"""What every route does first and last.

First: is the caller's site ours, its key valid, its rate and size allowed. Last: turn errors into
answers, count, and log, all under one id that the answer carries.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api import operations, reading
from app.api.limits import RateLimit
from app.api.reading import TooLarge
from app.api.table import Operation
from app.services.access import rights
from app.services.access.grants import AccessDenied, Grant
from app.services.access.rights import Actor, Forbidden
from app.services.people import api_tokens, identities, people
from app.services.runtime import logs
from app.services.workspace import Workspace
from clsl_core.errors import ClslError, DatabaseError, ImageError, InputError, NotFoundError

log = logging.getLogger(__name__)

TOKEN_HEADER = "x-clsl-token"  # noqa: S105 - the name of a header
CLIENT_HEADER = "x-clsl-client"
DATASET_HEADER = "x-clsl-dataset"
REQUEST_HEADER = "x-request-id"
CLIENT = re.compile(r"[A-Za-z0-9-]{8,64}")
PICTURES = ("/api/images/", "/api/heatmaps/", "/api/boxes/")
"""Routes that a page calls many times for each card: they have a bucket of their own."""
PICTURES_FACTOR = 10
STRANGERS_PER_SECOND = 5.0
"""Requests without a valid key, by address: guessing keys, or a page left open for long."""


class CrossSite(ClslError):  # noqa: N818 - the words of HTTP
    """Another site's page sent the request."""


class TooMany(ClslError):  # noqa: N818
    """A caller sends more than anybody may."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many requests: wait {max(1, round(seconds))} s")
        self.seconds = seconds


_STATUS: list[tuple[type[ClslError], int]] = [
    (AccessDenied, 401),
    (CrossSite, 403),
    (Forbidden, 403),
    (TooLarge, 413),
    (TooMany, 429),
    (NotFoundError, 404),
    (ImageError, 404),
    (InputError, 400),
    (DatabaseError, 503),  # the client keeps what it sent, and tries again
    (ClslError, 409),
]


@dataclass(frozen=True, slots=True)
class _Limits:
    """The buckets of one process."""

    calls: RateLimit
    pictures: RateLimit
    strangers: RateLimit


class Guard:
    """Makes endpoints of operations.

    Args:
        open_workspace: Gives the process's workspace.
        must_sign_in: Whether the key of a page counts only for people who sign in.
    """

    def __init__(
        self,
        open_workspace: Callable[[], Workspace],
        must_sign_in: Callable[[Workspace], bool] = identities.required,
    ) -> None:
        self._open = open_workspace
        self._must_sign_in = must_sign_in
        self._limits: _Limits | None = None

    def endpoint(self, operation: Operation[Any]) -> Any:
        """An endpoint that lets in whoever has a key, and answers errors as ``{"error": …}``."""
        path = operation.path

        async def endpoint(request: Request) -> Response:
            given = request.headers.get(REQUEST_HEADER, "")
            id_ = given if logs.REQUEST_ID.fullmatch(given) else logs.new_id()
            begun = time.perf_counter()
            with logs.of_request(id_):
                response = await self._answer(request, operation, id_)
                seconds = time.perf_counter() - begun
                status = response.status_code
                operations.requests.labels(path, request.method, str(status)).inc()
                operations.latency.labels(path, request.method).observe(seconds)
                level = logging.WARNING if status >= 500 else logging.DEBUG
                facts = {"route": path, "method": request.method, "status": status}
                log.log(
                    level,
                    "%s %s: %d in %.0f ms",
                    request.method,
                    path,
                    status,
                    1000 * seconds,
                    extra=facts | {"milliseconds": round(1000 * seconds, 1)},
                )
            response.headers[REQUEST_HEADER] = id_
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers["X-Content-Type-Options"] = "nosniff"
            return response

        return endpoint

    async def _answer(self, request: Request, operation: Operation[Any], id_: str) -> Response:
        try:
            workspace = self._open()
            check_site(request, workspace.settings.allowed_origins)
            grant = await self._grant(workspace, request)
            actor = await run_in_threadpool(self._actor, workspace, request, grant)
            given = await reading.read(request, operation.reads)
            with rights.acting(actor):
                return _unchanged(request, await operation.handle(workspace, grant, given))
        except ClslError as error:
            status = next(code for kind, code in _STATUS if isinstance(error, kind))
            response = JSONResponse({"error": str(error)}, status)
            if isinstance(error, TooMany):
                response.headers["Retry-After"] = str(max(1, round(error.seconds)))
            return response
        except Exception:
            log.exception("request %s failed, incident %s", request.url.path, id_)
            return JSONResponse({"error": f"unexpected error {id_}"}, 500)

    def _actor(self, workspace: Workspace, request: Request, grant: Grant) -> Actor:
        """Who a key is for, with the role they have at this moment."""
        script = _bearer(request).startswith(api_tokens.PREFIX)
        signs_in = not script and self._must_sign_in(workspace)
        return people.actor(workspace, grant.annotator_id, signs_in=signs_in)

    async def _grant(self, workspace: Workspace, request: Request) -> Grant:
        limits = self._buckets(workspace)
        token = request.headers.get(TOKEN_HEADER)
        if token is None and request.method in ("GET", "HEAD"):
            token = request.query_params.get("token")  # an <img> cannot send headers
        try:
            bearer = _bearer(request)
            if bearer.startswith(api_tokens.PREFIX):
                dataset = request.headers.get(DATASET_HEADER, "")
                grant = await run_in_threadpool(api_tokens.check, workspace, bearer, dataset)
            else:
                grant = workspace.access.check(token or "")
        except AccessDenied:
            _take(limits.strangers, request.client.host if request.client else "")
            raise
        bucket = limits.pictures if request.url.path.startswith(PICTURES) else limits.calls
        _take(bucket, f"{grant.annotator_id} {grant.dataset_id}")
        client = request.headers.get(CLIENT_HEADER, "")
        if client and not CLIENT.fullmatch(client):
            raise InputError(f"{CLIENT_HEADER} must have 8 to 64 letters, digits or hyphens")
        return replace(grant, client=client)

    def _buckets(self, workspace: Workspace) -> _Limits:
        if self._limits is None:
            rate = workspace.settings.requests_per_second
            strangers = STRANGERS_PER_SECOND if rate else 0.0
            self._limits = _Limits(
                RateLimit(rate), RateLimit(rate * PICTURES_FACTOR), RateLimit(strangers)
            )
        return self._limits


def _unchanged(request: Request, response: Response) -> Response:
    """The response, or that the caller has it already: they name its ETag."""
    tag = response.headers.get("etag")
    if tag is None or request.headers.get("if-none-match") != tag:
        return response
    kept = {"etag", "cache-control"}
    headers = {name: value for name, value in response.headers.items() if name in kept}
    return Response(status_code=304, headers=headers)


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").partition("Bearer ")[2]


def _take(bucket: RateLimit, caller: str) -> None:
    seconds = bucket.wait(caller)
    if seconds:
        raise TooMany(seconds)


def check_site(request: Request, allowed_origins: str) -> None:
    """Refuse what another site's page sent: browsers say where a request comes from.

    Raises:
        CrossSite: It is not ours, nor one of the allowed.
    """
    origin = request.headers.get("origin")
    allowed = [one.strip().rstrip("/") for one in allowed_origins.split(",") if one.strip()]
    if origin is not None and origin in allowed:
        return
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise CrossSite("requests of other sites are refused: see CLSL_ALLOWED_ORIGINS")
    if origin is None:
        return
    host = request.headers.get("host", "")
    try:
        own = urlsplit(origin).netloc == host != ""
    except ValueError:
        own = False
    if not own:
        raise CrossSite("requests of other sites are refused: see CLSL_ALLOWED_ORIGINS")
