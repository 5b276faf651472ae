"""The routes: right answers to the right callers, and to nobody else."""

import asyncio
import io
import threading
import time
import uuid
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
from PIL import Image as Pillow
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import api
from app.api.openapi import description
from app.api.verdicts import AT_ONCE
from app.services.access.grants import Access, Grant, read_secret
from app.services.access.rights import Role
from app.services.people import api_tokens, identities, people
from app.services.reviewing import queue, verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from db.models import Decision, Flag, Image, Label, Lease, Proposal
from tests.builders import make_dataset, make_grant, make_proposals, make_questions

pytestmark = pytest.mark.filled(by=make_questions)


@pytest.fixture
def grant(known: Grant) -> Grant:
    return known


@pytest.fixture
def client(workspace: Workspace, grant: Grant) -> TestClient:
    app = Starlette(routes=list(api.routes(lambda: workspace)))
    headers = {"X-CLSL-Token": workspace.access.issue(grant)}
    return TestClient(app, headers=headers)


def get_queue(client: TestClient, **query: object) -> dict:
    response = client.get("/api/queue", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def verdict(card: dict, verdict: str = "present") -> dict:
    keys = ("proposal_id", "image_id", "category_id")
    return {"client_id": str(uuid.uuid4()), "verdict": verdict, **{k: card[k] for k in keys}}


def test_health_needs_no_key(client: TestClient) -> None:
    assert TestClient(client.app).get("/api/health").json() == {"status": "ok"}


@pytest.mark.refusal
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/queue"),
        ("POST", "/api/decisions"),
        ("POST", "/api/undo"),
        ("POST", "/api/redo"),
        ("POST", "/api/absent"),
        ("POST", "/api/leases"),
        ("POST", "/api/flags"),
        ("POST", "/api/unflag"),
        ("GET", "/api/preferences"),
        ("POST", "/api/preferences"),
        ("GET", "/api/history"),
        ("GET", "/api/categories"),
        ("GET", "/api/boxes/1"),
        ("GET", "/api/images/1"),
        ("GET", "/api/heatmaps/1"),
    ],
)
@pytest.mark.parametrize("token", [None, "", "forged.token", "é"])
def test_every_other_route_does(
    client: TestClient, method: str, path: str, token: str | None
) -> None:
    headers = {} if token is None else {"X-CLSL-Token": token.encode()}
    response = TestClient(client.app).request(method, path, headers=headers)
    assert response.status_code == 401
    assert "reload the page" in response.json()["error"]


def test_a_key_expires(workspace: Workspace, client: TestClient, grant: Grant) -> None:
    expired = Access(read_secret(workspace.data_dir), max_age=-1)
    workspace.access._max_age = expired._max_age
    assert client.get("/api/queue").status_code == 401


def test_a_key_in_the_query_is_good_for_pictures_but_not_for_verdicts(
    workspace: Workspace, client: TestClient, grant: Grant
) -> None:
    bare = TestClient(client.app)
    token = workspace.access.issue(grant)
    assert bare.get("/api/queue", params={"token": token}).status_code == 200
    assert bare.post("/api/decisions", params={"token": token}, json={}).status_code == 401


def test_queue_decide_undo(client: TestClient) -> None:
    page = get_queue(client, limit=2)
    assert len(page["cards"]) == 2
    sent = verdict(page["cards"][0])
    body = {"decisions": [{**sent, "seconds": 0.8}]}
    for expected in ("saved", "duplicate"):
        (result,) = client.post("/api/decisions", json=body).json()["results"]
        assert result == {"client_id": sent["client_id"], "status": expected, "message": None}
    undone = client.post(
        "/api/undo", json={"client_id": str(uuid.uuid4()), "undoes": sent["client_id"]}
    ).json()
    assert undone["status"] == "saved"
    assert undone["card"] == page["cards"][0]


