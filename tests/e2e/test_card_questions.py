"""Cards with several questions: chips, labels of one's own, flags, keys, and looking closely.

The server behind it is ``review_app/fake_routes.py``; ``test_card.py`` has the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import StartServer, StreamlitServer
from tests.e2e.review_app.driver import SCRATCH, Fake, open_review, seen, until, wait

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
ROOT = "document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot"


@pytest.fixture(scope="module")
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> StreamlitServer:
    journal = tmp_path_factory.mktemp("fake") / "journal.jsonl"
    return start_server(SCRATCH, {"CLSL_FAKE_JOURNAL": str(journal)})


@pytest.fixture
def fake(server: StreamlitServer) -> Fake:
    fake = Fake(server)
    fake.set(reset=True)
    return fake


@pytest.fixture(autouse=True)
def errors(page: Page) -> Iterator[None]:
    """An exception in the page fails the test."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    yield
    assert found == []


def chips(*answers: str) -> list[str]:
    """Answers by their first letters; ``u`` is undecided."""
    words = {"u": "undecided", "a": "accepted", "r": "rejected", "s": "skipped"}
    return [words[answer] for answer in answers]


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_each_answer_asks_the_next_question(page: Page, fake: Fake) -> None:
    open_review(page, fake, others=3)
    until(page, question="Is there any cat in this picture?", chips=chips(*"uuuu"), focus=0)
    press(page, "ArrowRight", "a")
    until(page, chips=chips(*"uauu"), focus=2, question="Is there any person in this picture?")
    press(page, "Space")
    until(page, chips=chips(*"uasu"), focus=3)
    press(page, "x")
    until(page, chips=chips(*"uasr"), focus=0, image=1)
    press(page, "ArrowUp")  # round to the last one: a second thought
    until(page, focus=3)
    press(page, "a")
    until(page, chips=chips(*"uasa"), focus=0)
    press(page, "ArrowRight", "a")  # the same answer again changes nothing
    until(page, chips=chips(*"uasa"), focus=0)
    press(page, "x")
    until(page, image=2, chips=chips(*"uuuu"), focus=0, verdicts=3, status="All saved")
    assert fake.standing() == {
        (1, 3): "present",
        (1, 4): "skip",
        (1, 5): "present",
        (1, 2): "absent",
    }
    assert len(fake.verdicts()) == 5  # the second thought took the first one back


def test_digits_toggle_and_stay(page: Page, fake: Fake) -> None:
    open_review(page, fake, others=2)
    press(page, "3")
    until(page, image=1, chips=chips(*"uua"), focus=2)
    press(page, "3")
    until(page, chips=chips(*"uur"))
    press(page, "3")
    until(page, chips=chips(*"uuu"), verdicts=0, status="All saved", canUndo=False)
    press(page, "4")  # there is no fourth
    press(page, "1", "2", "3")
    until(page, image=1, chips=chips(*"aaa"), verdicts=3)
    press(page, "Enter")
    until(page, image=2, status="All saved")
    assert fake.standing() == {(1, 2): "present", (1, 3): "present", (1, 4): "present"}


def test_what_was_left_undecided_comes_again(page: Page, fake: Fake) -> None:
    open_review(page, fake, cards=3, others=1)
    press(page, "2")
    until(page, chips=chips(*"ua"))
    press(page, "Enter")
    until(page, image=2)
    press(page, "a", "a")
    until(page, image=3)
    press(page, "a", "a")
    until(page, image=1, chips=chips("u"), state="card")  # only what is open
    press(page, "a")
    until(page, state="end", status="All saved", left="0", verdicts=6)
    assert page.get_by_text("Choose another queue.").is_visible()
    assert page.get_by_text("Train again.").is_visible()


