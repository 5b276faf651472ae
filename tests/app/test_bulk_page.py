"""Accepting in bulk from the page: begin, check pictures, accept, take back from the history."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from streamlit.testing.v1 import AppTest

from app import context
from app.services.quality import bulk_acceptance
from app.services.workspace import Workspace
from clsl_core.statistics.bulk_audit import AuditConfig, Qualification, qualify
from clsl_core.types import LabelSource
from db.models import Label
from tests.builders import coco_document, make_dataset, make_proposals

MAIN = Path(__file__).parents[2] / "app" / "main.py"


@pytest.fixture(autouse=True)
def opened(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages see the test's workspace; 60 proposals are enough for an audit."""
    monkeypatch.setenv("CLSL_DATA_DIR", str(workspace.data_dir))
    monkeypatch.setattr(bulk_acceptance, "qualify", of_small_sets)
    context.open_workspace.cache_clear()
    yield
    context.open_workspace().close()
    context.open_workspace.cache_clear()


def of_small_sets(
    scores: Any, lots: Any, verdicts: Any, positives: int, config: AuditConfig
) -> Qualification:
    small = replace(config, min_proposals=60, min_positives=10)
    return qualify(scores, lots, verdicts, positives, small)


def draw(page: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.session_state["annotator"] = "ada"
    app.run()
    app.switch_page(f"screens/{page}.py").run()
    assert not app.exception, app.exception
    return app


def audited(workspace: Workspace) -> int:
    with workspace.database.read() as session:
        query = select(func.count()).where(Label.source == LabelSource.MODEL_AUDITED)
        return session.scalar(query) or 0


def test_few_proposals_are_left_to_people(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_acceptance, "qualify", qualify)
    make_proposals(workspace, make_dataset(workspace).dataset_id)
    assert any("review them one by one" in one.value for one in draw("bulk").info)


def test_begin_check_accept_undo(workspace: Workspace) -> None:
    document = coco_document(400, 2)
    make_proposals(workspace, make_dataset(workspace, document=document).dataset_id)
    app = draw("bulk")
    app.select_slider(key="bulk-target").set_value(0.9).run()
    app.button(key="bulk-begin").click().run()
    assert app.button(key="bulk-apply").disabled
    seen = 0
    while app.radio:
        assert len(app.get("image")) == len(app.radio)
        seen += len(app.radio)
        for one in app.radio:
            one.set_value("Yes")
        next(one for one in app.button if one.label == "Store these verdicts").click().run()
        assert not app.exception, app.exception
    assert 12 < seen < 100
    app.button(key="bulk-apply").click().run()
    assert audited(workspace) == 200 - seen
    history = draw("history")
    assert any("accepted unseen after an audit" in one.value for one in history.markdown)
    undo = next(one for one in history.button if one.label == "Undo")
    undo.click().run()
    assert audited(workspace) == 0