def test_verdicts_go_past_pages_that_are_being_made(
    workspace: Workspace, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = get_queue(client, limit=1)["cards"][0]
    go_on, at_once, most = threading.Event(), 0, 0
    make = queue.next_cards

    def slow(*given: object) -> object:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        assert go_on.wait(30)
        at_once -= 1
        return make(*given)

    monkeypatch.setattr(queue, "next_cards", slow)

    async def crowd() -> tuple[httpx.Response, list[httpx.Response]]:
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://here", headers=client.headers, timeout=30
        ) as window:
            pages = [asyncio.create_task(window.get("/api/queue")) for _ in range(50)]
            async with asyncio.timeout(20):
                while most < AT_ONCE:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # in which one more would come
            body = {"decisions": [verdict(card)]}
            answer = await window.post("/api/decisions", json=body)
            go_on.set()
            return answer, list(await asyncio.gather(*pages))

    answer, pages = asyncio.run(crowd())
    assert answer.json()["results"][0]["status"] == "saved"
    assert {page.status_code for page in pages} == {200}
    assert most == AT_ONCE


def post(client: TestClient, path: str, **body: object) -> dict:
    response = client.post(f"/api/{path}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_batch_its_undo_its_redo_and_the_history(client: TestClient) -> None:
    cards = get_queue(client, limit=2)["cards"]
    results = post(
        client, "decisions", decisions=[verdict(card) for card in cards], batch_id="batch-id-1"
    )["results"]
    assert [result["status"] for result in results] == ["saved", "saved"]
    undone = post(client, "undo", client_id="undo-id-1", undoes="batch-id-1")
    assert (undone["status"], undone["count"]) == ("saved", 2)
    redone = post(client, "redo", client_id="redo-id-1", redoes="batch-id-1")
    assert (redone["status"], redone["count"]) == ("saved", 2)
    first = client.get("/api/history?limit=1").json()
    assert [entry["id"] for entry in first["entries"]] == ["redo-id-1"]
    second = client.get(f"/api/history?before={first['cursor']}").json()
    assert [(entry["id"], entry["undone"]) for entry in second["entries"]] == [("batch-id-1", True)]
    assert second["cursor"] is None


def test_others_absent_flags_leases_and_facts(client: TestClient) -> None:
    card = get_queue(client, limit=1)["cards"][0]
    image_id = card["image_id"]
    flag = {"client_id": "flag-id-1", "image_id": image_id, "comment": "<b>odd</b>"}
    assert post(client, "flags", **flag)["status"] == "saved"
    assert post(client, "flags", **flag)["status"] == "duplicate"
    assert get_queue(client, limit=1)["cards"][0]["flag"]["comment"] == "<b>odd</b>"
    for field, odd in (("client_id", "f"), ("comment", "x" * 1001)):
        refused = client.post("/api/flags", json={**flag, field: odd})
        assert (refused.status_code, field in refused.json()["error"]) == (400, True)
    assert post(client, "unflag", client_id="unflag-1", image_id=image_id)["status"] == "saved"
    assert post(client, "leases", proposals=[card["proposal_id"]]) == {"lost": []}
    assert post(client, "leases", release=True) == {"lost": []}
    absent = post(client, "absent", client_id="absent-1", image_id=image_id, seconds=1)
    assert (absent["status"], absent["count"]) == ("saved", 2)
    assert post(client, "leases", proposals=[card["proposal_id"]])["lost"] == [card["proposal_id"]]
    names = [row["name"] for row in client.get("/api/categories").json()["categories"]]
    assert names == ["red", "green", "blue"]
    boxes = client.get(f"/api/boxes/{image_id}").json()
    assert (boxes["width"], boxes["height"]) == (64, 48)
    assert [box["bbox"] for box in boxes["boxes"]] == [[1.0, 2.0, 10.0, 12.5]]
    assert client.get("/api/boxes/999").status_code == 404


def test_keys_are_kept_and_conflicts_refused(client: TestClient) -> None:
    assert client.get("/api/preferences").json()["keys"]["accept"] == "a"
    assert post(client, "preferences", keys={"accept": "j"})["keys"]["accept"] == "j"
    assert client.get("/api/preferences").json()["keys"]["accept"] == "j"
    refused = client.post("/api/preferences", json={"keys": {"accept": "x"}})
    assert refused.status_code == 400
    assert "already" in refused.json()["error"]


@pytest.mark.refusal
@pytest.mark.parametrize("name", ["short", "x" * 65, "has space", "ümläut-ü"])
def test_a_window_that_names_itself_oddly_is_refused(client: TestClient, name: str) -> None:
    headers = {"X-CLSL-Client": name.encode()}
    assert client.get("/api/queue", headers=headers).status_code == 400


@pytest.mark.refusal
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("absent", {}),
        ("absent", {"client_id": "abcdefgh", "image_id": "1.5"}),
        ("absent", {"client_id": "abcdefgh", "image_id": 1, "seconds": "long"}),
        ("undo", {"client_id": "abcdefgh"}),
        ("redo", {"client_id": "abcdefgh", "redoes": 3}),
        ("leases", {"proposals": "1"}),
        ("leases", {"proposals": ["b"]}),
        ("flags", {"client_id": "abcdefgh", "image_id": 1, "comment": 3}),
        ("preferences", {"keys": []}),
        ("decisions", {"decisions": [], "batch_id": 3}),
    ],
)
def test_bad_fields_are_refused(client: TestClient, path: str, body: dict) -> None:
    response = client.post(f"/api/{path}", json=body)
    assert response.status_code == 400
    assert response.json()["error"]


