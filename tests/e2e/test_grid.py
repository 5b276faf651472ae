"""The grid: marks, one batch a page, undo as one, and nothing stored that nobody saw.

The server behind it is ``review_app/stage.py``: the real routes over a workspace of their own.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import StartServer, StreamlitServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

pytestmark = pytest.mark.e2e

SCRATCH = Path(__file__).parent / "review_app" / "grid_app.py"
Json = dict[str, Any]
LIMIT = 25_000  # milliseconds

SEEN = """() => {
  const root = document.querySelector('[data-testid=stBidiComponentIsolated]')?.shadowRoot;
  const part = (name) => root?.querySelector(`[data-part=${name}]`);
  if (!part('review') || !part('grid')) return {};
  const cells = [...part('gridCells').querySelectorAll('[role=gridcell]')];
  const number = (cell) => Number(cell.getAttribute('aria-label').match(/(\\d{4})\\.jpg/)?.[1]);
  const { rest } = part('grid').dataset;
  const told = (verdict) => cells.filter((cell) => cell.dataset.verdict === verdict).map(number);
  const large = part('gridLarge');
  const active = root.activeElement;
  return {
    state: part('review').dataset.state,
    count: cells.length,
    cells: cells.map(number),
    first: cells.length ? number(cells[0]) : null,
    loaded: cells.filter((cell) => cell.dataset.state === 'ready').length,
    failed: cells.filter((cell) => cell.dataset.state === 'failed').length,
    exceptions: told(rest === 'present' ? 'absent' : 'present'),
    undecided: told('skip'),
    button: part('gridApply').textContent,
    note: part('gridNote').textContent,
    left: part('gridLeft').textContent,
    verdicts: Number(part('verdicts').textContent),
    rest,
    large: large.matches(':popover-open') ? large.dataset.kind : null,
    focus: active?.matches('[role=gridcell]') ? number(active) : null,
    status: part('statusText').textContent,
  };
}"""


class Fake:
    """The fake server as a test steers and questions it."""

    def __init__(self, server: StreamlitServer) -> None:
        self.server = server

    def set(self, **settings: object) -> None:
        body = json.dumps(settings).encode()
        with urllib.request.urlopen(f"{self.server.url}/api/test", data=body, timeout=20):
            pass

    def state(self) -> Json:
        with urllib.request.urlopen(f"{self.server.url}/api/test", timeout=20) as answer:
            state: Json = json.load(answer)
            return state

    def batches(self) -> list[dict[int, str]]:
        """Verdict by proposal of every stored batch, in the order they were stored."""
        found: dict[str, dict[int, str]] = {}
        for event in self.state()["events"]:
            if "verdict" in event:
                found.setdefault(event["batch_id"], {})[event["proposal_id"]] = event["verdict"]
        return list(found.values())

    def standing(self) -> dict[int, str]:
        """Verdict by proposal of what is not undone."""
        events = self.state()["events"]
        undone = {event["undoes"] for event in events if "undoes" in event}
        given = [e for e in events if "verdict" in e and e["client_id"] not in undone]
        return {event["proposal_id"]: event["verdict"] for event in given}


@pytest.fixture(scope="module")
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> StreamlitServer:
    return start_server(SCRATCH, {"CLSL_STAGE": str(tmp_path_factory.mktemp("stage"))})


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


def seen(page: Page) -> Json:
    found: Json = page.evaluate(SEEN)
    return found


def until(page: Page, **expected: object) -> None:
    """Wait until the component shows what is expected; a callable is asked."""
    wait(lambda: all(_agrees(seen(page).get(k), v) for k, v in expected.items()), page, expected)


def _agrees(value: Any, expected: Any) -> bool:
    return bool(expected(value)) if callable(expected) else value == expected


def wait(condition: Callable[[], bool], page: Page, what: object) -> None:
    end = time.monotonic() + LIMIT / 1000
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}; the page shows {seen(page)}"
        page.wait_for_timeout(50)


def open_grid(page: Page, fake: Fake, **settings: object) -> None:
    """The first page of category 2, all of its pictures on the screen."""
    large_window(page)
    open_page(page, fake, **settings)
    until(page, count=60, loaded=60)
    look(page)


def open_page(page: Page, fake: Fake, **settings: object) -> None:
    fake.set(**{"cards": 1000, **settings})
    page.goto(fake.server.url)
    until(page, state="card", count=at_least(1))


def large_window(page: Page) -> None:
    """Sixty pictures are on the screen, and no more."""
    page.set_viewport_size({"width": 1600, "height": 840})


def at_least(least: int) -> Callable[[Any], bool]:
    return lambda count: (count or 0) >= least


def look(page: Page) -> None:
    """Wait until every picture was there, and the page was looked at for a moment."""
    until(page, note="", button=re.compile(r"Store \d").match)
    page.wait_for_timeout(450)


def cell(page: Page, at: int) -> Locator:
    return page.get_by_role("gridcell").nth(at)


def places(*which: int) -> list[int]:
    """Proposals of category 2 by their place in the queue."""
    return [5 * place + 1 for place in which]


def file_name(place: int) -> str:
    return f"{places(place)[0]:04d}.jpg"


def test_a_page_is_stored_as_one_batch(page: Page, fake: Fake) -> None:
    open_grid(page, fake)
    assert page.get_by_role("heading", name="Is there a cat in these pictures?").is_visible()
    assert seen(page)["button"] == "Store 60 ✓ present"
    cell(page, 3).click()
    cell(page, 7).click()
    cell(page, 7).click()  # again: no exception after all
    cell(page, 9).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")  # and on to the next
    page.keyboard.press("Space")
    until(page, exceptions=places(3, 9, 10), undecided=places(11), note="1 left undecided")
    assert seen(page)["button"] == "Store 56 ✓ present, 3 ✗ absent"
    page.get_by_role("button", name="Store 56").click()
    until(page, first=places(60)[0], left="140", status="All saved")
    [batch] = fake.batches()
    assert list(batch) == [number for number in places(*range(60)) if number != places(11)[0]]
    assert [number for number, verdict in batch.items() if verdict == "absent"] == places(3, 9, 10)
    assert fake.state()["posts"] == 1
    events = fake.state()["events"]
    assert len({event["client_id"] for event in events}) == 59
    assert len({event["batch_id"] for event in events}) == 1
    assert all(0 < event["seconds"] < 60 for event in events)
    assert {event["category_id"] for event in events} == {2}


def test_ranges_all_and_none(page: Page, fake: Fake) -> None:
    open_grid(page, fake)
    cell(page, 20).click()
    cell(page, 24).click(modifiers=["Shift"])
    until(page, exceptions=places(20, 21, 22, 23, 24))
    cell(page, 18).click(modifiers=["Shift"])  # the same range, to the other side
    until(page, exceptions=places(18, 19, 20))
    cell(page, 2).click()
    page.keyboard.press("ArrowRight")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    until(page, exceptions=places(2, 3, 4, 5, 6, 18, 19, 20))
    page.keyboard.press("Shift+ArrowLeft")  # what the range leaves is as it was before
    until(page, exceptions=places(2, 3, 4, 5, 18, 19, 20), focus=places(5)[0])
    page.keyboard.press("Control+a")
    until(page, exceptions=places(*range(60)), button="Store 60 ✗ absent")
    page.keyboard.press("Escape")
    until(page, exceptions=[], button="Store 60 ✓ present")
    page.get_by_text("60 marks cleared. Escape brings them back.").wait_for()
    page.keyboard.press("Escape")
    until(page, exceptions=places(*range(60)))


def test_the_default_can_be_switched(page: Page, fake: Fake) -> None:
    open_grid(page, fake)
    cell(page, 5).click()
    page.keyboard.press("d")
    until(page, rest="absent", button="Store 60 ✗ absent", exceptions=[])  # what was said stays
    cell(page, 5).click()
    until(page, button="Store 1 ✓ present, 59 ✗ absent")
    name = cell(page, 5).get_attribute("aria-label")
    assert name is not None
    assert name.endswith(", there")
    page.get_by_role("button", name="✓ present", exact=True).click()
    until(page, rest="present")
    page.get_by_role("button", name="✗ absent", exact=True).click()
    until(page, rest="absent")
    page.keyboard.press("Enter")
    until(page, first=places(60)[0], rest="absent", status="All saved")  # it stays switched
    [batch] = fake.batches()
    assert Counter(batch.values()) == {"absent": 59, "present": 1}
    assert batch[places(5)[0]] == "present"


def test_undo_brings_page_and_marks_back_and_redo_applies_them(page: Page, fake: Fake) -> None:
    open_grid(page, fake)
    cell(page, 1).click()
    cell(page, 4).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    until(page, first=places(60)[0])
    cell(page, 2).click()  # on the second page
    page.keyboard.press("Backspace")
    marks = {"exceptions": places(1, 4), "undecided": places(5)}
    until(page, first=places(0)[0], count=60, left="200", status="All saved", **marks)
    assert fake.standing() == {}
    until(page, verdicts=0)
    page.keyboard.press("y")
    until(page, first=places(60)[0], exceptions=places(62), status="All saved", verdicts=59)
    assert fake.standing() == fake.batches()[0]
    page.keyboard.press("Control+z")
    until(page, first=places(0)[0], status="All saved", **marks)
    assert fake.standing() == {}
    cell(page, 4).click()
    page.wait_for_timeout(450)
    page.keyboard.press("Enter")
    until(page, first=places(60)[0], status="All saved")
    assert [n for n, verdict in fake.standing().items() if verdict == "absent"] == places(1)


def test_what_was_not_seen_comes_on_the_next_page(page: Page, fake: Fake) -> None:
    open_page(page, fake)
    until(page, loaded=60, note=re.compile(r"^\d+ not seen yet come on the next page$").match)
    page.wait_for_timeout(450)
    hidden = int(seen(page)["note"].split()[0])
    assert 10 < hidden < 50
    assert seen(page)["button"] == f"Store {60 - hidden} ✓ present"
    page.keyboard.press("Enter")
    until(page, first=places(60 - hidden)[0], count=60, status="All saved")
    assert list(fake.batches()[0]) == places(*range(60 - hidden))
    until(page, note=re.compile(r"^\d+ not seen yet").match)
    cell(page, 0).click()
    until(page, exceptions=places(60 - hidden))
    page.keyboard.press("Backspace")
    # The others were seen at the top of the second page; the first page had no marks.
    until(page, first=places(0)[0], count=60, status="All saved", note="", exceptions=[])


def test_a_hasty_second_press_stores_nothing(page: Page, fake: Fake) -> None:
    open_grid(page, fake)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    until(page, first=places(60)[0], status="All saved")
    page.wait_for_timeout(600)
    assert seen(page)["first"] == places(60)[0]
    assert len(fake.batches()) == 1


def test_a_page_left_undecided_stores_nothing(page: Page, fake: Fake) -> None:
    open_page(page, fake, cards=15)  # three of the category
    until(page, loaded=3, note="")
    for key in ("Space", "Space", "Space", "a"):
        page.keyboard.press(key)
    until(page, undecided=places(0, 1, 2), button="Next page, nothing to store")
    page.wait_for_timeout(450)
    page.keyboard.press("Enter")
    until(page, state="end")
    page.keyboard.press("Backspace")
    until(page, state="card", undecided=places(0, 1, 2))
    assert fake.state()["events"] == []


def test_another_queue_or_category_opens_another_grid(page: Page, fake: Fake) -> None:
    open_grid(page, fake)
    cell(page, 1).click()
    page.keyboard.press("Enter")
    until(page, first=places(60)[0], status="All saved")
    cell(page, 0).click()
    page.get_by_text("1", exact=True).click()
    until(page, first=5, left="200", rest="absent", exceptions=[])  # the model holds these absent
    assert page.get_by_role("heading", name="Is there a dog in these pictures?").is_visible()
    page.keyboard.press("Backspace")  # the page of the other category, undone without a look at it
    page.get_by_text("Undone: cat, 60 pictures – 59 ✓ present, 1 ✗ absent").wait_for()
    until(page, status="All saved", first=5)
    assert fake.standing() == {}
    page.get_by_text("2", exact=True).click()
    until(page, first=places(0)[0], rest="present", left="200", exceptions=[])


def test_a_large_window_has_a_larger_page(page: Page, fake: Fake) -> None:
    page.set_viewport_size({"width": 2200, "height": 1600})
    open_page(page, fake)
    until(page, count=100, loaded=100, note="")
    page.wait_for_timeout(450)
    page.keyboard.press("Enter")
    until(page, first=places(100)[0], count=100, status="All saved")
    assert len(fake.batches()[0]) == 100


def test_pictures_that_somebody_else_has_are_left_out(page: Page, fake: Fake) -> None:
    page.clock.install()
    open_grid(page, fake, lost=places(2, 70))
    page.clock.fast_forward(121_000)  # the leases are renewed every two minutes
    until(page, note="1 taken by somebody else", button="Store 59 ✓ present")
    assert cell(page, 2).get_by_text("Decided or held by somebody else").is_visible()
    page.keyboard.press("Enter")
    until(page, first=places(60)[0], status="All saved")
    assert list(fake.batches()[0]) == [
        number for number in places(*range(60)) if number != places(2)[0]
    ]
    assert seen(page)["cells"][9:11] == places(69, 71)


def test_broken_and_unloaded_pictures_stay_undecided(page: Page, fake: Fake) -> None:
    fake.set(cards=400, broken=places(4, 6))
    hold: list[Callable[[], None]] = []
    late = f"images/{1000 + places(58)[0]}?"

    def wait_long(route: Route) -> None:
        hold.append(route.continue_)

    page.route(lambda url: late in url, wait_long)
    large_window(page)
    page.goto(fake.server.url)
    words = "1 not loaded yet stays undecided · 2 cannot be shown"
    until(page, loaded=57, failed=2, note=words, button="Store 57 ✓ present")
    assert cell(page, 4).get_by_text("Cannot be shown, stays undecided").is_visible()
    page.wait_for_timeout(450)
    page.keyboard.press("Enter")
    until(page, first=places(58)[0], status="All saved")  # it is the next page's first
    assert list(fake.batches()[0]) == [n for n in places(*range(60)) if n not in places(4, 6, 58)]
    assert hold
    hold[0]()
    until(page, note="", button="Store 21 ✓ present")


def test_the_large_view_follows_the_arrows(page: Page, fake: Fake) -> None:
    open_grid(page, fake)
    large = page.locator("[data-part=gridLarge]")
    page.keyboard.press("z")
    until(page, large="open")
    assert large.get_by_text(file_name(0)).is_visible()
    large.locator("img[src*='size=960']").wait_for()
    page.keyboard.press("ArrowRight")
    large.get_by_text(file_name(1)).wait_for()
    assert large.get_by_text(re.compile(r"^probability 88 %|^score 0.91")).is_visible()
    page.keyboard.press("x")
    until(page, exceptions=places(1))
    large.get_by_text(file_name(2)).wait_for()
    large.get_by_role("button", name="✓ Present", pressed=True).wait_for()
    page.keyboard.press("ArrowLeft")
    large.get_by_role("button", name="✗ Absent", pressed=True).wait_for()
    large.get_by_role("button", name="Undecided").click()
    until(page, undecided=places(1), exceptions=[])
    page.keyboard.press("Escape")
    until(page, large=None, undecided=places(1), focus=places(1)[0])


def test_resting_on_a_picture_shows_it_large(page: Page, fake: Fake) -> None:
    open_grid(page, fake)
    cell(page, 12).hover()
    until(page, large="peek")
    assert page.locator("[data-part=gridLarge]").get_by_text(file_name(12)).is_visible()
    cell(page, 12).click()
    until(page, large=None, exceptions=places(12))
    cell(page, 13).hover()
    until(page, large="peek")
    page.get_by_role("heading", name="in these pictures?").hover()
    until(page, large=None)
    cell(page, 14).hover()
    until(page, large="peek")
    page.keyboard.press("Enter")  # another picture comes under the pointer
    until(page, first=places(60)[0], large=None)
    page.wait_for_timeout(800)
    assert seen(page)["large"] is None
    cell(page, 14).hover(position={"x": 9, "y": 9})
    until(page, large="peek")


def test_the_size_is_remembered(page: Page, fake: Fake) -> None:
    open_page(page, fake)
    width = "() => Math.round(document.querySelector('[data-testid=stBidiComponentIsolated]')"
    width += ".shadowRoot.querySelector('[role=gridcell]').offsetWidth)"
    before = page.evaluate(width)
    page.get_by_role("slider", name="Size").fill("320")
    wait(lambda: page.evaluate(width) >= 320, page, "larger pictures")
    assert before < 160
    sharp = page.locator("[role=gridcell] img[src*='size=480']").first
    sharp.wait_for()
    page.reload()
    until(page, state="card", loaded=at_least(1))
    assert page.evaluate(width) >= 320


def test_what_others_decided_meanwhile_is_told(page: Page, fake: Fake) -> None:
    open_grid(page, fake, stale=places(3, 8))
    page.keyboard.press("Enter")
    page.get_by_text("of 60, 2 decided by somebody else meanwhile").wait_for()
    until(page, status="All saved")
    assert len(fake.batches()[0]) == 58


def test_hostile_names_are_shown_as_text(page: Page, fake: Fake) -> None:
    page.on("dialog", lambda dialog: pytest.fail(f"a name ran: {dialog.message}"))
    name = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    file = f'"><svg onload=alert(3)>{name}'
    open_page(page, fake, category=name, file_name=file)
    assert page.get_by_role("heading", name=f"Is there a {name} in these pictures?").is_visible()
    page.keyboard.press("z")
    page.locator("[data-part=gridLargeName]").get_by_text(file, exact=True).wait_for()
    label = cell(page, 0).get_attribute("aria-label")
    assert label is not None
    assert label.startswith(file)
    assert page.locator("[data-part=grid] :is(script, svg)").count() == 0
    assert page.locator("[data-part=grid] img:not([src*='/api/images/'])").count() == 0


def test_the_whole_queue_by_keyboard(page: Page, fake: Fake) -> None:
    open_grid(page, fake, cards=400)  # 80 of the category
    until(page, focus=places(0)[0])
    for key in ("End", "x", "Home", "x", "ArrowDown", "Space"):
        page.keyboard.press(key)
    below = seen(page)["undecided"]
    until(page, exceptions=places(0, 59), focus=below[0] + 5)
    page.keyboard.press("Enter")
    until(page, first=places(60)[0], count=20, left="20", focus=places(60)[0])
    look(page)
    page.keyboard.press("Enter")
    until(page, state="end", status="All saved")
    page.get_by_text("Nothing left").wait_for()
    assert [len(batch) for batch in fake.batches()] == [59, 20]
    page.keyboard.press("Backspace")
    until(page, state="card", first=places(60)[0], count=20, status="All saved")


def test_reloading_with_a_batch_pending_delivers_it_once(page: Page, fake: Fake) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    open_grid(page, fake)
    fake.set(fail=503)
    cell(page, 0).click()
    page.keyboard.press("Enter")
    until(page, first=places(60)[0], status=re.compile("1 kept here").search)
    page.reload()
    fake.set(fail=0)
    until(page, state="card", first=places(60)[0], status="All saved")
    wait(lambda: len(fake.standing()) == 60, page, "the batch")
    assert [len(batch) for batch in fake.batches()] == [60]
    assert fake.standing()[places(0)[0]] == "absent"


def test_the_next_page_is_painted_at_once(page: Page, fake: Fake) -> None:
    pictures: set[str] = set()
    page.on(
        "requestfinished", lambda call: pictures.add(call.url) if "size=240" in call.url else None
    )
    open_grid(page, fake)
    wait(lambda: len(pictures) >= 120, page, "the next page's pictures")
    page.wait_for_timeout(500)  # the last of them are decoded
    page.keyboard.press("Enter")
    assert seen(page)["first"] == places(60)[0]  # drawn by the key's own handler
    assert seen(page)["loaded"] == 60


def test_a_mark_touches_no_other_picture(page: Page, fake: Fake) -> None:
    open_grid(page, fake)
    page.evaluate(
        """() => {
          const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
          window.touched = new Set();
          new MutationObserver((records) => {
            for (const { target } of records) {
              const cell = target.closest?.('[role=gridcell]');
              if (cell) window.touched.add(cell.getAttribute('aria-label').split(',')[0]);
              else window.touched.add(target.className);
            }
          }).observe(root.querySelector('[role=grid]'), {
            subtree: true, childList: true, attributes: true, attributeFilter: ['data-mark'],
          });
        }"""
    )
    cell(page, 8).click()
    until(page, exceptions=places(8))
    touched = page.evaluate("[...window.touched]")
    assert touched
    assert all(file_name(8) in name or name == "grid-badge" for name in touched)


def test_everything_is_in_reach_at_1280_by_720(page: Page, fake: Fake) -> None:
    open_page(page, fake)
    until(page, loaded=at_least(28))
    found = page.evaluate(
        """() => {
          const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
          const box = (element) => element.getBoundingClientRect();
          const cells = root.querySelector('[data-part=gridCells]');
          const bottom = Math.min(innerHeight, box(cells).bottom);
          const whole = (cell) => box(cell).top >= box(cells).top && box(cell).bottom <= bottom;
          cells.scrollTop = 100;
          const shown = [...cells.querySelectorAll('[role=gridcell]')].filter(whole);
          return {
            columns: new Set(shown.map((cell) => box(cell).left)).size,
            rows: new Set(shown.map((cell) => box(cell).top)).size,
            header: box(root.querySelector('[data-part=gridApply]')).top,
            bottom: box(root.querySelector('[data-part=review]')).bottom,
          };
        }"""
    )
    assert found["columns"] >= 7
    assert found["rows"] >= 4
    assert 0 <= found["header"] < 300
    assert found["bottom"] <= 720


def test_fingers_mark_and_hold(browser: Browser, fake: Fake) -> None:
    context = browser.new_context(
        viewport={"width": 820, "height": 1180}, has_touch=True, is_mobile=True
    )
    context.set_default_timeout(LIMIT)
    page = context.new_page()
    open_page(page, fake)
    until(page, loaded=at_least(8))
    cell(page, 2).tap()
    until(page, exceptions=places(2), large=None)
    hold(page, cell(page, 3))
    cell(page, 3).dispatch_event("click")  # some browsers send one when the finger lifts
    until(page, large="open", exceptions=places(2))
    page.locator("[data-part=gridLarge]").get_by_role("button", name="✗ Absent").tap()
    until(page, exceptions=places(2, 3))
    page.locator("[data-part=gridLarge]").get_by_role("button", name="Close").tap()
    until(page, large=None)
    small_ones = page.evaluate(
        """() => {
          const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
          const kinds = ':is(button, [role=gridcell], input)';
          return [...root.querySelectorAll(`[data-part=grid] ${kinds}`)]
            .map((target) => target.getBoundingClientRect())
            .filter(({ width, height }) => height > 0 && Math.min(width, height) < 40).length;
        }"""
    )
    assert small_ones == 0
    context.close()


def hold(page: Page, target: Locator) -> None:
    """A finger that rests, as a browser tells it."""
    box = target.bounding_box()
    assert box is not None
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    until(page, large="open")
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_for_screen_readers(browser: Browser, fake: Fake, theme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme=theme)
    context.set_default_timeout(LIMIT)
    page = context.new_page()
    open_page(page, fake)
    until(page, loaded=at_least(20))
    cell(page, 1).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    for large in (None, "open"):
        until(page, large=large)
        found = axe.Axe().run(page).response["violations"]
        worst = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], one["nodes"][0]["html"]) for one in worst] == []
        page.keyboard.press("z")
    context.close()
