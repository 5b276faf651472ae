"""Somebody very fast, and a server that dies: every verdict is stored, and stored once.

The real program; only the training is left out.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from app.services.workspace import Workspace
from db.models import Decision
from tests.builders import coco_document, make_dataset, make_proposals, make_workspace
from tests.e2e.conftest import REPOSITORY, StartServer, StreamlitServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.second_order("journeys in a browser"),
]

SECONDS = 60
RATE = 10  # keys a second
KILLS = 10


@pytest.fixture
def stored(tmp_path: Path) -> Workspace:
    """A collection with 1,000 open proposals."""
    workspace = make_workspace(tmp_path / "data", retrain_after=0)
    dataset = make_dataset(workspace, document=coco_document(images=250, categories=5))
    make_proposals(workspace, dataset.dataset_id)
    return workspace


@pytest.fixture
def server(stored: Workspace, start_server: StartServer) -> StreamlitServer:
    environment = {"CLSL_DATA_DIR": str(stored.data_dir), "CLSL_WORKER": "false"}
    return start_server(REPOSITORY / "streamlit_app.py", environment)


def verdicts(page: Page) -> int:
    """How many the page says were given."""
    return int(page.locator("[data-part=verdicts]").inner_text().replace(",", ""))


def open_review(page: Page, server: StreamlitServer) -> None:
    page.goto(f"{server.url}/review?annotator=Ada")
    page.locator("[data-part=review][data-state=card]").wait_for(timeout=60_000)


def wait_saved(page: Page) -> None:
    page.locator("[data-part=statusText]", has_text="All saved").wait_for(timeout=60_000)


def check(stored: Workspace, expected: int) -> None:
    """As many decisions as the page counted, on different pairs, each with its label."""
    with stored.database.read() as session:
        decisions = session.scalars(select(Decision)).all()
    pairs = Counter((decision.image_id, decision.category_id) for decision in decisions)
    assert max(pairs.values()) == 1
    assert len(decisions) == expected
    assert len({decision.client_id for decision in decisions}) == expected


def test_ten_keys_a_second_for_a_minute(
    stored: Workspace, server: StreamlitServer, page: Page
) -> None:
    open_review(page, server)
    begun = time.monotonic()
    for number in range(SECONDS * RATE):
        page.keyboard.press("x" if number % 3 else "a")
        page.wait_for_timeout(max(0.0, 1000 * (begun + (number + 1) / RATE - time.monotonic())))
    wait_saved(page)
    given = verdicts(page)
    assert given >= 0.9 * SECONDS * RATE  # a key waits for its picture, it is never guessed
    check(stored, given)


def test_a_server_killed_again_and_again(
    stored: Workspace, server: StreamlitServer, page: Page
) -> None:
    open_review(page, server)
    for _ in range(KILLS):
        before = verdicts(page)
        for number in range(20):
            page.keyboard.press("x" if number % 3 else "a")
            page.wait_for_timeout(1000 / RATE)
            if number == 10:
                server.kill()
        assert verdicts(page) > before
        server.start()
        page.locator("[data-part=review][data-state=card]").wait_for(timeout=60_000)
    wait_saved(page)
    check(stored, verdicts(page))