@pytest.mark.refusal
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"decisions": 3}',
        b'{"decisions": [3]}',
        b'{"decisions": [{"client_id": 1, "verdict": "present"}]}',
        b'{"decisions": [{"client_id": "abcdefgh", "verdict": "present"}]}',
        b'{"decisions": [{"client_id": "abcdefgh", "verdict": "present", "image_id": 1e99}]}',
        b'{"decisions": [{"client_id":"abcdefgh","verdict":"present","image_id":1,'
        b'"category_id":99999999999999}]}',
        b"[" * 100_000,
        b" " * 300_000,
        b"\xff\xff",
    ],
)
def test_bad_bodies_are_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/api/decisions", content=body)
    assert response.status_code == (413 if len(body) > 256 * 1024 else 400)
    assert response.json()["error"]


@pytest.mark.refusal
@pytest.mark.parametrize(
    "query",
    [
        "strategy=x",
        "limit=many",
        "category=1.5",
        "category=99999999999",
        "min=low",
        "max=nan",
        "min=2",
        "after=!",
        "state=perhaps",
        "text=%00",
    ],
)
def test_bad_queries_are_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/api/queue?{query}").status_code == 400


def test_too_many_verdicts_at_once(client: TestClient) -> None:
    card = get_queue(client)["cards"][0]
    body = {"decisions": [verdict(card) for _ in range(101)]}
    response = client.post("/api/decisions", json=body)
    assert response.status_code == 400
    assert "at most 100" in response.json()["error"]


