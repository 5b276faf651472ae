"""axe-core on every page, in both themes: nothing serious, nothing critical."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.services import demo
from tests.builders import coco_document, make_collection, make_proposals, make_workspace
from tests.e2e.conftest import REPOSITORY, StartServer, StreamlitServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.e2e, pytest.mark.second_order("journeys in a browser")]

PAGES = ["", "import", "review", "review-grid", "history", "models", "export", "jobs"]


@pytest.fixture(scope="module")
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> StreamlitServer:
    """The real program on the demo's pictures, with proposals that nobody trained for."""
    folder = tmp_path_factory.mktemp("accessibility") / "data"
    workspace = make_workspace(folder)
    make_proposals(workspace, demo.create_demo(workspace).dataset_id)
    workspace.close()
    return start_server(
        REPOSITORY / "streamlit_app.py",
        {"CLSL_DATA_DIR": str(folder), "CLSL_BACKBONE": "builtin", "CLSL_WORKER": "false"},
    )


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page in a theme."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 720}, color_scheme=request.param
    )
    context.set_default_timeout(25_000)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_serious(server: StreamlitServer, themed: Page, name: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    path, _, mode = name.partition("-")
    themed.goto(f"{server.url}/{path}?annotator=Ada")
    themed.locator("[data-testid=stSidebar]").get_by_role("textbox", name="Your name").wait_for()
    themed.locator("[data-testid=stStatusWidget]").wait_for(state="hidden")
    if path == "review":
        themed.locator("[data-part=review][data-state=card]").wait_for()
    if mode == "grid":
        themed.get_by_text("Grid", exact=True).click()
        themed.locator("[data-part=gridCells] [role=gridcell]").first.wait_for()
    found = axe.Axe().run(themed).response["violations"]
    assert [line for violation in found for line in lines(violation)] == []


def test_a_preview_has_nothing_serious(
    server: StreamlitServer, themed: Page, tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    document = coco_document(images=6)
    document["annotations"].append({"id": 99, "image_id": 12_345, "category_id": 1})
    file, root = make_collection(tmp_path, document)
    (root / "005.jpg").unlink()
    themed.goto(f"{server.url}/import?annotator=Ada")
    themed.get_by_text("On this machine", exact=True).click()
    themed.get_by_label("Path of the annotation file").fill(str(file))
    themed.get_by_label("Folder of the pictures").fill(str(root))
    themed.get_by_label("Name of the dataset").fill("looked at")
    themed.keyboard.press("Tab")
    themed.get_by_text("COCO instances JSON:").wait_for()
    themed.locator("[data-testid=stStatusWidget]").wait_for(state="hidden")
    themed.get_by_text("What was annotated").last.click()
    themed.get_by_role("button", name="Look at it").click()
    themed.get_by_text("What the import would do").wait_for()
    themed.get_by_role("button", name="Import", exact=True).wait_for()
    themed.locator("[data-testid=stStatusWidget]").wait_for(state="hidden")
    found = axe.Axe().run(themed).response["violations"]
    assert [line for violation in found for line in lines(violation)] == []


def lines(violation: dict[str, Any]) -> list[str]:
    """What is wrong, and where, one line for each element."""
    if violation["impact"] not in ("serious", "critical"):
        return []
    return [f"{violation['id']}: {node['target']}: {node['html']}" for node in violation["nodes"]]
