"""How long a person waits while reviewing a large collection, in a real browser.

Makes a synthetic collection, starts the program on it, and measures in Chromium: key to the next
card on the screen, key to the verdict's durable acknowledgement, the first card, the first page
of a grid, a batch of 60; and the same loop with plain Streamlit buttons.

    python -m benchmarks.review_latency --images 100000 --proposals 1000000 --json OUT

Needs Playwright and Chromium (``--chromium PATH``).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow
from sqlalchemy import func, insert, select

from app.services.jobs.bell import SilentBell
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.types import LabelState
from db.models import (
    Category,
    Dataset,
    EmbeddingRun,
    Image,
    ModelRun,
    Proposal,
    ProposalStatus,
    RunStatus,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CATEGORIES = 80
FILES = 400
CHUNK = 20_000
KEY_EVERY = 150  # ms
REPOSITORY = Path(__file__).parents[1]

WATCH = """() => {
  const seen = { keys: [], painted: [], acknowledged: [], batches: [] };
  window.latency = seen;
  const root = () => document.querySelector('[data-testid=stBidiComponentIsolated]')?.shadowRoot;
  const shown = () => root()?.querySelector('.frame img')?.src;
  document.addEventListener('keydown', (event) => {
    if (!['a', 'x', 'Enter'].includes(event.key)) return;
    const begun = performance.now();
    const before = shown();
    if (event.key !== 'Enter') seen.keys.push(begun);
    seen.entered = begun;
    requestAnimationFrame(() => {
      const painted = new MessageChannel();
      painted.port1.onmessage = () => {
        const moved = event.key !== 'Enter' && shown() !== before;
        if (moved) seen.painted.push(performance.now() - begun);
      };
      painted.port2.postMessage(0);
    });
  }, true);
  const send = window.fetch;
  window.fetch = async (address, options) => {
    const answer = await send(address, options);
    if (!String(address).endsWith('/api/decisions')) return answer;
    const body = JSON.parse(options.body);
    const copy = answer.clone();
    const results = (await copy.json()).results;
    const now = performance.now();
    if (results.some((result) => result.status !== 'saved')) seen.trouble = results;
    if (body.batch_id) seen.batches.push([now - seen.entered, results.length]);
    else for (const _ of results) seen.acknowledged.push(now - seen.keys[seen.acknowledged.length]);
    return answer;
  };
}"""

GRID_READY = """() => {
  const root = document.querySelector('[data-testid=stBidiComponentIsolated]')?.shadowRoot;
  const pictures = [...(root?.querySelectorAll('[role=gridcell] img') ?? [])];
  return pictures.filter((one) => one.complete && one.naturalWidth > 0).length >= 60;
}"""


def make_pictures(folder: Path) -> None:
    """FILES photographs' worth of coloured blocks, 640 x 480."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(FILES):
        blocks = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        picture = Pillow.fromarray(blocks).resize((640, 480), Pillow.Resampling.BICUBIC)
        picture.save(folder / f"{number:04}.jpg", quality=88)


def make_collection(
    folder: Path, images: int, proposals: int, database_url: str | None = None
) -> None:
    """A dataset of so many images with open proposals of a finished model run."""
    settings = Settings(
        data_dir=folder, backbone="builtin", retrain_after=0, database_url=database_url
    )
    workspace = Workspace.open(settings, SilentBell())
    make_pictures(folder / "pictures")
    with workspace.database.write() as session:
        session.add(
            Dataset(
                id=1,
                name="large",
                format="coco",
                image_root=str(folder / "pictures"),
                header={},
                retrain_after=0,
            )
        )
        session.flush()
        session.execute(insert(Category), list(_categories()))
        session.add(
            EmbeddingRun(
                id=1,
                dataset_id=1,
                backbone_key="synthetic",
                spec={"name": "synthetic", "grid": [7, 7]},
                description="synthetic",
                directory="nowhere",
                status=RunStatus.READY,
            )
        )
        session.flush()
        session.add(
            ModelRun(
                id=1,
                dataset_id=1,
                embedding_run_id=1,
                status=RunStatus.READY,
                serving=True,
                trigger="benchmark",
                new_decisions=0,
                last_decision_id=0,
                known_present=0,
                known_absent=0,
                config={},
                seed=0,
                code_version="benchmark",
            )
        )
    for table, rows in ((Image, _images(images)), (Proposal, _proposals(images, proposals))):
        for chunk in _chunks(rows):
            with workspace.database.write() as session:
                session.execute(insert(table), chunk)
    if workspace.database.shared:
        _count_on(workspace)
    workspace.database.analyse(Image, Category, Proposal)  # as an import and a proposing run do
    workspace.close()


