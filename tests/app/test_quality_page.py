"""The quality page draws its charts from what people said, and gives the data away."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from app import context
from app.services.instant.tables import InstantTable
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from db.models import Category, Image, ModelRun, Proposal
from tests.builders import make_dataset, make_grant, make_proposals

MAIN = Path(__file__).parents[2] / "app" / "main.py"


@pytest.fixture(autouse=True)
def opened(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages see the test's workspace."""
    monkeypatch.setenv("CLSL_DATA_DIR", str(workspace.data_dir))
    context.open_workspace.cache_clear()
    yield
    context.open_workspace().close()
    context.open_workspace.cache_clear()


def draw(**state: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for key, value in state.items():
        app.session_state[key] = value
    app.run()
    app.switch_page("screens/quality.py").run()
    assert not app.exception, app.exception
    return app


def test_the_stop_rule_in_plain_words(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id, control=True)
    grant = make_grant(workspace, dataset_id)
    assert any("8 random pairs wait" in one.value for one in draw().info)
    with workspace.database.read() as session:
        found = session.scalars(select(Proposal)).all()
    answers = [
        Answer(f"verdict-{one.id}", one.image_id, one.category_id, "absent", one.id)
        for one in found
    ]
    verdicts.decide(workspace, grant, answers)
    app = draw()
    (said,) = app.success
    assert "4 positives are found and about 0 are missing" in said.value
    assert said.value.endswith("stop here.")
    assert list(app.dataframe[0].value["category"]) == ["all categories", "red", "green", "blue"]


def test_a_sample_is_drawn_and_answered_on_the_page(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    run_id = make_proposals(workspace, dataset_id).id
    with workspace.database.write() as session:
        images = session.scalars(select(Image.id).order_by(Image.id)).all()
        categories = session.scalars(select(Category.id)).all()
        session.get_one(ModelRun, run_id).directory = "runs/made"
    table = InstantTable(
        image_ids=np.array(images),
        category_ids=np.array(categories),
        logits=np.zeros((len(categories), len(images)), np.float16),
        vectors=np.zeros((len(images), 2), np.float16),
        calibration=np.zeros((0, 2), np.float32),
    )
    table.save(workspace.data_dir / "runs/made")
    app = draw(annotator="ada")
    app.button(key="completeness-draw").click().run()
    assert len(app.radio) == 8  # all that is unknown
    for one in app.radio:
        one.set_value("No")
    next(one for one in app.button if one.label == "Store these verdicts").click().run()
    assert not app.exception, app.exception
    assert not app.radio
    assert any("4 positives are found and about 0 are missing" in one.value for one in app.success)


def test_charts_appear_with_the_first_verdicts(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id, probability=0.9)
    before = {one.proto.label for one in draw().get("download_button")}
    assert before == {"Data as CSV"}
    assert len(draw().get("download_button")) == 3  # of labels, categories together, completeness
    grant = make_grant(workspace, dataset_id)
    with workspace.database.read() as session:
        found = session.scalars(select(Proposal)).all()
    answers = [
        Answer(f"verdict-{one.id}", one.image_id, one.category_id, "present", one.id)
        for one in found
    ]
    verdicts.decide(workspace, grant, answers)
    app = draw()
    assert len(app.get("download_button")) == 7  # all but learning and recall
    assert len(app.get("vega_lite_chart")) == 6
    assert any("10.0 points away" in one.value.replace("\\", "") for one in app.caption)
