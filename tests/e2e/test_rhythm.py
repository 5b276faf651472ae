"""One person in rhythm: `a` for what is there, `x` for what is not, whatever the model thinks.

In the real program, with a truth that has nothing to do with the model's beliefs: after two
hundred cards of each queue no verdict is stored whose sense that person did not mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import insert, select

from app.services.learning import neighbours
from app.services.people import annotators
from app.services.reviewing import flags
from app.services.workspace import Workspace
from clsl_core.types import LabelState
from db.models import Category, Decision, Image, Label, ModelRun, Proposal, ProposalStatus, Verdict
from tests.builders import coco_document, make_dataset, make_proposals, make_workspace
from tests.e2e.conftest import REPOSITORY, StartServer, StreamlitServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.second_order("journeys in a browser")]

IMAGES, CATEGORIES, CARDS = 600, 5, 200
QUEUES = (
    "Random sample",
    "Mixed, categories in turn",
    "Most likely first",
    "Most uncertain first",
    "Probably absent",
    "Labels the model doubts",
    "Flagged pictures",
    "Like the last one found",
)

CARDS_IN_RHYTHM = """async ({ truth, wanted }) => {
  const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
  const part = (name) => root.querySelector(`[data-part=${name}]`);
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const press = (key) =>
    document.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
  const senses = new Set();
  let given = 0;
  for (let patience = 3000; given < wanted && patience > 0; patience -= 1) {
    await frame();
    const accept = root.querySelector('[data-action=accept]');
    if (part('review').dataset.state === 'end') break;
    if (part('review').dataset.state !== 'card' || !accept || accept.disabled) continue;
    const name = part('question').querySelector('strong').textContent;
    const asked = [part('file').textContent.split(' ')[0], name];
    senses.add(part('question').textContent.replace(name, '…'));
    press(truth[asked.join('/')] ? 'a' : 'x');
    given += 1;
    patience = 3000;
  }
  return { given, senses: [...senses], status: part('statusText').textContent };
}"""

GRID_IN_RHYTHM = """async ({ truth, category, wanted }) => {
  const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
  const part = (name) => root.querySelector(`[data-part=${name}]`);
  const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
  const press = (key) =>
    document.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
  let given = 0;
  for (let patience = 3000; given < wanted && patience > 0; patience -= 1) {
    await pause(5);
    if (part('review').dataset.state === 'end') break;
    const cells = [...root.querySelectorAll('[role=gridcell]')];
    const at = cells.findIndex((cell) => cell.tabIndex === 0);
    if (part('review').dataset.state !== 'card' || cells[at]?.dataset.state !== 'ready') continue;
    press(truth[`${cells[at].ariaLabel.split(',')[0]}/${category}`] ? 'a' : 'x');
    given += 1;
    patience = 3000;
    if (at < cells.length - 1) continue;
    for (let rest = 200; part('gridNote').textContent && rest > 0; rest -= 1) await pause(10);
    await pause(450);
    press('Enter');
    await pause(50);
  }
  return { given, rest: part('grid').dataset.rest };
}"""


def there(image: int, category: int) -> bool:
    """The truth, which the model does not know."""
    return (7 * image + image // 5 + 3 * category) % 5 < 2


def belief(place: int) -> LabelState:
    return LabelState.PRESENT if place % 2 else LabelState.ABSENT


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Mixed beliefs everywhere; every label of the file is doubted, every fourth image flagged."""
    workspace = make_workspace(tmp_path_factory.mktemp("rhythm") / "data", retrain_after=0)
    document = coco_document(images=IMAGES, categories=CATEGORIES)
    dataset = make_dataset(workspace, document=document)
    chance = {"score": lambda i: 0.2 + 0.6 * (i * 37 % 101) / 101, "turn": lambda i: i}
    run = make_proposals(workspace, dataset.dataset_id, state=belief, control=True, **chance)
    with workspace.database.write(dataset.dataset_id) as session:
        labels = session.scalars(select(Label).join(Image, Image.id == Label.image_id)).all()
        doubted = {"state": LabelState.ABSENT, "disputes": True, "status": ProposalStatus.DISPUTED}
        rows = [
            {
                "model_run_id": run.id,
                "image_id": label.image_id,
                "category_id": label.category_id,
                "score": 0.1,
                **doubted,
            }
            for label in labels
        ]
        session.execute(insert(Proposal), rows)
        session.get_one(ModelRun, run.id).directory = "runs/1"
        ids = list(session.scalars(select(Image.id)))
    (workspace.data_dir / "runs/1").mkdir(parents=True)
    nearest = np.asarray(
        [[(i + step) % IMAGES for step in range(1, IMAGES)] for i in range(IMAGES)]
    )
    neighbours.store(workspace.data_dir / "runs/1", ids, nearest)
    grant = annotators.enter(workspace, "set", "Bob")
    for image in range(1, IMAGES, 4):
        flags.flag(workspace, grant, f"flag-{image:08}", image)
    yield workspace
    workspace.close()


