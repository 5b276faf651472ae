"""Names that look like addresses, as a browser shows them: text, on every page that has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from app.services.people import annotators
from app.services.reviewing import panels
from app.services.reviewing import verdicts as review
from app.services.reviewing.verdicts import Answer
from tests.builders import coco_document, make_dataset, make_proposals, make_workspace
from tests.e2e.conftest import REPOSITORY, StartServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.second_order("journeys in a browser")]

NAMES = ["www.evil.example", "http://evil.example/a?b=1", "ada@evil.example"]

SEEN = """() => {
  const everything = (root) => [...root.querySelectorAll('*')].flatMap(
    (one) => [one, ...(one.shadowRoot ? everything(one.shadowRoot) : [])]);
  const links = everything(document).filter((one) => one.tagName === 'A');
  return {
    links: links.map((one) => one.href.split('?')[0]).filter((href) => href.includes('evil')),
    text: document.body.innerText.replaceAll('\\u2060', ''),
  };
}"""


def test_no_name_is_a_link(start_server: StartServer, page: Page, tmp_path: Path) -> None:
    stored = make_workspace(tmp_path / "data", retrain_after=0)
    document = coco_document()
    for category, name in zip(document["categories"], NAMES, strict=True):
        category |= {"name": name, "supercategory": name}
    for place, image in enumerate(document["images"]):
        image["file_name"] = f"www.evil.example_{place}.jpg"
    dataset = make_dataset(stored, NAMES[0], document)
    make_proposals(stored, dataset.dataset_id)
    panels.set_overlap(stored, NAMES[0], 2)
    for number, name in enumerate(NAMES[::2]):
        grant = annotators.enter(stored, NAMES[0], name)
        said = "present" if number else "absent"
        review.decide(stored, grant, [Answer(f"client-id-{number}", 1, 2, said)])
    stored.close()
    environment = {"CLSL_DATA_DIR": str(stored.data_dir), "CLSL_WORKER": "false"}
    server = start_server(REPOSITORY / "streamlit_app.py", environment)
    query = urlencode({"annotator": NAMES[2], "dataset": NAMES[0]})
    for path, expected in (("", NAMES[0]), ("history", NAMES[1]), ("team", NAMES[1])):
        page.goto(f"{server.url}/{path}?{query}")
        for _ in range(200):
            page.wait_for_timeout(100)
            seen = page.evaluate(SEEN)
            if expected in seen["text"]:
                break
        assert expected in seen["text"], path
        assert seen["links"] == [], path
