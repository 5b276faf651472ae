"""Other sites, floods and too much at once are refused; what is asked for is counted and logged."""

import json
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import api
from app.api.limits import RateLimit
from app.services.runtime import logs
from app.services.workspace import Workspace
from clsl_core.errors import DatabaseError
from tests.builders import make_dataset, make_grant, make_proposals, make_workspace


@pytest.fixture
def client(workspace: Workspace) -> TestClient:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    return client_of(workspace, dataset_id)


def client_of(
    workspace: Workspace, dataset_id: int, host: str = "127.0.0.1", name: str = "ada"
) -> TestClient:
    app = Starlette(routes=list(api.routes(lambda: workspace)))
    headers = {"X-CLSL-Token": workspace.access.issue(make_grant(workspace, dataset_id, name))}
    return TestClient(app, headers=headers, client=(host, 50000))


@pytest.mark.one_database
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://testserver.evil.example"}, False),
        ({"Origin": "http://testserver:8080"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[testserver"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://testserver", "Sec-Fetch-Site": "cross-site"}, False),
    ],
)
def test_other_sites_are_refused(
    client: TestClient, method: str, headers: dict[str, str], allowed: bool
) -> None:
    body = {} if method == "GET" else {"json": {"proposals": []}}
    path = "/api/queue" if method == "GET" else "/api/leases"
    response = client.request(method, path, headers=headers, **body)
    assert response.status_code == (200 if allowed else 403), response.text


def test_a_site_that_is_allowed_may_call(tmp_path) -> None:
    workspace = make_workspace(tmp_path, allowed_origins="https://a.example/, https://b.example")
    client = client_of(workspace, make_dataset(workspace).dataset_id)
    for origin, status in (("https://b.example", 200), ("https://c.example", 403)):
        assert client.get("/api/history", headers={"Origin": origin}).status_code == status
    workspace.close()


def test_a_flood_is_slowed_down_and_others_are_not(tmp_path) -> None:
    workspace = make_workspace(tmp_path, requests_per_second=4)
    dataset_id = make_dataset(workspace).dataset_id
    client = client_of(workspace, dataset_id)
    statuses = [client.get("/api/history").status_code for _ in range(40)]
    assert statuses[:20] == [200] * 20
    refused = client.get("/api/history")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert client.get("/api/images/1").status_code == 200  # a bucket of their own
    other = workspace.access.issue(make_grant(workspace, dataset_id, "bob"))
    assert client.get("/api/history", headers={"X-CLSL-Token": other}).status_code == 200
    forged = [
        client.get("/api/history", headers={"X-CLSL-Token": "x"}).status_code for _ in range(60)
    ]
    assert forged[0] == 401
    assert forged[-1] == 429
    assert client.get("/api/images/1").status_code == 200
    workspace.close()


def test_a_bucket_fills_again() -> None:
    time = [0.0]
    limit = RateLimit(2.0, lambda: time[0])
    assert [limit.wait("a") for _ in range(10)] == [0.0] * 10
    assert limit.wait("a") == pytest.approx(0.5)
    assert limit.wait("b") == 0.0
    time[0] = 0.5
    assert limit.wait("a") == 0.0
    assert limit.wait("a") > 0
    assert [RateLimit(0).wait("a") for _ in range(1000)] == [0.0] * 1000


@pytest.mark.one_database
@pytest.mark.parametrize("length", ["300000", "-1", "1e3", "99999999999999999999"])
def test_a_body_that_says_it_is_too_large_is_not_read(client: TestClient, length: str) -> None:
    response = client.post("/api/leases", content=b"{}", headers={"Content-Length": length})
    assert response.status_code == 413


def test_a_database_that_is_away_is_a_503(
    workspace: Workspace, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(type(workspace.database), "write", away)
    assert client.get("/api/queue").status_code == 503
    monkeypatch.setattr(type(workspace.database), "read", away)
    ready = client.get("/api/ready")
    assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "away")


def test_ready_says_what_it_looked_at(client: TestClient) -> None:
    assert client.get("/api/ready").json() == {
        "ready": True,
        "checks": {"database": "ok", "schema": "ok", "disk": "ok"},
    }


def metric(client: TestClient, name: str, **labels: str) -> float:
    text = client.get("/api/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_metrics_count_what_happens(workspace: Workspace, client: TestClient) -> None:
    before = metric(client, "clsl_requests_total", route="/api/queue", status="200")
    saved = metric(client, "clsl_verdicts_total", status="saved")
    card = client.get("/api/queue?limit=1").json()["cards"][0]
    assert metric(client, "clsl_requests_total", route="/api/queue", status="200") == before + 1
    assert metric(client, "clsl_leases") == 1
    assert metric(client, "clsl_open_proposals") == 8
    keys = ("proposal_id", "image_id", "category_id")
    verdict = {"client_id": "client-id", "verdict": "present", **{k: card[k] for k in keys}}
    client.post("/api/decisions", json={"decisions": [verdict]})
    assert metric(client, "clsl_verdicts_total", status="saved") == saved + 1
    assert metric(client, "clsl_decisions_total") == 1
    assert metric(client, "clsl_request_seconds_count", route="/api/decisions") >= 1
    client.get("/api/images/1?size=240")
    assert metric(client, "clsl_requests_total", route="/api/images/{image_id:int}") >= 1
    assert "ada" not in client.get("/api/metrics").text


def test_metrics_are_for_this_machine_or_for_who_has_the_token(tmp_path) -> None:
    workspace = make_workspace(tmp_path)
    dataset_id = make_dataset(workspace).dataset_id
    here = client_of(workspace, dataset_id)
    assert here.get("/api/metrics").status_code == 200
    elsewhere = client_of(workspace, dataset_id, "192.0.2.1", "bob")
    assert elsewhere.get("/api/metrics").status_code == 401
    forwarded = {"X-Forwarded-For": "192.0.2.1"}
    assert here.get("/api/metrics", headers=forwarded).status_code == 401
    workspace.close()
    locked = make_workspace(tmp_path, metrics_token="hush")
    elsewhere = client_of(locked, dataset_id, "192.0.2.1", "eve")
    for sent, status in (("Bearer hush", 200), ("Bearer nope", 401), ("", 401)):
        response = elsewhere.get("/api/metrics", headers={"Authorization": sent})
        assert response.status_code == status
    locked.close()


def test_an_answer_carries_the_id_that_the_log_has(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setFormatter(logs.JsonLines())
    monkeypatch.setattr("app.services.reviewing.queue.next_cards", lambda *_: 1 / 0)
    with caplog.at_level(logging.DEBUG, "app"):
        response = client.get("/api/queue", headers={"X-Request-ID": "from-the-proxy-1"})
        assert client.get("/api/history", headers={"X-Request-ID": "<b>"}).status_code == 200
    assert response.status_code == 500
    assert response.json()["error"] == "unexpected error from-the-proxy-1"
    assert response.headers["X-Request-ID"] == "from-the-proxy-1"
    lines = [json.loads(line) for line in caplog.handler.stream.getvalue().splitlines()]
    failed, counted, fine = (line for line in lines if line["logger"] == "app.api.guard")
    assert failed["request"] == counted["request"] == "from-the-proxy-1"
    assert "ZeroDivisionError" in failed["traceback"]
    assert (counted["status"], counted["route"], counted["level"]) == (500, "/api/queue", "warning")
    assert len(fine["request"]) == 16
