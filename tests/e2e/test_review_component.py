"""What only a browser shows: keys, delivery, and keeping one's place.

The server behind it is ``review_app/stage.py``: the real routes over a workspace of their own.
"""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.components.page_script import MODULES
from tests.e2e.conftest import StartServer, StreamlitServer

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page, Route

pytestmark = pytest.mark.e2e

SCRATCH = Path(__file__).parent / "review_app" / "scratch_app.py"
Json = dict[str, Any]

SEEN = """() => {
  const root = document.querySelector('[data-testid=stBidiComponentIsolated]')?.shadowRoot;
  const part = (name) => root?.querySelector(`[data-part=${name}]`);
  if (!part('review')) return {};
  // A picture that is being let go has no address for a moment.
  const image = part('frame')?.querySelector('img:not(.heat)')?.src.match(/images\\/(\\d+)/);
  return {
    state: part('review').dataset.state,
    image: image ? Number(image[1]) - 1000 : null,
    heat: Boolean(part('frame')?.querySelector('img.heat')),
    question: part('question')?.textContent,
    belief: part('belief')?.textContent,
    status: part('statusText').textContent,
    verdicts: Number(part('verdicts').textContent),
    left: part('left').textContent,
    help: part('help').open,
  };
}"""


# A closed dialog keeps the focus until the next frame: a key within that frame must count.
CLOSE_AND_PRESS_H = """() => {
  const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
  root.querySelector('[data-part=help]').close();
  const options = { key: 'h', code: 'KeyH', bubbles: true, composed: true };
  const key = new KeyboardEvent('keydown', options);
  root.querySelector('[data-part=help] button').dispatchEvent(key);
}"""


class Fake:
    """The fake server as a test steers and questions it."""

    def __init__(self, server: StreamlitServer) -> None:
        self.server = server

    def set(self, **settings: object) -> None:
        body = json.dumps(settings).encode()
        with urllib.request.urlopen(f"{self.server.url}/api/test", data=body, timeout=10):
            pass

    def state(self) -> Json:
        with urllib.request.urlopen(f"{self.server.url}/api/test", timeout=10) as answer:
            state: Json = json.load(answer)
            return state

    def verdicts(self) -> list[tuple[int, str]]:
        """``(proposal, verdict)`` of every stored decision, in the order they were stored."""
        events = self.state()["events"]
        return [(e["proposal_id"], e["verdict"]) for e in events if "verdict" in e]


@pytest.fixture(scope="module")
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> StreamlitServer:
    return start_server(SCRATCH, {"CLSL_STAGE": str(tmp_path_factory.mktemp("stage"))})


@pytest.fixture
def fake(server: StreamlitServer) -> Fake:
    fake = Fake(server)
    fake.set(reset=True)
    return fake


