"""The database's file is taken away under the program: nothing is acknowledged any more."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import api
from app.services.workspace import Workspace
from tests.builders import make_dataset, make_grant, make_proposals

pytestmark = pytest.mark.sqlite_only

LOG = "clsl.db-wal"


def removed(data: Path) -> None:
    (data / "clsl.db").unlink()


def removed_with_all_beside_it(data: Path) -> None:
    for name in ("clsl.db", LOG, "clsl.db-shm"):
        (data / name).unlink()


def moved_away(data: Path) -> None:
    (data / "clsl.db").rename(data / "elsewhere.db")


def replaced(data: Path) -> None:
    shutil.copy(data / "clsl.db", data / "copy.db")
    (data / "copy.db").replace(data / "clsl.db")


def log_removed(data: Path) -> None:
    (data / LOG).unlink()


def log_replaced(data: Path) -> None:
    shutil.copy(data / LOG, data / "copy")
    (data / "copy").replace(data / LOG)


def folder_replaced(data: Path) -> None:
    shutil.copytree(data, data.with_name("copy"))
    data.rename(data.with_name("former"))
    data.with_name("copy").rename(data)


FATES = [
    removed,
    removed_with_all_beside_it,
    moved_away,
    replaced,
    log_removed,
    log_replaced,
    folder_replaced,
]


@pytest.fixture
def client(workspace: Workspace) -> TestClient:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    key = workspace.access.issue(make_grant(workspace, dataset_id))
    app = Starlette(routes=list(api.routes(lambda: workspace)))
    return TestClient(app, headers={"X-CLSL-Token": key})


def decide(client: TestClient, number: int, id_: str | None = None) -> tuple[int, str]:
    answer = {
        "client_id": id_ or uuid.uuid4().hex,
        "image_id": 1 + number % 4,
        "category_id": 1 + number % 3,
        "verdict": ("present", "absent")[number % 2],
    }
    said = client.post("/api/decisions", json={"decisions": [answer]})
    content = said.json()
    return said.status_code, content.get("error") or content["results"][0]["status"]


@pytest.mark.parametrize("fate", FATES)
def test_nothing_is_acknowledged(
    workspace: Workspace, client: TestClient, fate: Callable[[Path], None]
) -> None:
    assert decide(client, 0) == (200, "saved")
    fate(workspace.data_dir)
    there = {path.name for path in workspace.data_dir.glob("clsl.db*")}
    for number in range(12):
        status, message = decide(client, number)
        assert status == 503  # a window keeps what it sent, and tries again
        assert "nothing is stored any more" in message
    ready = client.get("/api/ready")
    assert ready.status_code == 503
    assert "nothing is stored any more" in ready.json()["checks"]["database"]
    assert {path.name for path in workspace.data_dir.glob("clsl.db*")} == there


@pytest.mark.parametrize("fate", FATES)
def test_not_even_when_it_goes_at_the_last_moment(
    workspace: Workspace, client: TestClient, fate: Callable[[Path], None]
) -> None:
    @event.listens_for(workspace.database.engine, "commit", once=True)
    def vanish(_connection: object) -> None:
        fate(workspace.data_dir)

    status, message = decide(client, 0)
    assert status == 503
    assert "nothing is stored any more" in message


def test_what_is_put_back_is_used_again_and_a_verdict_counts_once(
    workspace: Workspace, client: TestClient
) -> None:
    moved_away(workspace.data_dir)
    assert decide(client, 0, "the-verdict")[0] == 503
    (workspace.data_dir / "elsewhere.db").rename(workspace.data_dir / "clsl.db")
    assert decide(client, 0, "the-verdict") == (200, "saved")
    assert decide(client, 0, "the-verdict") == (200, "duplicate")
    assert client.get("/api/ready").status_code == 200
