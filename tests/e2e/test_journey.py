"""What a newcomer does, in a real browser: the demo in one click, and the loop on photographs.

With CLSL_SCREENSHOTS=DIR each page's picture is kept there (`make screenshots`); of the demo only,
since the photographs belong to their authors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.services.datasets import overview
from app.services.jobs.table import JobKind, JobStatus
from app.services.learning import model_runs
from app.services.workspace import Workspace
from tests.builders import make_workspace
from tests.e2e.conftest import REPOSITORY, StartServer, StreamlitServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.second_order("journeys in a browser"),
]

VERDICTS = 30
PATIENCE = 240_000  # ms, for work in the background on a busy machine

Shoot = Callable[[str], None]


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> StreamlitServer:
    """The real program on an empty data directory."""
    return start_server(
        REPOSITORY / "streamlit_app.py",
        {
            "CLSL_DATA_DIR": str(tmp_path / "data"),
            "CLSL_BACKBONE": "builtin",
            "CLSL_RETRAIN_AFTER": str(VERDICTS),
        },
    )


@pytest.fixture
def stored(server: StreamlitServer, tmp_path: Path) -> Iterator[Workspace]:
    """The same data directory, seen from outside."""
    workspace = make_workspace(tmp_path / "data")
    yield workspace
    workspace.close()


@pytest.fixture
def shoot(page: Page) -> Shoot:
    """Keeps a picture of the page when asked to."""
    folder = os.environ.get("CLSL_SCREENSHOTS")

    def take(name: str) -> None:
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.wait_for_timeout(1200)
            page.screenshot(path=Path(folder) / f"{name}.png")

    return take


def labels(stored: Workspace, name: str) -> tuple[int, int]:
    """Known present and known absent labels."""
    view = overview.dataset(stored, name)
    return view.present, view.absent_labels


def go(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("heading", name=name).wait_for()


def begin_review(page: Page, name: str) -> None:
    page.get_by_label("Who is reviewing?").fill(name)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="it is there").wait_for()
    page.locator("[data-part=review][data-state=card]").wait_for()


def decide(page: Page, key: str) -> None:
    """Press a key once the picture is there, and wait until the verdict counts."""
    done = page.locator("[data-part=verdicts]")
    before = done.inner_text()
    for _ in range(100):
        page.keyboard.press(key)
        page.wait_for_timeout(50)
        if done.inner_text() != before:
            return
    raise AssertionError(f"{key} was not taken")


def test_the_demo_in_one_click(
    server: StreamlitServer, stored: Workspace, page: Page, shoot: Shoot
) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Start the demo").wait_for()
    shoot("welcome")
    page.get_by_role("button", name="Start the demo").click()
    page.get_by_text("Reading the pictures").first.wait_for(timeout=PATIENCE)
    page.get_by_role("heading", name="demo").wait_for()
    shoot("progress")
    page.get_by_role("button", name="Review proposals").wait_for(timeout=PATIENCE)
    shoot("datasets")
    page.get_by_role("button", name="Review proposals").click()
    begin_review(page, "Ada")
    shoot("review")
    decide(page, "a")
    decide(page, "x")
    page.keyboard.press("Space")
    decide(page, "a")
    page.keyboard.press("Backspace")
    wait_until(page, lambda: labels(stored, "demo") == (380 + 1, 1))
    page.locator("[data-part=statusText]", has_text="All saved").wait_for()
    page.keyboard.press("m")
    shoot("heat-map")
    page.get_by_text("Grid", exact=True).click()
    page.locator("[data-part=gridCells] [role=gridcell] img").first.wait_for()
    shoot("grid")
    page.get_by_text("Cards", exact=True).click()
    page.locator("[data-part=review][data-state=card] [data-part=question]").wait_for()
    for _ in range(VERDICTS - 2):
        decide(page, "a")
    wait_until(page, lambda: overview.dataset(stored, "demo").serving_run == 2)
    go(page, "History")
    shoot("history")
    go(page, "Models")
    shoot("models")
    go(page, "Export")
    page.get_by_role("button", name="Prepare the file").click()
    page.get_by_role("button", name="Download").wait_for(timeout=PATIENCE)
    go(page, "Jobs")
    shoot("jobs")


def test_a_bookmark_is_the_first_thing_opened_after_a_start(
    server: StreamlitServer, page: Page
) -> None:
    page.goto(f"{server.url}/jobs?annotator=Ada")
    page.get_by_role("heading", name="Jobs").wait_for()
    assert page.get_by_role("textbox", name="Your name").input_value() == "Ada"
    assert page.get_by_role("link", name="Datasets").is_visible()


def test_photographs_from_import_to_export(
    server: StreamlitServer, stored: Workspace, coco_a: Path, page: Page
) -> None:
    source = json.loads((coco_a / "instances.json").read_text())

    page.goto(server.url)
    page.get_by_role("link", name="Import a collection").click()
    page.get_by_role("heading", name="Import a collection").wait_for()
    page.locator("input[type=file]").set_input_files(coco_a / "instances.json")
    page.get_by_text("285.9KB").wait_for()
    page.get_by_label("Folder of the pictures").fill(str(coco_a / "images"))
    page.get_by_label("Name of the dataset").fill("photographs")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Look at it").click()
    page.get_by_text("Nothing to complain about").wait_for()
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("heading", name="photographs").wait_for()
    page.get_by_text("Reading the pictures").first.wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="Review proposals").wait_for(timeout=PATIENCE)

    page.get_by_role("button", name="Review proposals").click()
    begin_review(page, "Ada")
    for i in range(VERDICTS):
        decide(page, "a" if i % 3 else "x")
    wait_until(page, lambda: labels(stored, "photographs") == (856 + 20, 10))
    page.locator("[data-part=statusText]", has_text="All saved").wait_for()

    go(page, "Models")
    wait_until(page, lambda: overview.dataset(stored, "photographs").serving_run == 2)
    page.reload()
    page.get_by_role("heading", name="Models").wait_for()
    runs = model_runs.all_runs(stored, "photographs")
    assert [(run.trigger, run.new_decisions) for run in runs] == [
        ("decisions", VERDICTS),
        ("import", 0),
    ]
    assert labels(stored, "photographs") == (856 + 20, 10)

    go(page, "Export")
    page.get_by_role("button", name="Prepare the file").click()
    button = page.get_by_role("button", name="Download")
    button.wait_for(timeout=PATIENCE)
    with page.expect_download() as download:
        button.click()
    exported = json.loads(Path(download.value.path()).read_text())
    for key, value in source.items():
        assert json.dumps(exported[key]) == json.dumps(value)
    assert len(exported["labels"]) == VERDICTS
    assert {label["annotator"] for label in exported["labels"]} == {"Ada"}

    go(page, "Jobs")
    kinds = [(job.kind, job.status) for job in stored.jobs.recent()]
    assert all(status is JobStatus.SUCCEEDED for _, status in kinds)
    assert [kind for kind, _ in reversed(kinds)] == [
        JobKind.IMPORT,
        JobKind.EMBED,
        JobKind.TRAIN,
        JobKind.PROPOSE,
        JobKind.TRAIN,
        JobKind.PROPOSE,
        JobKind.EXPORT,
    ]


def wait_until(page: Page, what: Callable[[], bool]) -> None:
    for _ in range(PATIENCE // 500):
        if what():
            return
        page.wait_for_timeout(500)
    raise AssertionError("waited in vain")
