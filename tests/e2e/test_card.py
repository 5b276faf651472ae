"""Card mode in the real program: what the person sees, and what the database holds afterwards."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from app.services.workspace import Workspace
from clsl_core.types import LabelState
from db.models import Decision, Flag, Image, Label, Lease, Proposal, ProposalStatus
from tests.builders import coco_document, make_dataset, make_proposals, make_workspace
from tests.e2e.conftest import REPOSITORY, StartServer, StreamlitServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.e2e, pytest.mark.second_order("journeys in a browser")]

IMAGES = 6
HOSTILE = ['<img src=x onerror="document.title=1">', "\"'`", "\u202eatad", "😀 zebra", "white"]
PATIENCE = 30.0

SEEN = """() => {
  const root = document.querySelector('[data-testid=stBidiComponentIsolated]')?.shadowRoot;
  const part = (name) => root?.querySelector(`[data-part=${name}]`);
  if (!part('chips')) return {};
  return {
    state: part('review').dataset.state,
    file: part('file').textContent.split(' ')[0],
    question: part('question').textContent,
    chips: [...part('chips').children].map((chip) => chip.dataset.verdict || '?').join(' '),
    held: [...part('chips').children].indexOf(root.activeElement),
    asked: [...part('chips').children].findIndex((chip) => chip.ariaCurrent === 'true'),
    known: part('known').textContent.trim(),
    status: part('statusText').textContent,
    verdicts: Number(part('verdicts').textContent),
    notice: part('notice').hidden ? '' : part('notice').textContent,
    boxes: root.querySelectorAll('.boxes rect').length,
    flagged: part('flagged').hidden ? '' : part('flagged').textContent,
    zoom: part('frame').style.transform,
  };
}"""


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Workspace]:
    """Six pictures, five categories with hostile names; the first image asks about four."""
    workspace = make_workspace(tmp_path / "data", retrain_after=0)
    document = coco_document(images=IMAGES, categories=5)
    for category, name in zip(document["categories"], HOSTILE, strict=True):
        category["name"] = name
    make_proposals(workspace, make_dataset(workspace, document=document).dataset_id)
    yield workspace
    workspace.close()


@pytest.fixture
def server(stored: Workspace, start_server: StartServer) -> StreamlitServer:
    environment = {"CLSL_DATA_DIR": str(stored.data_dir), "CLSL_WORKER": "false"}
    return start_server(REPOSITORY / "streamlit_app.py", environment)


def until(page: Page, **expected: object) -> None:
    """Wait until the component shows what is expected; a callable is asked."""
    end = time.monotonic() + PATIENCE
    while True:
        seen: dict[str, Any] = page.evaluate(SEEN)
        if all(_agrees(seen.get(key), value) for key, value in expected.items()):
            return
        assert time.monotonic() < end, f"waited in vain for {expected}; the page shows {seen}"
        page.wait_for_timeout(50)


def _agrees(value: Any, expected: Any) -> bool:
    return bool(expected(value)) if callable(expected) else value == expected


def open_review(page: Page, server: StreamlitServer, name: str = "Ada") -> None:
    page.goto(f"{server.url}/review?annotator={name}")
    page.locator("[data-part=review][data-state=card]").wait_for(timeout=60_000)
    page.locator("[data-part=frame] img").wait_for()


def labels(stored: Workspace, file_name: str) -> dict[str, str]:
    """What people said of one image: category name to state."""
    with stored.database.read() as session:
        query = select(Label).join(Image, Image.id == Label.image_id)
        found = session.scalars(query.where(Image.file_name == file_name, Label.decision_id > 0))
        return {HOSTILE[label.category_id - 1]: label.state.word for label in found}


def saved(page: Page, condition: Callable[[], bool]) -> None:
    """Wait until everything is delivered and the database says so."""
    until(page, status="All saved")
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        page.wait_for_timeout(50)


def test_chips_digits_and_moving_on(stored: Workspace, server: StreamlitServer, page: Page) -> None:
    open_review(page, server)
    until(page, file="000.jpg", chips="? ? ? ?", asked=0, known=HOSTILE[0])
    assert page.title() != "1"
    page.keyboard.press("2")
    until(page, chips="? present ? ?", asked=1, question=lambda q: HOSTILE[2] in q)
    page.keyboard.press("2")
    until(page, chips="? absent ? ?")
    page.keyboard.press("2")
    until(page, chips="? ? ? ?")
    page.keyboard.press("ArrowRight")
    until(page, asked=2)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    until(page, asked=0)
    page.keyboard.press("a")
    until(page, chips="present ? ? ?", asked=1)
    page.keyboard.press("x")
    page.keyboard.press("Space")
    until(page, chips="present absent skip ?", asked=3)
    page.keyboard.press("a")
    until(page, file="001.jpg", chips="? ? ? ?")
    page.keyboard.press("Enter")
    until(page, file="002.jpg")
    wanted = {HOSTILE[1]: "present", HOSTILE[2]: "absent", HOSTILE[4]: "present"}
    saved(page, lambda: labels(stored, "000.jpg") == wanted)
    assert labels(stored, "001.jpg") == {}


def test_undo_after_a_reload_and_redo(
    stored: Workspace, server: StreamlitServer, page: Page
) -> None:
    open_review(page, server)
    page.keyboard.press("a")
    until(page, chips="present ? ? ?")
    page.keyboard.press("o")
    until(page, file="001.jpg")
    saved(page, lambda: len(labels(stored, "000.jpg")) == 4)
    page.reload()
    until(page, state="card", file="001.jpg")
    page.keyboard.press("Backspace")
    saved(page, lambda: labels(stored, "000.jpg") == {HOSTILE[1]: "present"})
    page.keyboard.press("Control+z")
    saved(page, lambda: labels(stored, "000.jpg") == {})
    until(page, file="000.jpg")  # a single verdict's question is asked again
    page.keyboard.press("y")
    saved(page, lambda: labels(stored, "000.jpg") == {HOSTILE[1]: "present"})
    page.keyboard.press("Control+Shift+Z")
    saved(page, lambda: len(labels(stored, "000.jpg")) == 4)


def test_others_absent_is_undone_as_one(
    stored: Workspace, server: StreamlitServer, page: Page
) -> None:
    open_review(page, server)
    page.keyboard.press("1")
    page.keyboard.press("o")
    until(page, file="001.jpg", notice=lambda text: "Everything else is absent" in text)
    saved(page, lambda: len(labels(stored, "000.jpg")) == 4)
    page.keyboard.press("Backspace")
    until(page, file="000.jpg", chips="present ? ? ?")
    saved(page, lambda: labels(stored, "000.jpg") == {HOSTILE[1]: "present"})
    page.keyboard.press("y")
    until(page, file="001.jpg")
    saved(page, lambda: len(labels(stored, "000.jpg")) == 4)


def test_a_label_that_was_not_proposed(
    stored: Workspace, server: StreamlitServer, page: Page
) -> None:
    with stored.database.write() as session:
        session.execute(Label.__table__.delete())  # the first category is unknown, not proposed
    open_review(page, server)
    page.keyboard.press("l")
    field = page.get_by_role("combobox", name="Add a label")
    field.fill("onerror")
    assert page.get_by_role("option").all_inner_texts() == [HOSTILE[0]]
    page.keyboard.press("a")  # goes into the field
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    until(page, known=HOSTILE[0], chips="? ? ? ?")
    page.keyboard.press("l")
    field.fill("zeb")
    page.keyboard.press("Shift+Enter")
    until(page, chips="? ? absent ?")
    wanted = {HOSTILE[0]: "present", HOSTILE[3]: "absent"}
    saved(page, lambda: labels(stored, "000.jpg") == wanted)
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    until(page, known="", chips="? ? ? ?")
    saved(page, lambda: labels(stored, "000.jpg") == {})
    page.keyboard.press("l")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    until(page, chips="present ? ? ?")


def test_flags_come_and_go(stored: Workspace, server: StreamlitServer, page: Page) -> None:
    open_review(page, server)
    page.keyboard.press("f")
    page.get_by_label("What is odd about it?").fill("<b>upside down</b>")
    page.keyboard.press("Enter")
    until(page, flagged="⚑ <b>upside down</b> (Ada)")
    until(page, status="All saved")
    page.reload()
    until(page, state="card", flagged="⚑ <b>upside down</b> (Ada)")
    page.keyboard.press("f")
    until(page, notice="Flagged: <b>upside down</b>. Once more settles the flag.")
    until(page, flagged="⚑ <b>upside down</b> (Ada)")
    page.keyboard.press("f")
    until(page, flagged="", status="All saved")
    with stored.database.read() as session:
        (flag,) = session.scalars(select(Flag)).all()
    assert flag.resolved_at is not None


def test_boxes_and_zoom(server: StreamlitServer, page: Page) -> None:
    open_review(page, server)
    page.keyboard.press("b")
    until(page, boxes=1)
    page.keyboard.press("z")
    until(page, zoom=lambda transform: "scale(2)" in transform, boxes=1)
    ratio = page.evaluate(
        """() => {
          const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
          const picture = root.querySelector('.frame img').getBoundingClientRect();
          const box = root.querySelector('.boxes rect').getBoundingClientRect();
          return [(box.left - picture.left) / picture.width, box.width / picture.width];
        }"""
    )
    assert ratio == pytest.approx([1 / 64, 10 / 64], abs=0.02)
    page.keyboard.press("Escape")
    until(page, zoom="")
    page.keyboard.press("+")
    until(page, zoom=lambda transform: "scale(1.3)" in transform)
    page.keyboard.press("Enter")
    until(page, file="001.jpg", zoom="", boxes=1)
    page.keyboard.press("b")
    until(page, boxes=0)


def test_a_digit_on_a_picture_with_one_question_is_seen(
    stored: Workspace, server: StreamlitServer, page: Page
) -> None:
    with stored.database.write() as session:
        (image,) = session.scalars(select(Image).where(Image.file_name == "000.jpg"))
        several = select(Proposal).where(Proposal.image_id == image.id)
        for proposal in session.scalars(several.order_by(Proposal.chance.desc()).offset(1)):
            proposal.status = ProposalStatus.DECIDED
    open_review(page, server)
    until(page, file="000.jpg", chips="")
    page.keyboard.press("1")
    until(page, file="000.jpg", chips="present", verdicts=1)
    page.keyboard.press("1")
    until(page, chips="absent", verdicts=1)


def test_a_chip_keeps_the_keyboard_focus(server: StreamlitServer, page: Page) -> None:
    open_review(page, server)
    until(page, chips="? ? ? ?")
    page.locator("[data-part=chips] button").nth(2).focus()
    page.keyboard.press("1")
    until(page, chips="present ? ? ?", held=2)


def test_leaving_the_page_gives_the_cards_back(
    stored: Workspace, server: StreamlitServer, page: Page
) -> None:
    open_review(page, server)
    with stored.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Lease))
    page.get_by_role("link", name="Models").click()

    end = time.monotonic() + PATIENCE
    left = 1
    while left:
        assert time.monotonic() < end, f"{left} leases are still held"
        page.wait_for_timeout(100)
        with stored.database.read() as session:
            left = session.scalar(select(func.count()).select_from(Lease)) or 0


def test_a_changed_key_and_a_refused_one(
    stored: Workspace, server: StreamlitServer, page: Page
) -> None:
    open_review(page, server)
    page.keyboard.press("h")
    page.get_by_role("button", name="Change the key: it is there").click()
    page.keyboard.press("x")
    page.get_by_text("'x' is the key of 'reject' already").wait_for()
    page.get_by_role("button", name="Change the key: it is there").click()
    page.keyboard.press("j")
    page.locator("[data-part=helpKeys] kbd", has_text="j").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.keyboard.press("j")
    until(page, chips="present ? ? ?", verdicts=1, status="All saved")
    page.reload()
    until(page, state="card")
    assert page.locator("[data-key=accept]").inner_text() == "j"
    page.keyboard.press("?")
    page.get_by_role("button", name="Back to the defaults").click()
    page.locator("[data-key=accept]", has_text=re.compile("^a$")).wait_for(state="attached")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    until(page, verdicts=1, status="All saved")


def test_two_people_never_judge_the_same_pair(
    stored: Workspace, server: StreamlitServer, browser: Browser
) -> None:
    contexts = [browser.new_context(viewport={"width": 1280, "height": 720}) for _ in range(2)]
    pages = [context.new_page() for context in contexts]
    open_review(pages[0], server, "Ada")
    pages[1].goto(f"{server.url}/review?annotator=Bob")
    pages[1].locator("[data-part=review][data-state=end]").wait_for(timeout=60_000)
    pages[0].close()  # gives back what it showed
    pages[1].get_by_role("button", name="Check again").click()
    pages[1].locator("[data-part=review][data-state=card]").wait_for()
    pages[1].locator("[data-part=frame] img").wait_for()
    pages[1].keyboard.press("a")
    until(pages[1], verdicts=1, status="All saved")
    for context in contexts:
        context.close()
    with stored.database.read() as session:
        (decision,) = session.scalars(select(Decision)).all()
    assert decision.verdict.state is LabelState.PRESENT


def test_offline_everything_is_kept_and_delivered_later(
    stored: Workspace, server: StreamlitServer, page: Page
) -> None:
    open_review(page, server)
    until(page, file="000.jpg")
    page.wait_for_timeout(1_000)  # the next pictures are loaded
    page.context.set_offline(True)
    page.keyboard.press("a")
    page.keyboard.press("Backspace")
    page.keyboard.press("x")
    page.keyboard.press("o")
    until(page, file="001.jpg", status=lambda text: "kept here" in text)
    page.context.set_offline(False)
    wanted = dict.fromkeys(HOSTILE[1:], "absent")
    saved(page, lambda: labels(stored, "000.jpg") == wanted)