@pytest.fixture
def errors(page: Page) -> Iterator[list[str]]:
    """Exceptions in the page; a test that uses it fails when there is one."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    yield found
    assert found == []


def seen(page: Page) -> Json:
    found: Json = page.evaluate(SEEN)
    return found


def until(page: Page, **expected: object) -> None:
    """Wait until the component shows what is expected; a callable is asked."""
    wait(lambda: all(_agrees(seen(page).get(k), v) for k, v in expected.items()), page, expected)


def _agrees(value: Any, expected: Any) -> bool:
    return bool(expected(value)) if callable(expected) else value == expected


def wait(condition: Callable[[], bool], page: Page, what: object, limit: float = 25.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}; the page shows {seen(page)}"
        page.wait_for_timeout(50)


def open_review(page: Page, fake: Fake, **settings: object) -> None:
    fake.set(**settings)
    page.goto(fake.server.url)
    until(page, state="card", image=1)


@pytest.mark.usefixtures("errors")
def test_keys_and_buttons_send_the_right_verdicts(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    for number, key in enumerate(["a", "x", "Space", "A"], start=1):
        until(page, image=number)
        page.keyboard.press(key)
    asked = "Is there a dog in this picture?"
    until(page, image=5, question=asked, belief="The model thinks: not there.")
    page.keyboard.press("a")  # it is there, whatever the model thinks
    until(page, image=6, belief="The model thinks: there.")
    page.get_by_role("button", name="it is not there").click()
    until(page, image=7)
    page.keyboard.press("Space")  # must skip, not press the clicked button again
    until(page, image=8, status="All saved", verdicts=5)
    words = ["present", "absent", "skip", "present", "present", "absent", "skip"]
    assert fake.verdicts() == list(enumerate(words, start=1))
    first = fake.state()["events"][0]
    assert set(first) == {
        *("client_id", "proposal_id", "image_id", "category_id", "verdict", "seconds")
    }
    assert first["image_id"] == 1001
    assert 0 < first["seconds"] < 60


@pytest.mark.usefixtures("errors")
def test_undo_goes_back_step_by_step(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    for number in (1, 2, 3):
        until(page, image=number)
        page.keyboard.press("a")
    until(page, image=4)
    page.keyboard.press("Backspace")
    until(page, image=3)
    page.keyboard.press("Control+z")
    until(page, image=2, verdicts=1)
    page.keyboard.press("x")
    until(page, image=3, status="All saved", verdicts=2)
    decisions = {e["client_id"]: e for e in fake.state()["events"] if "verdict" in e}
    undone = [
        decisions[e["undoes"]]["proposal_id"] for e in fake.state()["events"] if "undoes" in e
    ]
    assert undone == [3, 2]
    assert fake.verdicts()[-1] == (2, "absent")


@pytest.mark.usefixtures("errors")
def test_ten_keys_a_second_are_each_stored_once(page: Page, fake: Fake) -> None:
    open_review(page, fake, cards=80, delay=0.2)
    for number in range(50):
        page.keyboard.press("x" if number % 3 else "a")
        page.wait_for_timeout(100)
    until(page, image=51, status="All saved", verdicts=50)
    stored = fake.verdicts()
    assert [proposal for proposal, _ in stored] == list(range(1, 51))
    expected = ["absent" if number % 3 else "present" for number in range(50)]
    assert [verdict for _, verdict in stored] == expected
    assert fake.state()["posts"] < 50  # what piled up went together


@pytest.mark.usefixtures("errors")
def test_a_failing_server_is_waited_out(page: Page, fake: Fake) -> None:
    open_review(page, fake, cards=30)
    fake.set(fail=503)
    for number in (1, 2, 3):
        until(page, image=number)
        page.keyboard.press("a")
    until(page, status=lambda text: text.startswith("Server trouble – 3 kept here, retrying"))
    page.keyboard.press("Backspace")
    until(page, image=3, status=lambda text: "4 kept here" in text)
    fake.set(fail=0)
    until(page, status="All saved")
    assert fake.verdicts() == [(1, "present"), (2, "present"), (3, "present")]
    assert [e["undoes"] for e in fake.state()["events"] if "undoes" in e]


@pytest.mark.second_order("kills and full disks")
@pytest.mark.slow
def test_a_killed_server_loses_and_doubles_nothing(page: Page, fake: Fake) -> None:
    open_review(page, fake, cards=30, delay=0.5)
    page.keyboard.press("a")
    until(page, image=2)
    wait(lambda: len(fake.verdicts()) == 1, page, "the first verdict is stored, not yet answered")
    fake.server.kill()
    for number in (2, 3, 4):
        until(page, image=number)
        page.keyboard.press("a")
    until(page, status=lambda text: text.startswith("Offline – 4 kept here"))
    fake.server.start()
    until(page, status="All saved")
    assert [proposal for proposal, _ in fake.verdicts()] == [1, 2, 3, 4]


PLAIN_HTTP = """
  Object.defineProperty(navigator, 'locks', { value: undefined });
  Object.defineProperty(crypto, 'randomUUID', { value: undefined });
