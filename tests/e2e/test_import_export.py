"""A zip through a real browser: dropped, looked at, imported, exported, downloaded.

With CLSL_SCREENSHOTS=DIR the pictures of the two pages are kept there.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.services.access.grants import Grant
from app.services.datasets import overview
from app.services.reviewing import verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.demo.collection import draw_demo
from tests.builders import make_grant, make_workspace
from tests.e2e.conftest import REPOSITORY, StartServer, StreamlitServer
from tests.security.archives import packed

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.second_order("journeys in a browser"),
]

PATIENCE = 120_000  # ms
HOSTILE = "<img src=x onerror='window.caught=1'> =1+1 \u202etac"


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> StreamlitServer:
    """The real program on an empty data directory."""
    environment = {"CLSL_DATA_DIR": str(tmp_path / "data"), "CLSL_BACKBONE": "builtin"}
    return start_server(REPOSITORY / "streamlit_app.py", environment)


@pytest.fixture
def stored(server: StreamlitServer, tmp_path: Path) -> Iterator[Workspace]:
    """The same data directory, seen from outside."""
    workspace = make_workspace(tmp_path / "data")
    yield workspace
    workspace.close()


def shoot(page: Page, name: str, height: int) -> None:
    """Keep a picture of the whole page when asked to."""
    folder = os.environ.get("CLSL_SCREENSHOTS")
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.set_viewport_size({"width": 1280, "height": height})
        page.mouse.move(2, 2)
        page.wait_for_timeout(2_000)
        page.screenshot(path=Path(folder) / f"{name}.png")


def settle(page: Page) -> None:
    """Wait until the page is drawn: a click on what is drawn anew is lost."""
    page.wait_for_timeout(500)
    page.locator("[data-testid=stStatusWidget]").wait_for(state="hidden")


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """An archive of drawn pictures; one is missing, one record points nowhere."""
    files = draw_demo(tmp_path / "drawn", images=40, seed=7)
    document = json.loads(files.instances.read_text())
    document["annotations"].append({"id": 9_999, "image_id": 12_345, "category_id": 1})
    archive = tmp_path / "zoo.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        for path in sorted(files.images.iterdir())[:-1]:
            pack.write(path, f"zoo/images/{path.name}")
        pack.writestr("zoo/instances.json", json.dumps(document))
        pack.writestr("zoo/notes.md", "hello")
    return archive


def drop(page: Page, archive: Path) -> None:
    """Drag a file from outside onto the page's field."""
    raw = list(archive.read_bytes())
    transfer = page.evaluate_handle(
        """([bytes, name]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "application/zip"}));
            return transfer;
        }""",
        [raw, archive.name],
    )
    page.locator("[data-testid=stFileUploaderDropzone]").dispatch_event(
        "drop", {"dataTransfer": transfer}
    )


