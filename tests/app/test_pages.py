"""Every page draws in every state that a person can meet, without an exception."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import context
from app.services.datasets import overview
from app.services.jobs.table import JobKind
from app.services.people import annotators
from app.services.reviewing import verdicts
from app.services.reviewing.history import history
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from tests.builders import coco_document, make_dataset, make_proposals

ROOT = Path(__file__).parents[2]
PAGES = [
    "datasets",
    "import_",
    "review",
    "bulk",
    "history",
    "models",
    "quality",
    "team",
    "categories",
    "snapshots",
    "splits",
    "export",
    "jobs",
]


@pytest.fixture(autouse=True)
def opened(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages see the test's workspace."""
    monkeypatch.setenv("CLSL_DATA_DIR", str(workspace.data_dir))
    context.open_workspace.cache_clear()
    yield
    context.open_workspace().close()
    context.open_workspace.cache_clear()


def draw(page: str = "datasets", **state: object) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=30)
    for key, value in state.items():
        app.session_state[key] = value
    app.run()
    if page != "datasets":
        app.switch_page(f"screens/{page}.py").run()
    assert not app.exception, app.exception
    return app


def texts(app: AppTest) -> str:
    kinds = ("title", "markdown", "info", "error", "success", "warning", "caption", "subheader")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(app, kind))


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_an_empty_workspace(page: str) -> None:
    draw(page)


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_a_dataset_without_model(workspace: Workspace, page: str) -> None:
    make_dataset(workspace)
    draw(page)


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_a_dataset_with_proposals(workspace: Workspace, page: str) -> None:
    make_proposals(workspace, make_dataset(workspace).dataset_id)
    draw(page, annotator="ada")


def test_the_first_screen_says_what_to_do() -> None:
    app = draw()
    assert "Complete a partly labelled image collection" in texts(app)
    assert [button.label for button in app.button] == ["Start the demo"]


def test_the_demo_starts_with_one_click(workspace: Workspace) -> None:
    app = draw()
    app.button(key="start-demo").click().run()
    (job,) = workspace.jobs.live()
    assert job.kind is JobKind.DEMO
    assert job.payload["then"] == ["embed", "train", "propose"]


def test_hostile_names_are_text(workspace: Workspace) -> None:
    document = coco_document()
    document["categories"][0]["name"] = "<img src=x onerror=alert(1)> **bold** $x$ :red[y]"
    make_dataset(workspace, "**evil** <b>x</b> :red[z]", document)
    shown = texts(draw())
    assert r"\*\*evil\*\* \<b\>x\</b\> \:red\[z\]" in shown


def test_nobody_reviews_without_a_name(workspace: Workspace) -> None:
    make_proposals(workspace, make_dataset(workspace).dataset_id)
    app = draw("review")
    assert "Who is reviewing?" in [field.label for field in app.text_input]


def test_the_plain_card_decides_skips_and_undoes(workspace: Workspace) -> None:
    make_proposals(workspace, make_dataset(workspace).dataset_id)
    app = draw("review", **{"annotator": "ada", "review-plain": True})
    assert "green" in texts(app)
    app.button(key="plain-present").click().run()
    app.button(key="plain-absent").click().run()
    view = overview.dataset(workspace, "set")
    assert (view.present, view.absent_labels) == (5, 1)
    app.button(key="plain-undo-button").click().run()
    app.button(key="plain-skip").click().run()
    view = overview.dataset(workspace, "set")
    assert (view.present, view.absent_labels) == (5, 0)
    assert not app.exception


def test_the_web_process_starts_without_torch() -> None:
    code = (
        "import sys, app.api, app.context, app.cli.main, app.components.progress, "
        "app.components.review, app.components.plain_card\n"
        "assert not {'torch', 'faiss', 'open_clip', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_history_undoes_and_redoes_a_batch(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    grant = annotators.enter(workspace, "set", "ada")
    cards = next_cards(workspace, grant, QueueQuery(limit=3)).cards
    answers = [
        Answer(f"client-id-{card.proposal_id}", card.image_id, card.category_id, "absent")
        for card in cards
    ]
    verdicts.decide(workspace, grant, answers, "batch-id-1")
    assert overview.dataset(workspace, "set").absent_labels == 3
    app = draw("history", annotator="ada")
    app.button(key="history-batch-id-1").click().run()
    assert not app.exception
    assert overview.dataset(workspace, "set").absent_labels == 0
    assert "undone" in texts(app)
    app.button(key="history-batch-id-1").click().run()
    assert overview.dataset(workspace, "set").absent_labels == 3
    assert len(history(workspace, grant).entries) == 2


def test_a_grid_begins_with_the_category_that_has_most_to_do(workspace: Workspace) -> None:
    document = coco_document(images=6, categories=3)
    for annotation in document["annotations"]:
        annotation["category_id"] = 1 if annotation["id"] < 4 else 3
    make_proposals(workspace, make_dataset(workspace, document=document).dataset_id)
    app = draw("review", annotator="ada")
    app.radio(key="review-mode").set_value("Grid").run()
    assert not app.exception
    assert app.selectbox(key="review-category-grid-1").value == 2
    (element,) = app.get("bidi_component")
    data = json.loads(element.proto.mixed.json or element.proto.json)
    assert (data["mode"], data["category_id"]) == ("grid", 2)


def test_filters_narrow_the_plain_card(workspace: Workspace) -> None:
    make_proposals(workspace, make_dataset(workspace).dataset_id)
    app = draw("review", annotator="ada")
    app.text_input(key="review-text").set_value("003").run()
    app.toggle(key="review-plain").set_value(True).run()
    assert not app.exception
    assert "3 left" not in texts(app)
    assert "2 left" in texts(app)


def test_a_snapshot_is_taken_and_compared(workspace: Workspace) -> None:
    dataset = make_dataset(workspace)
    app = draw("snapshots", **{context.ANNOTATOR_KEY: "ada"})
    next(one for one in app.text_input if one.label == "Name").set_value("first")
    next(one for one in app.button if one.label == "Take a snapshot").click().run()
    assert not app.exception
    assert "No label differs." in texts(app)
    grant = annotators.enter(workspace, dataset.dataset, "ada")
    verdicts.decide(workspace, grant, [Answer("snapshot-page-1", 1, 2, "absent")])
    app.run()
    assert [(one.label, one.value) for one in app.metric] == [("unknown → absent", "1")]


def test_images_are_divided_after_a_look_and_back(workspace: Workspace) -> None:
    make_dataset(workspace, document=coco_document(images=10))
    app = draw("splits")
    assert "No image is in a split yet" in texts(app)
    app.text_input(key="split-shares").set_value("a=60, b=40").run()
    assert [(one.label, one.value) for one in app.metric] == [("a", "6"), ("b", "4")]
    app.text_input(key="split-shares").set_value("a=60, b=4").run()
    assert "64 together" in texts(app)
    app.text_input(key="split-shares").set_value("a=60, b=40").run()
    app.button(key="split").click().run()
    assert not app.exception
    assert "6 in a, 4 in b." in texts(app)
    app.button(key="split-undo").click().run()
    assert "No image is in a split yet" in texts(app)
    app.button(key="split-undo").click().run()
    assert "nothing to undo" in texts(app)
