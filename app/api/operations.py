"""For whoever runs the program: alive, ready, and how it goes. No names, no pictures."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.services.operations import health as service
from app.services.workspace import Workspace
from clsl_core.errors import ClslError

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)

registry = CollectorRegistry()
requests = Counter(
    "clsl_requests", "Requests answered.", ["route", "method", "status"], registry=registry
)
latency = Histogram(
    "clsl_request_seconds",
    "Seconds from a request to its answer.",
    ["route", "method"],
    buckets=SECONDS,
    registry=registry,
)
receipts = Counter(
    "clsl_verdicts", "Verdicts received by what became of them.", ["status"], registry=registry
)


class _Stored(Collector):
    """Reads the database's numbers when they are asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def collect(self) -> Iterator[Metric]:
        found = service.count(self._workspace)
        jobs = GaugeMetricFamily("clsl_jobs", "Jobs by kind and status.", labels=["kind", "status"])
        for (kind, status), number in sorted(found.jobs.items()):
            jobs.add_metric([kind, status], number)
        yield jobs
        yield CounterMetricFamily("clsl_decisions", "Decisions ever stored.", found.decisions)
        for name, about, value in (
            ("clsl_leases", "Pairs that somebody is shown.", found.leases),
            ("clsl_open_proposals", "Proposals that wait.", found.open_proposals),
            ("clsl_free_bytes", "Free space of the data directory.", found.free_bytes),
            ("clsl_worker", "Whether a worker serves this data directory.", found.worker),
        ):
            yield GaugeMetricFamily(name, about, float(value))


async def health(_request: Request) -> Response:
    """GET /api/health: the process is alive."""
    return JSONResponse({"status": "ok"})


def ready(open_workspace: Callable[[], Workspace]) -> Callable[..., object]:
    """GET /api/ready: requests can be answered; 503 with the reason otherwise."""

    async def endpoint(_request: Request) -> Response:
        try:
            found = await run_in_threadpool(lambda: service.readiness(open_workspace()))
        except ClslError as error:
            return JSONResponse({"ready": False, "checks": {"workspace": str(error)}}, 503)
        checks = {name: problem or "ok" for name, problem in found.checks.items()}
        return JSONResponse({"ready": found.ready, "checks": checks}, 200 if found.ready else 503)

    return endpoint


def metrics(open_workspace: Callable[[], Workspace]) -> Callable[..., object]:
    """GET /api/metrics: for Prometheus on this machine, or with the token that was set."""

    async def endpoint(request: Request) -> Response:
        workspace = open_workspace()
        if not _allowed(request, workspace.settings.metrics_token):
            return JSONResponse(
                {"error": "metrics are for this machine: see CLSL_METRICS_TOKEN"}, 401
            )
        text = await run_in_threadpool(_exposed, workspace)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return endpoint


def _exposed(workspace: Workspace) -> bytes:
    stored = CollectorRegistry()
    stored.register(_Stored(workspace))
    return generate_latest(registry) + generate_latest(stored)


def _allowed(request: Request, token: str | None) -> bool:
    if token is not None:
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())
    if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
