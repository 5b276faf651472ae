"""Names from files and people are text: nothing that reaches Streamlit becomes a link of theirs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app import context
from app.context import plain
from app.services.datasets import snapshots
from app.services.jobs.table import JobKind
from app.services.learning import notices
from app.services.people import annotators
from app.services.reviewing import flags, panels
from app.services.reviewing import verdicts as review
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from tests.app.test_pages import PAGES, draw
from tests.builders import coco_document, make_dataset, make_proposals

MARK = "evil"
pytestmark = pytest.mark.one_database

NAMES = [f"www.{MARK}.example", f"http://{MARK}.example/a?b=1", f"ada@{MARK}.example"]

BARE = re.compile(r"(?:https?://|www(?=\.))[-.\w]+\S*", re.IGNORECASE | re.ASCII)
MAIL = re.compile(r"[-.\w+]+@[-\w]+(?:\.[-\w]+)+", re.ASCII)
"""What GitHub's markdown makes a link of, anywhere in a text whose escapes are undone."""

NOT_MARKDOWN = {
    "id",
    "key",
    "options",  # of selectboxes and multiselects; a radio's are markdown, see below
    "default",
    "value",
    "query_params",
    "user_key",
    "url",
    "raw_values",
    "json",  # data of the review component, which writes text nodes
    "spec",  # of charts, whose words are drawn
    "alt",
}
"""Fields that Streamlit shows as they are, or not at all."""


def links(text: str) -> list[str]:
    """The links of ours that Streamlit's markdown would make of a text."""
    shown = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)
    found = [*BARE.findall(shown), *MAIL.findall(shown)]
    named = re.findall(r"\[[^\]\n]*\]\(([^)\n]*)\)", re.sub(r"\\[\[\]()]", "", text))
    return [one for one in [*found, *named] if MARK in one.lower()]


