"""The export page says what goes in and what a format drops, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from app import context
from app.services.datasets import snapshots
from app.services.jobs.table import JobKind
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from db.models import Category, Image
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

MAIN = Path(__file__).parents[2] / "app" / "main.py"


@pytest.fixture(autouse=True)
def opened(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages see the test's workspace."""
    monkeypatch.setenv("CLSL_DATA_DIR", str(workspace.data_dir))
    context.open_workspace.cache_clear()
    yield
    context.open_workspace().close()
    context.open_workspace.cache_clear()


@pytest.fixture
def dataset_id(workspace: Workspace) -> int:
    """A dataset with one verdict and open proposals; a category's name is markup."""
    document = coco_document()
    document["categories"][1]["name"] = "<b>\u202egreen</b>"
    for number, image in enumerate(document["images"]):
        image["split"] = ("train", "val")[number % 2]
    made = make_dataset(workspace, document=document).dataset_id
    grant = make_grant(workspace, made)
    with workspace.database.read() as session:
        image = session.scalars(select(Image.id).order_by(Image.position)).first()
        category = session.scalars(select(Category.id).order_by(Category.position.desc())).first()
    assert image is not None
    assert category is not None
    make_proposals(workspace, made)
    verdicts.decide(workspace, grant, [Answer("an-answer-1", image, category, "absent")])
    return made


def draw() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.run()
    app.switch_page("screens/export.py").run()
    assert not app.exception, app.exception
    return app


def numbers(app: AppTest) -> list[str]:
    return [metric.value for metric in app.metric]


def test_what_goes_in_is_counted_as_it_is_chosen(workspace: Workspace, dataset_id: int) -> None:
    app = draw()
    assert numbers(app) == ["4", "4", "0", "1", "0"]
    app.toggle(key=f"export-proposals-{dataset_id}").set_value(True).run()
    assert numbers(app) == ["4", "4", "0", "1", "7"]
    app.checkbox(key=f"export-HUMAN-{dataset_id}").set_value(False).run()
    assert numbers(app) == ["4", "4", "0", "0", "7"]
    app.button(key="prepare").click().run()
    assert not app.exception
    (job,) = workspace.jobs.live()
    assert job.kind is JobKind.EXPORT
    assert job.payload == {"format": "coco", "sources": ["model, audited"], "proposals": True}


def test_what_a_format_drops_is_said_before(dataset_id: int) -> None:
    app = draw()
    assert not app.warning
    app.selectbox(key=f"export-format-{dataset_id}").set_value("csv-wide").run()
    (warning,) = app.warning
    assert "4 boxes" in warning.value
    assert "4 image sizes" in warning.value
    assert "\u202e" not in str(app.dataframe[0].value)


def test_a_part_and_a_snapshot_are_counted_and_asked_for(
    workspace: Workspace, dataset_id: int
) -> None:
    snapshots.take(workspace, "set", "first")
    app = draw()
    app.selectbox(key=f"export-split-{dataset_id}").set_value("val").run()
    app.selectbox(key=f"export-snapshot-{dataset_id}").set_value("first").run()
    assert numbers(app)[0] == "2"
    assert any("Left out: 2 images" in one.value for one in app.caption)
    app.button(key="prepare").click().run()
    (job,) = workspace.jobs.live()
    assert job.payload["part"] == {"split": "val"}
    assert job.payload["snapshot"] == "first"
    workspace.jobs.cancel(job.id)
    each = app.selectbox(key=f"export-split-{dataset_id}").options[1]
    assert each == "a file for each"
    app.selectbox(key=f"export-split-{dataset_id}").select_index(1).run()
    app.button(key="prepare").click().run()
    (job,) = workspace.jobs.live()
    assert job.payload["per_split"] is True
    assert "part" not in job.payload