def _count_on(workspace: Workspace) -> None:
    """Let PostgreSQL's sequences go on behind the ids that were given by hand."""
    with workspace.database.write() as session:
        for table in (Dataset, Category, EmbeddingRun, ModelRun, Image):
            name = table.__tablename__
            newest = session.scalar(select(func.max(table.id)))
            session.execute(select(func.setval(func.pg_get_serial_sequence(name, "id"), newest)))


def _categories() -> Iterator[dict[str, Any]]:
    for number in range(CATEGORIES):
        name = f"category {number:02}"
        record = {"id": number + 1, "name": name}
        place = {"position": number, "source_id": str(number + 1)}
        yield {"id": number + 1, "dataset_id": 1, "name": name, "record": record, **place}


def _images(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        file_name = f"{number % FILES:04}.jpg"
        yield {
            "id": number + 1,
            "dataset_id": 1,
            "position": number,
            "source_id": str(number + 1),
            "file_name": file_name,
            "width": 640,
            "height": 480,
            "record": {"id": number + 1, "file_name": file_name},
        }


def _proposals(images: int, count: int) -> Iterator[dict[str, Any]]:
    """Each image has the same number of proposals, of different categories."""
    rng = random.Random(0)
    for number in range(count):
        image, turn = number % images, number // images
        score = rng.random()
        yield {
            "model_run_id": 1,
            "image_id": image + 1,
            "category_id": 1 + (7 * image + 13 * turn) % CATEGORIES,
            "state": LabelState.PRESENT if score > 0.1 else LabelState.ABSENT,
            "score": score,
            "probability": score,
            "chance": score,
            "margin": abs(score - 0.5),
            "turn": number,
            "lot": rng.getrandbits(31),
            "control": number % 100 == 0,
            "disputes": False,
            "status": ProposalStatus.OPEN,
        }


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@contextmanager
def program(folder: Path, **settings: str) -> Iterator[str]:
    """``streamlit run streamlit_app.py`` on the collection; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
    command += ["--server.headless=true", f"--server.port={port}"]
    environment = {**os.environ, "CLSL_DATA_DIR": str(folder), "CLSL_WORKER": "false"}
    environment |= {f"CLSL_{name.upper()}": value for name, value in settings.items()}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        try:
            address = f"http://localhost:{port}"
            _wait_for(address)
            yield address
        finally:
            process.terminate()
            process.wait()


def _wait_for(address: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit("the program did not start; see server.log")


def first_card(page: Page, address: str) -> float:
    """Seconds from opening the page to the first card with its picture."""
    begun = time.perf_counter()
    page.goto(f"{address}/review?annotator=Ada")
    page.locator("[data-part=frame] img").wait_for(timeout=120_000)
    return time.perf_counter() - begun


def choose_queue(page: Page, name: str) -> None:
    """Another queue, and a moment for its first pictures."""
    page.get_by_label("Queue").click()
    page.get_by_role("option", name=name).click()
    page.wait_for_timeout(3_000)


def keys(page: Page, count: int) -> dict[str, Any]:
    """Verdicts at a steady rate: what was painted when, what was acknowledged when."""
    page.evaluate(WATCH)
    for number in range(count):
        page.keyboard.press("x" if number % 3 else "a")
        page.wait_for_timeout(KEY_EVERY)
    page.locator("[data-part=statusText]", has_text="All saved").wait_for(timeout=60_000)
    seen: dict[str, Any] = page.evaluate("() => window.latency")
    if seen.get("trouble"):
        raise SystemExit(f"a verdict was not saved: {seen['trouble'][:1]}")
    return {
        "keys": count,
        "key_to_next_card_ms": spread(seen["painted"]),
        "key_to_acknowledgement_ms": spread(seen["acknowledged"]),
    }


def grid(page: Page, batches: int) -> dict[str, Any]:
    """The first page of a grid, and batches of 60."""
    begun = time.perf_counter()
    page.get_by_text("Grid", exact=True).click()
    page.wait_for_function(GRID_READY, timeout=120_000)
    first = time.perf_counter() - begun
    times = []
    for number in range(batches):
        page.wait_for_function(GRID_READY, timeout=60_000)
        page.wait_for_timeout(1_000)
        scroll_through(page)
        page.keyboard.press("Enter")
        page.wait_for_function(f"() => window.latency.batches.length > {number}", timeout=60_000)
    times = page.evaluate("() => window.latency.batches")
    return {
        "first_grid_page_s": first,
        "batch_sizes": [size for _, size in times],
        "batch_ms": spread([milliseconds for milliseconds, _ in times]),
    }


def scroll_through(page: Page) -> None:
    """Nobody judges what was never on the screen: look at the whole page."""
    page.evaluate(
        """async () => {
          const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
          const cells = root.querySelector('[data-part=gridCells]');
          for (const top of [0, 150, 300, 450, 600, 750, 900]) {
            cells.scrollTop = top;
            await new Promise((done) => setTimeout(done, 120));
          }
        }"""
    )


def plain(page: Page, address: str, count: int) -> dict[str, Any]:
    """The same loop with Streamlit's own buttons."""
    page.goto(f"{address}/review?annotator=Bob")
    page.locator("[data-part=frame] img").wait_for(timeout=120_000)
    page.get_by_text("Plain card", exact=True).click()
    question = page.locator("[data-testid=stCaptionContainer]").first
    page.locator("[data-testid=stImage] img").wait_for(timeout=60_000)
    page.evaluate("() => document.activeElement.blur()")  # a focused switch keeps the keys
    times = []
    for _ in range(count):
        before = question.inner_text()
        begun = time.perf_counter()
        page.keyboard.press("a")
        page.wait_for_function(
            "(before) => document.querySelector('[data-testid=stCaptionContainer]')"
            "?.innerText !== before",
            arg=before,
            polling="raf",
        )
        times.append(1000 * (time.perf_counter() - begun))
        page.wait_for_timeout(KEY_EVERY)
    return {"keys": count, "key_to_next_card_ms": spread(times)}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    if len(values) < 2:
        raise SystemExit("too few measurements: is the page's queue empty?")
    ordered = statistics.quantiles(values, n=100, method="inclusive")
    return {"n": len(values), "p50": round(ordered[49], 1), "p95": round(ordered[94], 1)}


def measure(browser: Browser, address: str, count: int) -> dict[str, Any]:
    """Everything, in one window after the other."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    result: dict[str, Any] = {"first_card_cold_s": first_card(page, address)}
    result["first_card_s"] = statistics.median(first_card(page, address) for _ in range(3))
    choose_queue(page, "Random sample")  # each card is another picture
    result["cards"] = keys(page, count)
    choose_queue(page, "Most likely first")
    result["grid"] = grid(page, 5)
    context.close()
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    result["plain_streamlit"] = plain(context.new_page(), address, max(20, count // 10))
    context.close()
    component = result["cards"]["key_to_next_card_ms"]["p50"]
    result["plain_over_component"] = round(
        result["plain_streamlit"]["key_to_next_card_ms"]["p50"] / component, 1
    )
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it, print the figures, write them."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--proposals", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--json", type=Path, dest="output")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        print(f"making {options.images} images, {options.proposals} proposals", file=sys.stderr)
        make_collection(folder, options.images, options.proposals)
        switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        with program(folder) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=options.chromium, args=switches)
            result = measure(browser, address, options.keys)
            browser.close()
    result |= {"images": options.images, "proposals": options.proposals}
    result |= {"machine": platform.machine(), "processors": os.cpu_count()}
    text = json.dumps(result, indent=2)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