def strings(message: Message, at: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a message that Streamlit reads as markdown, with its place."""
    for field, value in message.ListFields():
        here = f"{at}.{field.name}"
        is_radio = message.DESCRIPTOR.name == "Radio"
        if field.name in NOT_MARKDOWN and not (is_radio and field.name == "options"):
            continue
        several = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
        for one in several:
            if isinstance(one, Message):
                yield from strings(one, here)
            elif isinstance(one, str):
                yield here, one


def elements(block: Any) -> Iterator[Any]:
    if getattr(block, "proto", None) is not None:
        yield block
    for child in getattr(block, "children", {}).values():
        yield from elements(child)


def texts(app: AppTest) -> list[tuple[str, str]]:
    """What is read as markdown; ``st.text`` is not."""
    return [
        (f"{type(element).__name__}{place}", text)
        for element in elements(app._tree)
        if element.proto.DESCRIPTOR.name != "Text"
        for place, text in strings(element.proto)
    ]


def found(app: AppTest) -> list[tuple[str, list[str]]]:
    """Places with the links that would be there."""
    return [(place, links(text)) for place, text in texts(app) if links(text)]


def hostile_document() -> dict[str, Any]:
    document = coco_document(images=6)
    for category, name in zip(document["categories"], NAMES, strict=True):
        category |= {"name": name, "supercategory": name}
    for place, image in enumerate(document["images"]):
        image["file_name"] = f"www.{MARK}.example_{place}.jpg"
    return document


@pytest.fixture
def hostile(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """Hostile names in every place that takes one."""
    dataset = make_dataset(workspace, NAMES[0], hostile_document())
    make_proposals(workspace, dataset.dataset_id)
    grants = [annotators.enter(workspace, NAMES[0], name) for name in (NAMES[2], NAMES[0])]
    panels.set_overlap(workspace, NAMES[0], 2)
    for number, grant in enumerate(grants):
        said = "present" if number else "absent"
        review.decide(workspace, grant, [Answer(f"client-id-{number}", 1, 2, said)])
        flags.flag(workspace, grant, f"flag-{number}-0", 1, comment=NAMES[1])
    snapshots.take(workspace, NAMES[0], f"www.{MARK}.snapshot.example")
    workspace.jobs.submit(JobKind.TRAIN, dataset.dataset_id, {"then": [], "why": NAMES[1]})
    with workspace.database.write() as session:
        notices.tell(session, dataset.dataset_id, f"{NAMES[1]} and {NAMES[0]}", good=False)
    monkeypatch.setenv("CLSL_DATA_DIR", str(workspace.data_dir))
    context.open_workspace.cache_clear()
    yield workspace
    context.open_workspace().close()
    context.open_workspace.cache_clear()


@pytest.mark.parametrize("page", PAGES)
def test_no_page_makes_a_link_of_a_name(hostile: Workspace, page: str) -> None:
    assert found(draw(page, annotator=NAMES[2])) == []


def test_the_names_are_on_these_pages(hostile: Workspace) -> None:
    """Else the test above would pass for pages that show nothing."""
    for page in ("datasets", "history", "team"):
        app = draw(page, annotator=NAMES[2])
        shown = "\n".join(text for _, text in texts(app)).replace("\\", "").replace("\u2060", "")
        assert MARK in shown, page


def test_the_plain_card_makes_no_link(hostile: Workspace) -> None:
    assert found(draw("review", **{"annotator": NAMES[2], "review-plain": True})) == []


def test_an_import_that_is_looked_at_makes_no_link(hostile: Workspace) -> None:
    document = hostile_document()
    document["annotations"][1]["category_id"] = NAMES[1]  # a problem that names it
    document["images"][2]["file_name"] = f"www.{MARK}.example_missing.jpg"
    file = hostile.data_dir / f"www.{MARK}.example.json"
    file.write_text(json.dumps(document))
    app = draw("import_", annotator=NAMES[2])
    app.radio(key="import-way").set_value("On this machine").run()
    app.text_input(key="import-path").set_value(str(file))
    app.text_input(key="import-folder").set_value(str(file.parent / NAMES[0]))
    app.text_input(key="import-name").set_value(NAMES[0]).run()
    assert found(app) == []
    app.button(key="import-look").click().run()
    assert not app.exception
    assert found(app) == []
    assert MARK in "".join(text for _, text in texts(app))


def test_a_change_of_categories_makes_no_link(hostile: Workspace) -> None:
    app = draw("categories", annotator=NAMES[2])
    app.selectbox(key="rename-what").set_value(NAMES[0])
    app.text_input(key="rename-to").set_value(NAMES[1])  # taken: an error that says so
    next(one for one in app.button if one.label == "Rename").click().run()
    assert MARK in app.error[0].value.replace("\u2060", "")
    assert found(app) == []
    app.selectbox(key="into").set_value(NAMES[0])
    app.multiselect(key="sources").set_value([NAMES[1]]).run()
    assert found(app) == []
    next(one for one in app.button if one.label == "Merge").click().run()
    assert not app.exception
    assert found(app) == []


LOOKS = ("Take it", "Compare", "Prepare the file", "Look at it")


def test_snapshots_and_exports_make_no_link(hostile: Workspace) -> None:
    for page in ("snapshots", "export", "splits"):
        app = draw(page, annotator=NAMES[2])
        for button in list(app.button):
            if not button.disabled and button.label in (
                "Take it",
                "Compare",
                "Prepare the file",
                "Look at it",
            ):
                button.click().run()
                assert found(app) == []


@given(st.text(alphabet="wWhHtTpPsS:/.@-_+ax \u200b\\[]()<>", max_size=40))
def test_plain_text_holds_no_address(text: str) -> None:
    shown = plain(text)
    again = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", shown)
    assert not BARE.search(again)
    assert not MAIL.search(again)
    assert again.replace("\u2060", "") == text.replace("\u2060", "")


@pytest.mark.parametrize("name", NAMES)
def test_the_test_itself_sees_links(name: str) -> None:
    assert links(f"**{name}**")
    assert links(context.plain(name).replace("\u2060", ""))
    assert not links(plain(name))