def test_a_dropped_zip_is_looked_at_imported_and_exported(
    server: StreamlitServer, stored: Workspace, page: Page, zoo: Path
) -> None:
    page.goto(f"{server.url}/import?annotator=Ada")
    page.get_by_role("heading", name="Import a collection").wait_for()
    drop(page, zoo)
    page.get_by_text("Unpacked: 40 files").wait_for()
    assert page.get_by_role("button", name="Import", exact=True).count() == 0
    page.get_by_label("Name of the dataset").fill("zoo")
    page.keyboard.press("Tab")
    settle(page)
    page.get_by_role("button", name="Look at it").click()
    page.get_by_text("What the file holds").wait_for()
    page.get_by_text("1 of 40 pictures cannot be reached").wait_for()
    page.get_by_text("Make the dataset zoo").wait_for()
    page.locator("[data-testid=stImage] img").nth(7).wait_for()
    page.locator(
        "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg"
    ).wait_for()
    assert overview.all_datasets(stored) == []
    shoot(page, "import", 2_700)
    with page.expect_download() as download:
        page.get_by_role("button", name="Report as JSON").click()
    report = json.loads(Path(download.value.path()).read_text())
    assert report["missing_pictures"] == {"missing": 1}
    settle(page)
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("heading", name="zoo").wait_for(timeout=PATIENCE)
    assert page.get_by_role("textbox", name="Your name").input_value() == "Ada"
    page.get_by_role("button", name="Review proposals").wait_for(timeout=PATIENCE)
    assert overview.dataset(stored, "zoo").images == 40

    decide_some(stored, make_grant(stored, overview.dataset_id(stored, "zoo"), "Grace"))
    page.set_viewport_size({"width": 1280, "height": 720})
    page.get_by_role("link", name="Export", exact=True).click()
    settle(page)
    page.get_by_text("The open proposals too").click()
    settle(page)
    page.get_by_text("The newest labels that are added: 6").click()
    page.get_by_role("button", name="Prepare the file").click()
    button = page.get_by_role("button", name="Download", exact=True)
    button.wait_for(timeout=PATIENCE)
    shoot(page, "export", 820)
    with page.expect_download() as download:
        button.click()
    with zipfile.ZipFile(Path(download.value.path())) as pack:
        assert sorted(pack.namelist()) == ["completed.json", "completed.proposals.csv"]
        document = json.loads(pack.read("completed.json"))
    assert len(document["labels"]) == 6


def decide_some(stored: Workspace, grant: Grant) -> None:
    """Answer six open proposals."""
    cards = next_cards(stored, grant, QueueQuery(limit=6)).cards
    answers = [
        Answer(f"client-id-{card.proposal_id}", card.image_id, card.category_id, verdict)
        for card, verdict in zip(cards, ["present", "absent"] * 3, strict=True)
    ]
    verdicts.decide(stored, grant, answers)


def test_hostile_names_run_nothing(server: StreamlitServer, page: Page, tmp_path: Path) -> None:
    document = {
        "images": [{"id": 1, "file_name": f"{HOSTILE}.jpg"}],
        "annotations": [
            {"id": HOSTILE, "image_id": HOSTILE, "category_id": 1},
            {"id": 2, "image_id": 1, "category_id": 1},
        ],
        "categories": [{"id": 1, "name": HOSTILE, "supercategory": HOSTILE}],
    }
    archive = tmp_path / "evil.zip"
    page_as_picture = b"<!DOCTYPE html><script>window.caught=1</script>"
    files = {"instances.json": json.dumps(document).encode(), "<b>x.jpg": page_as_picture}
    archive.write_bytes(packed(files).getvalue())
    page.goto(f"{server.url}/import?annotator=Ada")
    page.get_by_role("heading", name="Import a collection").wait_for()
    page.locator("input[type=file]").set_input_files(archive)
    page.get_by_text("Files of the archive that are left out").click()
    page.get_by_label("Name of the dataset").fill("<b>evil</b>")
    page.keyboard.press("Tab")
    settle(page)
    page.get_by_role("button", name="Look at it").click()
    page.get_by_text("What the import would do").wait_for()
    page.wait_for_timeout(1_500)
    assert page.evaluate("window.caught") is None
    assert page.locator("img[src=x]").count() == 0
    assert "\u202e" not in page.inner_text("body")
    page.get_by_text("Make the dataset <b>evil</b>").wait_for()


def test_a_refused_zip_says_why(server: StreamlitServer, page: Page, tmp_path: Path) -> None:
    archive = tmp_path / "slip.zip"
    archive.write_bytes(packed({"../../evil.json": b"{}"}).getvalue())
    page.goto(f"{server.url}/import?annotator=Ada")
    page.get_by_role("heading", name="Import a collection").wait_for()
    page.locator("input[type=file]").set_input_files(archive)
    page.get_by_text("leads out of its folder").wait_for()
    assert list((tmp_path / "data" / "collections").iterdir()) == []
    assert not page.get_by_role("button", name="Look at it").is_visible()