def test_undo_and_redo_walk_through_the_questions(page: Page, fake: Fake) -> None:
    open_review(page, fake, others=1)
    press(page, "a", "x")
    until(page, image=2)
    press(page, "o")
    until(page, image=3, verdicts=3, notice=lambda text: "3 categories marked absent" in text)
    press(page, "Backspace")
    until(page, image=2, chips=chips(*"uu"), verdicts=2)
    press(page, "Control+z")
    until(page, image=1, chips=chips(*"au"), focus=1)
    press(page, "Control+z")
    until(page, image=1, chips=chips(*"uu"), focus=0, canUndo=False)
    press(page, "y")
    until(page, image=1, chips=chips(*"au"), verdicts=1)
    press(page, "Control+Shift+Z")
    until(page, image=2, verdicts=2)
    press(page, "Control+y")
    until(page, image=3, verdicts=3, canRedo=False, status="All saved")
    wanted = {(1, 2): "present", (1, 3): "absent"}
    wanted |= {(2, 3): "absent", (2, 4): "absent", (2, 92): "absent"}
    assert fake.standing() == wanted
    press(page, "Backspace")
    until(page, image=2, canRedo=True)
    press(page, "a")
    until(page, canRedo=False)
    press(page, "y")
    until(page, notice="There is nothing to redo.", status="All saved")


def test_undo_reaches_back_over_a_reload(page: Page, fake: Fake) -> None:
    open_review(page, fake, others=1)
    press(page, "a")
    until(page, chips=chips(*"au"))
    press(page, "o")
    until(page, image=2, status="All saved")
    page.reload()
    until(page, image=2, canUndo=True, last="Last: 2 labels – absent")
    press(page, "Backspace")
    until(page, notice="Undone: 2 labels – absent", status="All saved")
    wait(lambda: fake.standing() == {(1, 2): "present"}, page, "the batch is undone")
    press(page, "Backspace")
    until(page, image=1, question="Is there any cat in this picture?", canUndo=False)
    press(page, "y")
    until(page, image=2, status="All saved")
    wait(lambda: fake.standing() == {(1, 2): "present"}, page, "redone")
    press(page, "y")
    wait(lambda: len(fake.standing()) == 3, page, "the batch is redone")


def test_a_label_that_was_not_proposed(page: Page, fake: Fake) -> None:
    open_review(page, fake, others=1, categories=3000)
    press(page, "l")
    field = page.get_by_role("combobox", name="Add a label")
    field.fill("thing")
    assert page.get_by_role("option").count() == 50
    field.fill("thing 2999")
    assert page.get_by_role("option").all_inner_texts() == ["thing 2999"]
    press(page, "Enter")
    until(page, dialog="", known="person thing 2999", image=1, verdicts=1)
    press(page, "l")
    field.fill("zeb")
    press(page, "Shift+Enter")
    until(page, known="person thing 2999 ✗ zebra")
    press(page, "l")
    field.fill("thing 2999")
    assert page.get_by_text("present already").is_visible()
    press(page, "Enter")
    until(page, notice="thing 2999 is present already.", verdicts=2)
    press(page, "l")
    field.fill("umb")  # a proposal of this picture
    press(page, "Enter")
    until(page, chips=chips(*"ua"), verdicts=3)
    press(page, "l", "a", "x")  # typed
    until(page, verdicts=3, dialog="picker")
    field.fill("no such")
    press(page, "Enter")
    assert page.get_by_text("No category of that name.").is_visible()
    press(page, "Escape")
    until(page, dialog="")
    press(page, "Backspace", "Backspace", "Backspace")
    until(page, known="person", chips=chips(*"uu"), status="All saved", canUndo=False)
    assert fake.standing() == {}


def test_hostile_categories_are_text_everywhere(page: Page, fake: Fake) -> None:
    page.on("dialog", lambda dialog: pytest.fail(f"a name ran: {dialog.message}"))
    open_review(page, fake, others=1, category=HOSTILE, disputes=True)
    press(page, "b")
    until(page, boxes=2, question=lambda text: text.startswith(f"The label says no {HOSTILE}, "))
    press(page, "l")
    page.get_by_role("combobox", name="Add a label").fill("onerror")
    page.get_by_role("option", name=HOSTILE).first.click()
    until(page, dialog="", known=f"{HOSTILE} {HOSTILE}")
    press(page, "f")
    page.get_by_label("What is odd about it?").fill(HOSTILE)
    press(page, "Enter")
    until(page, flagged=f"⚑ {HOSTILE} (Ada <b>Lovelace</b>)", status="All saved")
    press(page, "a", "a")
    until(page, image=2, last=f"Last: {HOSTILE} – present")
    alive = f"{ROOT}.querySelectorAll('script, img[src=x], svg *:not(g, rect, text)').length"
    assert page.evaluate(alive) == 0