def test_pictures_are_webp_with_a_validator(client: TestClient) -> None:
    url = get_queue(client)["cards"][0]["image_url"]
    response = client.get(url)
    assert response.headers["content-type"] == "image/webp"
    assert "max-age" in response.headers["cache-control"]
    picture = Pillow.open(io.BytesIO(response.content))
    assert (picture.format, picture.size) == ("WEBP", (64, 48))
    again = client.get(url, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_pictures_of_other_datasets_are_not_there(workspace: Workspace, client: TestClient) -> None:
    other = make_dataset(workspace, "other").dataset_id
    with workspace.database.read() as session:
        foreign = session.query(Image.id).filter_by(dataset_id=other).first()
    assert foreign is not None
    assert client.get(f"/api/images/{foreign[0]}").status_code == 404
    assert client.get("/api/images/123456").status_code == 404
    assert client.get("/api/images/../../etc/passwd").status_code == 404


def test_what_belongs_to_another_dataset_is_out_of_reach(
    workspace: Workspace, client: TestClient
) -> None:
    """A key is good for one dataset: with the ids of another, no route reads or writes anything."""
    elsewhere = make_dataset(workspace, "other").dataset_id
    make_proposals(workspace, elsewhere)
    there = make_grant(workspace, elsewhere, "ben")
    own = get_queue(client, limit=1)["cards"][0]
    theirs = queue.next_cards(workspace, there, queue.QueueQuery(limit=3)).cards
    card = asdict(theirs[0])
    said = Answer("bens-verdict", theirs[1].image_id, theirs[1].category_id, "present")
    verdicts.decide(workspace, there, [said])
    before = everything(workspace, elsewhere)

    for path in ("images", "boxes"):
        assert client.get(f"/api/{path}/{card['image_id']}").status_code == 404
    assert client.get(f"/api/heatmaps/{card['proposal_id']}").status_code == 404
    assert get_queue(client, category=card["category_id"])["cards"] == []
    assert get_queue(client, strategy="similar", anchor=card["image_id"])["cards"] == []
    assert get_queue(client)["cards"] != []
    lost = client.post("/api/leases", json={"proposals": [card["proposal_id"]]}).json()["lost"]
    assert lost == [card["proposal_id"]]

    foreign = [
        verdict(card),
        verdict({**own, "image_id": card["image_id"]}),
        verdict({**own, "category_id": card["category_id"]}),
    ]
    answer = client.post("/api/decisions", json={"decisions": foreign}).json()
    assert [one["status"] for one in answer["results"]] == ["refused"] * 3
    body = {"client_id": "absent-there", "image_id": card["image_id"]}
    assert client.post("/api/absent", json=body).json()["status"] == "refused"
    body = {"client_id": "undo-there", "undoes": "bens-verdict"}
    assert client.post("/api/undo", json=body).json()["status"] == "refused"
    body = {"client_id": "redo-there", "redoes": "bens-verdict"}
    assert client.post("/api/redo", json=body).json()["status"] == "refused"
    for path in ("flags", "unflag"):
        body = {"client_id": f"{path}-there", "image_id": card["image_id"]}
        assert client.post(f"/api/{path}", json=body).json()["status"] == "refused"
    assert "bens-verdict" not in client.get("/api/history").text
    assert everything(workspace, elsewhere) == before


def test_a_proposal_is_not_credited_with_a_verdict_on_another_pair(
    workspace: Workspace, client: TestClient, grant: Grant
) -> None:
    elsewhere = make_dataset(workspace, "other").dataset_id
    make_proposals(workspace, elsewhere)
    there = make_grant(workspace, elsewhere, "ben")
    (foreign,) = queue.next_cards(workspace, there, queue.QueueQuery(limit=1)).cards
    first, second, third = get_queue(client, limit=3)["cards"]
    wrong = [
        verdict({**first, "proposal_id": second["proposal_id"]}),
        verdict({**third, "proposal_id": foreign.proposal_id}),
    ]
    answer = client.post("/api/decisions", json={"decisions": wrong}).json()
    assert [one["status"] for one in answer["results"]] == ["saved", "saved"]
    with workspace.database.read() as session:
        assert session.scalars(select(Decision.proposal_id)).all() == [None, None]
    (result,) = client.post(
        "/api/decisions", json={"decisions": [verdict(second, "absent")]}
    ).json()["results"]
    assert result["status"] == "saved"


def everything(workspace: Workspace, dataset_id: int) -> list[object]:
    """What a verdict, a flag or a lease could have changed in a dataset."""
    images = select(Image.id).where(Image.dataset_id == dataset_id)
    with workspace.database.read() as session:
        return [
            session.execute(select(table.__table__).where(table.image_id.in_(images))).all()
            for table in (Decision, Label, Lease, Flag, Proposal)
        ]


def test_a_picture_that_vanished_is_a_404_with_the_reason(
    workspace: Workspace, client: TestClient
) -> None:
    url = get_queue(client)["cards"][0]["image_url"]
    for file in Path(workspace.data_dir / "source-set" / "images").iterdir():
        file.unlink()
    response = client.get(url)
    assert response.status_code == 404
    assert "000.jpg" in response.json()["error"]


@pytest.mark.parametrize("path", ["images", "heatmaps", "boxes"])
@pytest.mark.parametrize("number", [0, 2**31, 2**63, 2**64])
def test_a_number_that_no_row_has_is_a_404(client: TestClient, path: str, number: int) -> None:
    assert client.get(f"/api/{path}/{number}").status_code == 404


def test_a_proposal_without_heat_map(client: TestClient) -> None:
    card = get_queue(client)["cards"][0]
    assert card["heatmap_url"] is None
    assert client.get(f"/api/heatmaps/{card['proposal_id']}").status_code == 404


LEAST = {
    "/api/history": Role.VIEWER,
    "/api/preferences": Role.VIEWER,
    "/api/categories": Role.VIEWER,
    "/api/images/1": Role.VIEWER,
    "/api/boxes/1": Role.VIEWER,
    "/api/heatmaps/1": Role.VIEWER,
}
"""What the least of roles may do; everything else takes an annotator."""
OPEN = ("/api/health", "/api/ready", "/api/metrics", "/api/openapi.json")


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("scripted", [False, True])
def test_every_route_for_every_role(
    workspace: Workspace, client: TestClient, role: Role, scripted: bool
) -> None:
    if scripted:
        token = api_tokens.create(workspace, "script", "ada")
        headers = {"Authorization": f"Bearer {token}", "X-CLSL-Dataset": "set"}
        client = TestClient(client.app, headers=headers)
    people.set_role(workspace, "root", "admin")
    people.set_role(workspace, "ada", role)
    roles, checked = list(Role), 0
    for path, operations in description()["paths"].items():
        if path in OPEN:
            continue
        real = path.replace("{image_id}", "1").replace("{proposal_id}", "1")
        for method in operations:
            least = LEAST.get(real, Role.ANNOTATOR)
            body = {
                "client_id": "client-id",
                "image_id": 1,
                "undoes": "x" * 8,
                "redoes": "x" * 8,
                "proposals": [],
                "decisions": [],
                "keys": {},
            }
            response = client.request(method.upper(), real, json=body if method == "post" else None)
            allowed = roles.index(role) >= roles.index(least)
            assert (response.status_code != 403) == allowed, (method, path, response.text)
            assert response.status_code in (200, 403, 404), (method, path, response.text)
            checked += 1
    assert checked == 15


def test_a_role_counts_from_the_next_request_on(workspace: Workspace, client: TestClient) -> None:
    people.set_role(workspace, "root", "admin")
    assert client.get("/api/queue").status_code == 200
    people.set_role(workspace, "ada", "viewer")
    assert client.get("/api/queue").status_code == 403
    assert client.get("/api/categories").status_code == 200
    people.switch(workspace, "ada", on=False)
    refused = client.get("/api/categories")
    assert refused.status_code == 403
    assert "is switched off" in refused.json()["error"]
    people.switch(workspace, "ada", on=True)
    assert client.get("/api/categories").status_code == 200


def test_a_key_of_before_people_signed_in_opens_nothing(
    workspace: Workspace, grant: Grant, client: TestClient
) -> None:
    token = api_tokens.create(workspace, "script", "ada")
    assert client.get("/api/categories").status_code == 200
    said = {
        "iss": "https://i.example",
        "sub": "1",
        "aud": "clsl",
        "iat": time.time(),
        "name": "Eve",
    }
    eve = identities.sign_in(workspace, identities.read_claims(said, "clsl", 24))
    refused = client.get("/api/categories")
    assert refused.status_code == 403
    assert "has not signed in" in refused.json()["error"]
    key = workspace.access.issue(Grant(int(eve.person_id or 0), grant.dataset_id))
    bare = TestClient(client.app)
    assert bare.get("/api/categories", headers={"X-CLSL-Token": key}).status_code == 200
    # A script's token is an administrator's doing and goes on.
    headers = {"Authorization": f"Bearer {token}", "X-CLSL-Dataset": "set"}
    assert bare.get("/api/categories", headers=headers).status_code == 200


def test_a_script_needs_a_token_that_stands_and_a_dataset(
    workspace: Workspace, client: TestClient
) -> None:
    token = api_tokens.create(workspace, "script", "ada")
    bare = TestClient(client.app)

    def status(token: str, **headers: str) -> int:
        given = {"Authorization": f"Bearer {token}", **headers}
        return bare.get("/api/history", headers=given).status_code

    assert status(token, **{"X-CLSL-Dataset": "set"}) == 200
    assert status(token, **{"X-CLSL-Dataset": "other"}) == 404
    assert status(token) == 404
    assert status("clsl_wrong", **{"X-CLSL-Dataset": "set"}) == 401
    api_tokens.revoke(workspace, api_tokens.tokens(workspace)[0].id)
    assert status(token, **{"X-CLSL-Dataset": "set"}) == 401
