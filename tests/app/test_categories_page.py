"""The page shows what a change would do before its button is pressed, and takes it back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import context
from app.services.categories import changes
from app.services.people import people
from app.services.workspace import Workspace
from tests.builders import coco_document, make_dataset

MAIN = Path(__file__).parents[2] / "app" / "main.py"
HOSTILE = "=cmd()<b>[x](http://x)"


@pytest.fixture(autouse=True)
def opened(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages see the test's workspace, with a dataset of which one name is markup."""
    document = coco_document()
    document["categories"][1]["name"] = HOSTILE
    make_dataset(workspace, document=document)
    monkeypatch.setenv("CLSL_DATA_DIR", str(workspace.data_dir))
    context.open_workspace.cache_clear()
    yield
    context.open_workspace().close()
    context.open_workspace.cache_clear()


def draw(name: str = "ada") -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.session_state[context.ANNOTATOR_KEY] = name
    app.run()
    app.switch_page("screens/categories.py").run()
    assert not app.exception, app.exception
    return app


def names(workspace: Workspace) -> list[tuple[str, str | None]]:
    return [(one.name, one.merged_into) for one in changes.listed(workspace, "set")]


def press(app: AppTest, label: str) -> None:
    next(one for one in app.button if one.label == label).click().run()
    assert not app.exception, app.exception


def test_rename_merge_and_undo(workspace: Workspace) -> None:
    app = draw()
    app.selectbox(key="rename-what").set_value(HOSTILE)
    app.text_input(key="rename-to").set_value("green")
    press(app, "Rename")
    assert names(workspace)[1] == ("green", None)
    assert "green" in app.success[0].value
    app.selectbox(key="into").set_value("red")
    app.multiselect(key="sources").set_value(["green"]).run()
    forecasts = app.dataframe[1].value
    assert list(forecasts["present"]) == [3, 3, 3, 3]
    assert names(workspace)[1] == ("green", None)
    press(app, "Merge")
    assert names(workspace)[1] == ("green", "red")
    press(app, "Undo")
    press(app, "Undo")
    assert names(workspace) == [("red", None), (HOSTILE, None), ("blue", None)]


def test_an_error_is_shown_and_the_page_goes_on(workspace: Workspace) -> None:
    app = draw()
    app.selectbox(key="rename-what").set_value(HOSTILE)
    app.text_input(key="rename-to").set_value("red")
    press(app, "Rename")
    assert "merge them" in app.error[0].value
    assert names(workspace)[1] == (HOSTILE, None)


def test_who_may_not_sees_why(workspace: Workspace) -> None:
    people.set_role(workspace, "rita", "reviewer")
    app = draw("rita")
    assert any("Only administrators" in one.value for one in app.info)
    assert next(one for one in app.button if one.label == "Rename").disabled
