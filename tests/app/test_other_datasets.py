"""A key for one dataset reaches nothing of another, by whatever id."""

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import pytest
from sqlalchemy import MetaData, select
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import api
from app.services.access.grants import Grant
from app.services.reviewing import flags, undo, verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from db.models import Annotator, Decision
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

NEW = "a-new-id-of-ours"


@dataclass(frozen=True)
class Foreign:
    """Ids of what stands on the dataset that the key is not for."""

    image: int
    category: int
    proposal: int
    known: tuple[int, int]
    decision: int


def document() -> dict[str, Any]:
    made = coco_document()
    for one in made["images"]:
        one["file_name"] = "foreign-" + one["file_name"]
    for one in made["categories"]:
        one["name"] = "foreign-" + one["name"]
    return made


def furnish(workspace: Workspace, ada: Grant, bob: Grant) -> Foreign:
    """Verdicts, batches, what was undone, flags and leases of both people, each under its name."""
    cards = next_cards(workspace, bob, QueueQuery(limit=6)).cards
    for grant, name, mine in ((ada, "ada", cards[:3]), (bob, "bob", cards[3:])):
        verdicts.decide(
            workspace,
            grant,
            [
                Answer(f"{name}-{number}-verdict", card.image_id, card.category_id, "present")
                for number, card in enumerate(mine)
            ],
            f"{name}-batch",
        )
        undo.undo(workspace, grant, f"{name}-undo", f"{name}-0-verdict")
        flags.flag(workspace, grant, f"{name}-flag", mine[0].image_id, comment="foreign comment")
    with workspace.database.read() as session:
        newest = session.scalars(select(Decision.id).order_by(Decision.id.desc())).first()
    (card,) = next_cards(workspace, bob, QueueQuery(limit=1)).cards
    known = (cards[0].image_id, cards[0].category_id)
    return Foreign(card.image_id, card.category_id, card.proposal_id, known, newest or 0)


@dataclass(frozen=True)
class Stage:
    workspace: Workspace
    client: TestClient
    foreign: Foreign

    def everything(self) -> dict[str, list[Any]]:
        """Every row of every table but what the person keeps for themselves."""
        tables = MetaData()
        with self.workspace.database.read() as session:
            tables.reflect(session.get_bind())
            return {
                table.name: sorted(map(repr, session.execute(select(table))))
                for table in tables.sorted_tables
                if table.name != Annotator.__tablename__
            }


@pytest.fixture
def stage(workspace: Workspace) -> Stage:
    here = make_dataset(workspace).dataset_id
    there = make_dataset(workspace, "there", document()).dataset_id
    run = make_proposals(workspace, there)
    with workspace.database.write() as session:
        session.add(run)
        run.serving = True
    ada, bob = make_grant(workspace, here), make_grant(workspace, there, "bob")
    foreign = furnish(workspace, Grant(ada.annotator_id, there), bob)
    app = Starlette(routes=list(api.routes(lambda: workspace)))
    headers = {"X-CLSL-Token": workspace.access.issue(ada)}
    return Stage(workspace, TestClient(app, headers=headers), foreign)


IDS = [
    f"{name}-{what}"
    for name in ("ada", "bob")
    for what in ("batch", "0-verdict", "1-verdict", "undo", "flag")
]


def calls(foreign: Foreign) -> list[tuple[str, str, Any]]:
    """Every route with every id that it takes: ``(method, path, body)``."""
    image, category, proposal = foreign.image, foreign.category, foreign.proposal

    def answer(**other: Any) -> dict[str, Any]:
        one = {"client_id": NEW, "image_id": image, "category_id": category, "verdict": "absent"}
        return {"decisions": [{**one, **other}]}

    known = dict(zip(("image_id", "category_id"), foreign.known, strict=True))
    queue = [
        f"/api/queue?strategy={strategy}&category={category}&anchor={image}&after={foreign.proposal}"
        for strategy in ("likely", "unsure", "random", "disputed", "similar")
    ]
    return [
        *(("GET", path, None) for path in (*queue, f"/api/queue?anchor={image}")),
        ("GET", f"/api/queue?category={category}", None),
        ("GET", f"/api/history?before={foreign.decision + 1}", None),
        ("GET", "/api/categories", None),
        ("GET", "/api/preferences", None),
        ("GET", f"/api/images/{image}", None),
        ("GET", f"/api/boxes/{image}", None),
        ("GET", f"/api/heatmaps/{proposal}", None),
        ("POST", "/api/leases", {"proposals": [proposal]}),
        ("POST", "/api/leases", {"release": True}),
        ("POST", "/api/decisions", answer()),
        ("POST", "/api/decisions", answer(proposal_id=proposal)),
        ("POST", "/api/decisions", answer(**known)),
        *(("POST", "/api/decisions", answer(client_id=id_)) for id_ in IDS),
        *(("POST", "/api/decisions", {**answer(), "batch_id": id_}) for id_ in IDS),
        *(("POST", "/api/absent", {"client_id": id_, "image_id": image}) for id_ in (NEW, *IDS)),
        *(("POST", "/api/undo", {"client_id": NEW, "undoes": id_}) for id_ in IDS),
        *(("POST", "/api/undo", {"client_id": id_, "undoes": id_}) for id_ in IDS),
        *(("POST", "/api/redo", {"client_id": NEW, "redoes": id_}) for id_ in IDS),
        *(("POST", "/api/redo", {"client_id": id_, "redoes": id_}) for id_ in IDS),
        *(("POST", "/api/flags", {"client_id": id_, "image_id": image}) for id_ in (NEW, *IDS)),
        ("POST", "/api/unflag", {"client_id": NEW, "image_id": image}),
        ("POST", "/api/preferences", {"keys": {}}),
    ]


def test_nothing_is_seen_or_changed(stage: Stage) -> None:
    before = stage.everything()
    for route, asked in groupby(calls(stage.foreign), key=itemgetter(0, 1)):
        for method, path, body in asked:
            response = stage.client.request(method, path, json=body)
            assert response.status_code < 500, (path, response.text)
            assert "foreign" not in response.text, (path, body, response.text)
            assert '"saved"' not in response.text, (path, body, response.text)
            assert '"duplicate"' not in response.text, (path, body, response.text)
        if route[0] == "POST":
            assert stage.everything() == before, route


def test_nor_with_an_id_of_ours_beside_it(stage: Stage) -> None:
    before = stage.everything()
    for pair in ((1, stage.foreign.category), (stage.foreign.image, 1)):
        sent = dict(zip(("image_id", "category_id"), pair, strict=True))
        one = {"client_id": NEW, "verdict": "present", **sent}
        said = stage.client.post("/api/decisions", json={"decisions": [one]}).json()
        assert said["results"][0]["status"] == "refused"
        said = stage.client.post("/api/flags", json={"client_id": NEW, **sent}).json()
        assert said["status"] == "refused"
    assert stage.everything() == before


def test_every_route_is_asked(stage: Stage) -> None:
    asked = {path.split("?")[0].rstrip("0123456789") for _, path, _ in calls(stage.foreign)}
    free = {"/api/health", "/api/ready", "/api/openapi.json", "/api/metrics"}
    wanted = {route.path.split("{")[0] for route in api.routes(lambda: stage.workspace)} - free
    assert asked == wanted