@pytest.fixture(scope="module")
def server(stored: Workspace, start_server: StartServer) -> StreamlitServer:
    environment = {"CLSL_DATA_DIR": str(stored.data_dir), "CLSL_WORKER": "false"}
    return start_server(REPOSITORY / "streamlit_app.py", environment)


def names(stored: Workspace) -> tuple[dict[int, str], dict[int, str]]:
    with stored.database.read() as session:
        images = {image.id: image.file_name for image in session.scalars(select(Image))}
        return images, {one.id: one.name for one in session.scalars(select(Category))}


def truth(stored: Workspace) -> dict[str, bool]:
    images, categories = names(stored)
    return {
        f"{file}/{name}": there(image, category)
        for image, file in images.items()
        for category, name in categories.items()
    }


def said(stored: Workspace, after: int = 0) -> list[Decision]:
    with stored.database.read() as session:
        return list(session.scalars(select(Decision).where(Decision.id > after)))


def wrong(decisions: list[Decision]) -> list[tuple[int, int, Any]]:
    """Verdicts that say something else than the person meant."""
    return [
        (one.image_id, one.category_id, one.verdict)
        for one in decisions
        if (one.verdict is Verdict.PRESENT) != there(one.image_id, one.category_id)
    ]


def choose(page: Page, server: StreamlitServer, queue: str) -> None:
    page.goto(f"{server.url}/review?annotator=Ada")
    page.locator("[data-part=review]").wait_for()
    choice = page.get_by_role("option", name=queue)
    for _ in range(20):  # a list that opens while the page is drawn once more closes again
        page.get_by_role("combobox", name="Queue").click()
        page.wait_for_timeout(700)
        if choice.count():
            choice.click()
            break
    page.wait_for_timeout(1_000)
    page.locator("[data-part=review][data-state=card]").wait_for()


def delivered(page: Page) -> None:
    page.locator("[data-part=statusText]", has_text="All saved").wait_for()


@pytest.mark.parametrize("queue", QUEUES)
def test_no_card_is_stored_in_another_sense(
    stored: Workspace, server: StreamlitServer, page: Page, queue: str
) -> None:
    before = max((one.id for one in said(stored)), default=0)
    choose(page, server, queue)
    played = page.evaluate(CARDS_IN_RHYTHM, {"truth": truth(stored), "wanted": CARDS})
    delivered(page)
    decisions = said(stored, before)
    assert len(decisions) == played["given"] == CARDS
    assert wrong(decisions) == []
    assert played["senses"] == ["Is there a … in this picture?"]
    assert len({one.verdict for one in decisions}) == 2


def test_no_picture_of_a_grid_is_stored_in_another_sense(
    stored: Workspace, server: StreamlitServer, page: Page
) -> None:
    before = max((one.id for one in said(stored)), default=0)
    choose(page, server, "Random sample")
    page.get_by_text("Grid", exact=True).click()
    page.locator("[data-part=grid]").wait_for()
    page.locator("[role=gridcell][data-state=ready]").first.wait_for()
    (category,) = {
        name
        for name in names(stored)[1].values()
        if page.get_by_role("heading", name=f"Is there a {name} in these pictures?").count()
    }
    arguments = {"truth": truth(stored), "category": category, "wanted": CARDS}
    played = page.evaluate(GRID_IN_RHYTHM, arguments)
    delivered(page)
    decisions = said(stored, before)
    assert played["given"] >= len(decisions) > 50
    assert wrong(decisions) == []
    assert len({one.verdict for one in decisions}) == 2