"""


@pytest.mark.usefixtures("errors")
@pytest.mark.parametrize("script", ["", PLAIN_HTTP], ids=["localhost", "plain-http"])
def test_reloading_with_verdicts_pending_sends_them(page: Page, fake: Fake, script: str) -> None:
    page.add_init_script(script)
    warnings: list[str] = []

    def leave_anyway(dialog: Dialog) -> None:
        warnings.append(dialog.type)
        dialog.accept()

    page.on("dialog", leave_anyway)
    open_review(page, fake)
    fake.set(fail=503)
    page.keyboard.press("a")
    until(page, image=2)
    page.keyboard.press("x")
    until(page, status=lambda text: "2 kept here" in text)
    page.reload()
    fake.set(fail=0)
    until(page, image=3, status="All saved")
    wait(lambda: len(fake.verdicts()) == 2, page, "both verdicts")
    assert fake.verdicts() == [(1, "present"), (2, "absent")]
    assert warnings == ["beforeunload"]
    kept = page.evaluate("Object.keys(localStorage).filter((key) => key.includes('clsl'))")
    assert [key for key in kept if not key.endswith(":alive")] == []


@pytest.mark.usefixtures("errors")
def test_another_tab_takes_over_what_a_closed_one_left(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    fake.set(fail=503)
    page.keyboard.press("a")
    until(page, status=lambda text: "1 kept here" in text)
    other = page.context.new_page()
    other.goto(fake.server.url)
    until(other, state="problem")  # it has looked around, and the server gives no cards
    assert seen(other)["status"] == "All saved"  # the first tab lives: its verdict stays there
    assert "1 kept here" in seen(page)["status"]
    page.close()
    until(other, status=lambda text: "1 kept here" in text)
    fake.set(fail=0)
    until(other, status="All saved", state="card", image=2)
    assert fake.verdicts() == [(1, "present")]


@pytest.mark.usefixtures("errors")
def test_an_expired_token_is_renewed(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    fake.set(epoch=2)
    for number in (1, 2, 3):
        until(page, image=number)
        page.keyboard.press("a")
    until(page, status="All saved")
    assert fake.verdicts() == [(1, "present"), (2, "present"), (3, "present")]
    page.get_by_text("renewed 1").wait_for()
    for number in range(4, 12):  # pictures asked for with the old token come again
        until(page, image=number)
        page.keyboard.press("Space")
    until(page, image=12)


@pytest.mark.usefixtures("errors")
def test_hostile_names_are_shown_as_text(page: Page, fake: Fake) -> None:
    page.on("dialog", lambda dialog: pytest.fail(f"a name ran: {dialog.message}"))
    name = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    open_review(page, fake, category=name, file_name=f'"><svg onload=alert(3)>{name}')
    assert seen(page)["question"] == f"Is there a {name} in this picture?"
    page.keyboard.press("a")
    until(page, image=2, status="All saved")
    texts = page.evaluate(
        """() => {
          const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
          const text = (part) => root.querySelector(`[data-part=${part}]`).textContent;
          const alive = root.querySelectorAll('script, svg, img[src=x]').length;
          return [text('file'), text('last'), text('known'), alive];
        }"""
    )
    assert texts[0].startswith(f'"><svg onload=alert(3)>{name}')
    assert name in texts[1]
    assert name in texts[2]
    assert texts[3] == 0


@pytest.mark.usefixtures("errors")
def test_keys_are_ignored_while_typing(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    field = page.get_by_label("Search")
    field.click()
    for key in ("a", "Space", "x", "m", "h", "?", "Backspace", "Control+z"):
        page.keyboard.press(key)
        now = seen(page)
        assert (now["image"], now["verdicts"], now["heat"], now["help"]) == (1, 0, False, False)
    page.keyboard.press("Escape")
    field.blur()
    for key in ("Control+a", "Alt+x", "Meta+m"):
        page.keyboard.press(key)
    assert seen(page)["image"] == 1
    page.keyboard.down("a")
    for _ in range(5):
        page.keyboard.down("a")  # the key repeats
    page.keyboard.up("a")
    until(page, image=2, verdicts=1)


@pytest.mark.usefixtures("errors")
def test_a_rerun_keeps_the_place_and_one_listener(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    page.keyboard.press("a")
    until(page, image=2)
    page.keyboard.press("a")
    until(page, image=3, status="All saved")
    fake.set(epoch=2)  # so that the rerun brings new data
    queries = len(fake.state()["queries"])
    page.get_by_role("button", name="Rerun").click()
    page.get_by_text("runs 2").wait_for()
    until(page, image=3, verdicts=2)
    page.keyboard.press("a")
    until(page, image=4, status="All saved", verdicts=3)
    assert [proposal for proposal, _ in fake.verdicts()] == [1, 2, 3]
    assert len(fake.state()["queries"]) == queries


@pytest.mark.usefixtures("errors")
def test_leaving_and_coming_back_keeps_delivery_and_undo(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    fake.set(fail=503)
    page.keyboard.press("a")
    until(page, image=2)
    page.get_by_text("Show the card").click()
    page.get_by_text("runs 2").wait_for()
    page.keyboard.press("a")  # nobody listens
    fake.set(fail=0)
    wait(lambda: fake.verdicts() == [(1, "present")], page, "delivery without the card")
    page.get_by_text("Show the card").click()
    until(page, image=2, verdicts=1)
    page.keyboard.press("Backspace")
    until(page, image=1, verdicts=0, status="All saved")


@pytest.mark.usefixtures("errors")
def test_an_undone_question_comes_back_though_the_queue_holds_it(page: Page, fake: Fake) -> None:
    open_review(page, fake, cards=4)
    page.keyboard.press("a")
    until(page, image=2, status="All saved")
    waiting: list[Route] = []
    pages: list[Route] = []

    def second_waits(route: Route) -> None:
        pages.append(route)
        if len(pages) != 2:
            route.continue_()

    def undo_waits(route: Route) -> None:
        waiting.append(route)

    page.route("**/api/queue*", second_waits)
    page.route("**/api/undo", undo_waits)
    page.reload()
    until(page, image=2)
    wait(lambda: len(pages) == 2, page, "the front asked for once more")
    page.keyboard.press("Backspace")
    wait(lambda: len(waiting) == 1, page, "the undo")
    answer = waiting[0].fetch()  # stored, and the queue's page knows it before the answer is there
    with page.expect_response("**/api/queue*"):
        pages[1].continue_()
    page.wait_for_timeout(300)
    waiting[0].fulfill(response=answer)
    until(page, image=1, status="All saved")


@pytest.mark.usefixtures("errors")
def test_another_queue_opens_and_ends_calmly(page: Page, fake: Fake) -> None:
    open_review(page, fake, cards=10)
    page.get_by_text("absent", exact=True).click()
    until(page, image=5, question="Is there a dog in this picture?", left="2")
    page.keyboard.press("Space")  # the chooser has let the keyboard go
    until(page, image=10, left="1")
    page.keyboard.press("x")
    until(page, state="end", status="All saved", left="0")
    assert page.get_by_text("Nothing left in this queue.").is_visible()
    assert page.get_by_text("This session: 1 verdict, 1 picture skipped.").is_visible()
    page.get_by_text("finished 1").wait_for()
    page.keyboard.press("Backspace")
    until(page, state="card", image=10)


@pytest.mark.usefixtures("errors")
def test_choosing_a_category_leaves_the_keys_to_the_card(page: Page, fake: Fake) -> None:
    open_review(page, fake, cards=20)
    page.get_by_role("combobox", name="Category").click()
    page.get_by_role("option", name="3", exact=True).click()
    until(page, image=2, left="4")
    page.keyboard.press("a")
    until(page, image=7, status="All saved", verdicts=1)


@pytest.mark.usefixtures("errors")
def test_the_heat_map_stays_on_and_lies_over_the_picture(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    assert not seen(page)["heat"]
    page.keyboard.press("m")
    until(page, heat=True)
    boxes = page.evaluate(
        """() => {
          const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
          return [...root.querySelectorAll('.frame img')].map((image) => {
            const box = image.getBoundingClientRect();
            return [box.x, box.y, box.width, box.height];
          });
        }"""
    )
    assert len(boxes) == 2
    assert boxes[0] == boxes[1]
    page.keyboard.press("a")
    until(page, image=2, heat=True)
    page.keyboard.press("m")
    until(page, heat=False)


@pytest.mark.usefixtures("errors")
def test_help_opens_and_holds_the_keys(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    page.keyboard.press("?")
    until(page, help=True)
    page.keyboard.press("a")
    assert seen(page)["image"] == 1
    page.keyboard.press("Escape")
    until(page, help=False)
    page.keyboard.press("h")
    until(page, help=True)
    page.evaluate(CLOSE_AND_PRESS_H)
    assert seen(page)["help"] is True
    page.keyboard.press("h")
    until(page, help=False)
    assert fake.verdicts() == []


@pytest.mark.usefixtures("errors")
def test_stale_and_refused_verdicts_are_told(page: Page, fake: Fake) -> None:
    open_review(page, fake, stale=[1], removed=[2])
    page.keyboard.press("a")
    page.get_by_text("cat: this pair has been decided meanwhile").wait_for()
    until(page, image=2, verdicts=0)
    page.keyboard.press("a")
    page.get_by_text("1 verdict refused").click()
    line = page.get_by_role("listitem").filter(
        has_text="umbrella: present: this image is not in the dataset any more"
    )
    assert line.is_visible()
    page.keyboard.press("a")
    until(page, image=4, status="All saved", verdicts=1)
    assert fake.verdicts() == [(3, "present")]


@pytest.mark.usefixtures("errors")
def test_a_new_model_run_replaces_the_cards_not_yet_seen(page: Page, fake: Fake) -> None:
    answers: list[str] = []
    page.on("requestfinished", lambda request: answers.append(request.url))
    open_review(page, fake, cards=60)
    fake.set(run=5)
    for number in range(1, 26):  # the 26th card of 32 makes the queue fetch again
        until(page, image=number)
        page.keyboard.press("a")
    until(page, image=26)
    wait(lambda: sum("/api/queue" in url for url in answers) >= 3, page, "the new run's front")
    page.wait_for_timeout(300)  # the page takes the answer in
    assert page.get_by_text("model run 4").is_visible()  # the current card stays
    page.keyboard.press("a")
    page.get_by_text("model run 5").wait_for()
    # The new run's queue begins at its front; what was on its way then it asks once more.
    until(page, image=lambda number: 24 <= number <= 27)


@pytest.mark.usefixtures("errors")
def test_a_queue_that_cannot_be_fetched_says_so(page: Page, fake: Fake) -> None:
    fake.set(fail_queue=400)
    page.goto(fake.server.url)
    until(page, state="problem")
    assert page.get_by_text("no queue today").is_visible()
    fake.set(fail_queue=0)
    page.get_by_role("button", name="Try again").click()
    until(page, state="card", image=1)


@pytest.mark.usefixtures("errors")
def test_a_broken_picture_can_only_be_skipped(page: Page, fake: Fake) -> None:
    fake.set(broken=[1])
    page.goto(fake.server.url)
    page.get_by_text("This picture cannot be shown.").wait_for()
    page.keyboard.press("a")
    assert seen(page)["verdicts"] == 0
    page.keyboard.press("Space")
    until(page, image=2, status="All saved")
    assert fake.verdicts() == [(1, "skip")]


@pytest.mark.usefixtures("errors")
def test_everything_is_in_reach_at_1280_by_720(page: Page, fake: Fake) -> None:
    open_review(page, fake)
    below = page.evaluate(
        """() => {
          const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
          const small = (button) => button.getBoundingClientRect().height < 40;
          return {
            bottom: root.querySelector('[data-part=file]').getBoundingClientRect().bottom,
            small: [...root.querySelectorAll('.buttons button')].filter(small).length,
          };
        }"""
    )
    assert below["bottom"] <= 720
    assert below["small"] == 0


def test_the_next_card_is_there_within_milliseconds(page: Page, fake: Fake) -> None:
    open_review(page, fake, cards=80)
    page.evaluate(
        """() => {
          window.paints = [];
          document.addEventListener('keydown', (event) => {
            const from = event.timeStamp;
            requestAnimationFrame(() => {
              const channel = new MessageChannel();
              channel.port1.onmessage = () => window.paints.push(performance.now() - from);
              channel.port2.postMessage(0);
            });
          }, true);
        }"""
    )
    for number in range(1, 51):
        page.keyboard.press("a")
        assert seen(page)["image"] == number + 1  # drawn by the key's own handler
        page.wait_for_timeout(80)
    paints = sorted(page.evaluate("window.paints"))
    median, p95 = statistics.median(paints), paints[int(0.95 * len(paints))]
    print(f"key to next card painted: median {median:.1f} ms, p95 {p95:.1f} ms")
    assert median < 50


@pytest.mark.usefixtures("errors")
def test_under_a_base_path_and_modules_are_fetched_once(page: Page, tmp_path: Path) -> None:
    environment = {"CLSL_STAGE": str(tmp_path)}
    server = StreamlitServer(SCRATCH, environment, tmp_path / "server.log")
    server.options["server.baseUrlPath"] = "clsl"
    server.url += "/clsl"
    fetched: list[str] = []
    page.on("response", lambda one: fetched.append(one.url) if "/api/script/" in one.url else None)
    try:
        server.start()
        page.goto(server.url)
        until(page, state="card", image=1)
        page.keyboard.press("a")
        until(page, image=2, status="All saved", verdicts=1)
        page.get_by_role("button", name="Rerun").click()
        page.get_by_text("runs 2").wait_for()
    finally:
        server.kill()
    names = [url.split("/api/script/")[1].split("/", 1)[1] for url in fetched]
    assert sorted(names) == sorted(MODULES)  # each once, none again for a rerun