def test_a_doubted_label_is_asked_plainly(page: Page, fake: Fake) -> None:
    open_review(page, fake, cards=5, disputes=True)
    asked = "The label says no cat, the model doubts it. Is there any cat?"
    until(page, question=asked)
    press(page, "Enter", "Enter", "Enter", "Enter")
    until(page, image=5, question="The label says dog, the model doubts it. No dog: right?")
    assert page.get_by_role("button", name="no dog, probability 88 %, undecided").is_visible()
    assert page.get_by_role("button", name="Accept not there").is_visible()
    press(page, "o")  # a doubted label is a label: it is not among the others
    until(page, image=1, status="All saved")
    assert (5, 1) not in fake.standing() or fake.standing()[(5, 1)] == "absent"


def test_flags_are_raised_and_settled(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    press(page, "f")
    until(page, dialog="flag")
    press(page, "Escape")
    until(page, dialog="", flagged="")
    press(page, "f")
    page.get_by_label("What is odd about it?").fill("a drawing, not a photograph")
    press(page, "Enter")
    until(page, flagged=lambda text: "a drawing" in text, image=1, status="All saved")
    press(page, "f")
    until(page, dialog="flag")
    assert page.get_by_role("heading", name="This picture is flagged").is_visible()
    press(page, "Escape")
    until(page, flagged=lambda text: "a drawing" in text)
    press(page, "f", "Enter")
    until(page, dialog="", flagged="", status="All saved")
    kinds = [next(iter({"flags", "unflags"} & set(e)), "") for e in fake.state()["events"]]
    assert kinds == ["flags", "unflags"]


PLACES = f"""() => {{
  const box = (element) => {{
    const {{ x, y, width, height }} = element.getBoundingClientRect();
    return [x, y, width, height];
  }};
  const frame = {ROOT}.querySelector('[data-part=frame]');
  return {{
    stage: box({ROOT}.querySelector('[data-part=stage]')),
    picture: box(frame.querySelector('img:not(.heat)')),
    heat: box(frame.querySelector('img.heat')),
    layer: box(frame.querySelector('.boxes')),
    boxes: [...frame.querySelectorAll('.boxes rect:not(.halo)')].map(box),
    dashed: [...frame.querySelectorAll('.boxes rect:not(.halo)')].map(
      (rect) => getComputedStyle(rect).strokeDasharray !== 'none'),
  }};
}}"""


def check_places(page: Page) -> dict[str, Any]:
    """Heat map and boxes lie where they belong on the picture."""
    places: dict[str, Any] = page.evaluate(PLACES)
    x, y, width, height = places["picture"]
    assert places["heat"] == pytest.approx(places["picture"], abs=0.5)
    assert places["layer"] == pytest.approx(places["picture"], abs=0.5)
    wanted = [x + width / 2, y + height / 4, width / 4, height / 2]
    assert places["boxes"][0] == pytest.approx(wanted, abs=1.0)
    return places


def test_heat_map_and_boxes_stay_where_they_belong(page: Page, fake: Fake) -> None:
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    open_review(page, fake, others=1)
    press(page, "m")
    until(page, heat=True)
    assert not any("/api/boxes" in address for address in addresses)  # nobody has asked for them
    press(page, "b")
    until(page, boxes=2)
    fit = check_places(page)
    assert fit["dashed"] == [False, True]
    press(page, "z")
    until(page, zoom=lambda transform: "scale(2)" in transform)
    assert check_places(page)["picture"][2] == pytest.approx(2 * fit["picture"][2], abs=1)
    wait(lambda: any("size=1920" in one for one in addresses), page, "more detail")
    x, y, width, height = fit["stage"]
    page.mouse.move(x + width / 2, y + height / 2)
    before = check_places(page)["picture"][1]
    page.mouse.down()
    page.mouse.move(x + width / 2, y + height / 2 - 60, steps=3)
    page.mouse.up()
    assert check_places(page)["picture"][1] == pytest.approx(before - 60, abs=1)
    page.mouse.dblclick(x + width / 2, y + height / 2)
    until(page, zoom="")
    assert check_places(page)["picture"] == fit["picture"]
    page.mouse.wheel(0, -200)
    until(page, zoom=lambda transform: "scale(1.4" in transform)
    check_places(page)
    press(page, "+", "-", "-")
    until(page, zoom=lambda transform: "scale(1.1" in transform)
    press(page, "Escape")
    until(page, zoom="")
    press(page, "z", "Enter")  # the next picture is shown whole
    until(page, image=2, zoom="", heat=True, boxes=2)
    wait(lambda: sum("/api/boxes" in one for one in addresses) == 2, page, "one request a picture")
    press(page, "m", "b")
    until(page, heat=False, boxes=0)


def test_two_fingers_zoom(browser: Browser, fake: Fake) -> None:
    context = browser.new_context(viewport={"width": 820, "height": 1180}, has_touch=True)
    page = context.new_page()
    open_review(page, fake)
    stage = page.locator("[data-part=stage]").bounding_box()
    assert stage is not None
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    session = context.new_cdp_session(page)

    def touch(kind: str, *offsets: float) -> None:
        points = [{"x": x + offset, "y": y} for offset in offsets]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", -40)
    touch("touchStart", -40, 40)
    touch("touchMove", -70, 70)
    touch("touchMove", -100, 100)
    touch("touchEnd")
    until(page, zoom=lambda transform: "scale(2.5)" in transform)
    context.close()


def test_the_keyboard_reaches_every_chip(page: Page, fake: Fake) -> None:
    open_review(page, fake, others=4)
    page.get_by_role("button", name="person, probability 55 %, undecided").focus()
    press(page, "Enter")  # pressed, it is asked
    until(page, focus=2, image=1)
    press(page, "a")
    until(page, chips=chips(*"uuauu"), focus=3)
    active = (
        f"[...{ROOT}.querySelector('[data-part=chips]').children].indexOf({ROOT}.activeElement)"
    )
    assert page.evaluate(active) == 3  # the focus goes along
    press(page, "ArrowDown")
    assert page.evaluate(active) == 4
    page.get_by_role("button", name="cat, probability 88 %, undecided").click()
    until(page, focus=0)
    press(page, "Space")  # skips; the clicked chip is not pressed again
    until(page, chips=chips(*"suauu"), focus=1)
    asked = f"{ROOT}.querySelector('[data-part=asked]').textContent"
    question = "Is there any umbrella in this picture?"
    wait(lambda: page.evaluate(asked) == question, page, "what a screen reader hears")


LAYOUTS = {"a": ("ф", "KeyA"), "2": ("é", "Digit2"), "x": ("χ", "KeyX")}


def test_other_keyboard_layouts_have_the_same_keys(page: Page, fake: Fake) -> None:
    open_review(page, fake, others=2)
    for key, code in LAYOUTS.values():
        page.evaluate(
            """([key, code]) => document.body.dispatchEvent(
              new KeyboardEvent('keydown', { key, code, bubbles: true, composed: true }))""",
            [key, code],
        )
    until(page, chips=chips(*"aru"), focus=2)


def test_keys_can_be_changed(page: Page, fake: Fake) -> None:
    open_review(page, fake, others=1)
    change = page.get_by_role("button", name="Change the key: accept what the model proposes")
    press(page, "h")
    change.click()
    press(page, "Escape")  # leaves it as it was, and the help open
    until(page, help=True)
    change.click()
    press(page, "x")
    page.get_by_role("alert").get_by_text("two actions on one key").wait_for()
    change.click()
    press(page, "j")
    page.locator("[data-part=helpKeys] kbd", has_text="j").wait_for()
    assert page.evaluate(f"{ROOT}.activeElement.dataset.change") == "accept"
    press(page, "Escape")
    until(page, help=False)
    accept = page.get_by_role("button", name="Accept")
    assert accept.locator("kbd").inner_text() == "j"
    assert accept.get_attribute("aria-keyshortcuts") == "j"
    press(page, "a")  # means nothing now
    press(page, "j")
    until(page, chips=chips(*"au"), verdicts=1, status="All saved")
    page.reload()
    until(page, state="card", image=1)
    press(page, "j")
    until(page, image=2, verdicts=1)
    press(page, "h")
    page.get_by_role("button", name="Back to the defaults").click()
    page.locator("[data-part=helpKeys] kbd", has_text="a").first.wait_for()
    press(page, "Escape", "a")
    until(page, image=2, chips=chips(*"au"), status="All saved")


def test_no_key_decides_while_a_dialog_is_open(page: Page, fake: Fake) -> None:
    open_review(page, fake, others=1)
    for key, dialog in (("h", "help"), ("f", "flag"), ("l", "picker")):
        press(page, key)
        until(page, dialog=dialog)
        press(page, "a", "x", "1", "o", "Control+z")
        now = seen(page)
        assert (now["image"], now["verdicts"], now["chips"]) == (1, 0, chips(*"uu"))
        press(page, "Escape")
        until(page, dialog="")
    assert fake.state()["events"] == []


def test_figures_of_the_session(page: Page, fake: Fake) -> None:
    open_review(page, fake, cards=30)
    until(page, left="30")
    for number, key in enumerate("aaaxxa", start=1):
        until(page, image=number)
        page.wait_for_timeout(30)
        press(page, key)
    until(page, image=7, left="24", verdicts=6, status="All saved")
    pace = page.locator("[data-part=pace]").inner_text()
    assert "67 % accepted" in pace
    assert "to go" in pace
    press(page, "Backspace")
    until(page, left="25", verdicts=5)


@pytest.mark.parametrize("size", [(1280, 720), (820, 1180)])
def test_everything_is_in_reach(browser: Browser, fake: Fake, size: tuple[int, int]) -> None:
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=height > width
    )
    page = context.new_page()
    open_review(page, fake, others=4)
    found = page.evaluate(
        f"""() => {{
          const box = (element) => element.getBoundingClientRect();
          const all = [...{ROOT}.querySelectorAll('.review button')];
          const buttons = all.filter((button) => button.offsetParent);
          const stage = box({ROOT}.querySelector('[data-part=stage]'));
          return {{
            bottom: Math.max(...buttons.map((button) => box(button).bottom)),
            least: Math.min(...buttons.map((button) => box(button).height)),
            count: buttons.length,
            stage: stage.width * stage.height,
            page: document.querySelector('[data-testid=stMain]').scrollHeight,
          }};
        }}"""
    )
    assert found["count"] == 5 + 4 + 6 + 3
    assert found["bottom"] <= height
    assert found["least"] >= (40 if height > width else 33)
    assert found["stage"] >= 0.25 * width * height  # the picture is what matters
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_for_screen_readers(browser: Browser, fake: Fake, theme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme=theme)
    page = context.new_page()
    open_review(page, fake, others=4)
    press(page, "a", "x", "Space", "b", "l")
    until(page, dialog="picker", boxes=2, chips=chips(*"arsuu"))
    check_axe(axe, page)
    press(page, "Escape", "f")
    page.get_by_label("What is odd about it?").fill("<b>odd</b>")
    check_axe(axe, page)
    press(page, "Enter")
    until(page, dialog="", flagged=lambda text: "odd" in text)
    check_axe(axe, page)
    press(page, "h")
    until(page, dialog="help")
    check_axe(axe, page)
    context.close()


def check_axe(axe: Any, page: Page) -> None:
    found = axe.Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    inside = [
        (one["id"], node["html"])
        for one in serious
        for node in one["nodes"]
        if isinstance(node["target"][0], list)  # in the component's shadow root
    ]
    assert inside == []
