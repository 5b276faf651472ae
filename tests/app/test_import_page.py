"""The import page shows everything before it writes anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import context
from app.services.datasets import overview
from app.services.importing.preview import ImportPreview
from app.services.jobs.table import JobKind
from app.services.workspace import Workspace
from tests.builders import coco_document, make_collection, make_dataset
from tests.security.archives import collection, packed

MAIN = Path(__file__).parents[2] / "app" / "main.py"


@pytest.fixture(autouse=True)
def opened(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages see the test's workspace."""
    monkeypatch.setenv("CLSL_DATA_DIR", str(workspace.data_dir))
    context.open_workspace.cache_clear()
    yield
    context.open_workspace().close()
    context.open_workspace.cache_clear()


def draw() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.run()
    app.switch_page("screens/import_.py").run()
    assert not app.exception, app.exception
    return app


def texts(app: AppTest) -> str:
    kinds = ("markdown", "info", "error", "success", "warning", "caption", "subheader")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(app, kind))


def choose(app: AppTest, file: Path, root: Path | str, name: str = "new") -> AppTest:
    app.radio(key="import-way").set_value("On this machine").run()
    app.text_input(key="import-path").set_value(str(file))
    app.text_input(key="import-folder").set_value(str(root))
    app.text_input(key="import-name").set_value(name)
    return app.run()


def keys(app: AppTest) -> list[str | None]:
    return [button.key for button in app.button]


def test_nothing_is_imported_before_it_was_looked_at(workspace: Workspace, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path)
    app = choose(draw(), file, root)
    assert "import-go" not in keys(app)
    app.button(key="import-look").click().run()
    assert not app.exception
    shown = texts(app)
    assert "Nothing to complain about" in shown
    assert "All 4 pictures are there" in shown
    assert "Make the dataset **new**" in shown
    assert [metric.value for metric in app.metric][:3] == ["4", "3", "4"]
    assert workspace.jobs.recent() == []
    app.button(key="import-go").click().run()
    (job,) = workspace.jobs.live()
    assert job.kind is JobKind.IMPORT
    assert job.payload["then"] == ["embed", "train", "propose"]
    assert (job.payload["name"], job.payload["image_root"]) == ("new", str(root))


def test_a_change_after_the_look_asks_for_another(tmp_path: Path) -> None:
    file, root = make_collection(tmp_path)
    app = choose(draw(), file, root)
    app.button(key="import-look").click().run()
    app.text_input(key="import-name").set_value("other").run()
    assert "look again" in texts(app)
    assert "import-go" not in keys(app)


def test_a_file_that_cannot_be_imported_has_no_button(tmp_path: Path) -> None:
    document = coco_document()
    document["images"][1]["id"] = document["images"][0]["id"]
    file, root = make_collection(tmp_path, document)
    app = choose(draw(), file, root)
    app.button(key="import-look").click().run()
    assert "cannot be imported" in texts(app)
    assert "import-go" not in keys(app)
    assert [e.label for e in app.expander if "duplicate" in e.label] == [
        r"duplicate\-image\-id: 1 (refuses the file)"
    ]


def test_an_import_into_a_dataset_shows_the_plan(workspace: Workspace, tmp_path: Path) -> None:
    make_dataset(workspace, "old")
    file, root = make_collection(tmp_path, coco_document(images=6))
    app = choose(draw(), file, root, "old")
    assert "is there already" in texts(app)
    app.button(key="import-look").click().run()
    assert "Add to the dataset **old**, and update it" in texts(app)
    plan = app.dataframe[-1].value
    assert list(plan["added"]) == [2, 0, 2, 2]
    assert list(plan["unchanged"]) == [4, 3, 4, 4]


def test_what_cannot_be_told_is_asked_in_both_readings(
    workspace: Workspace, tmp_path: Path
) -> None:
    make_dataset(workspace, "old")
    document = coco_document()
    document["categories"][0]["name"] = "crimson"
    file, root = make_collection(tmp_path, document)
    app = choose(draw(), file, root, "old")
    app.button(key="import-look").click().run()
    assert "import-go" not in keys(app)
    (row,) = app.dataframe[-1].value.to_dict("records")
    assert (row["was"], row["is"]) == ("red", "crimson")
    assert row["if ids count"] != row["if names count"]
    app.radio(key="import-match").set_value("ids").run()
    app.button(key="import-look").click().run()
    assert "Categories that are called something else: 1" in [e.label for e in app.expander]
    app.button(key="import-go").click().run()
    (job,) = workspace.jobs.live()
    assert job.payload["match"] == "ids"


def test_a_zip_brings_its_pictures(workspace: Workspace) -> None:
    app = draw()
    app.file_uploader(key="import-upload").set_value(
        ("zoo.zip", packed(collection("zoo/")).getvalue(), "application/zip")
    ).run()
    assert not app.exception
    assert "Unpacked: 5 files" in texts(app)
    app.text_input(key="import-name").set_value("zoo").run()
    app.button(key="import-look").click().run()
    assert "All 4 pictures are there" in texts(app)
    app.button(key="import-go").click().run()
    (job,) = workspace.jobs.live()
    (folder,) = (workspace.data_dir / "collections").iterdir()
    assert job.payload["image_root"] == str(folder / "zoo" / "images")
    assert folder.exists(), "the import needs it"


def test_an_upload_that_is_replaced_leaves_nothing(workspace: Workspace) -> None:
    app = draw()
    upload = app.file_uploader(key="import-upload")
    upload.set_value(("a.zip", packed(collection()).getvalue(), "application/zip")).run()
    upload = app.file_uploader(key="import-upload")
    assert len(list((workspace.data_dir / "collections").iterdir())) == 1
    content = json.dumps(coco_document()).encode()
    upload.set_value(("b.json", content, "application/json")).run()
    assert list((workspace.data_dir / "collections").iterdir()) == []
    assert len(list((workspace.data_dir / "uploads").iterdir())) == 1


def test_a_refused_upload_says_why_and_leaves_nothing(workspace: Workspace) -> None:
    app = draw()
    upload = app.file_uploader(key="import-upload")
    upload.set_value(("a.zip", packed({"../x.json": b"{}"}).getvalue(), "application/zip")).run()
    assert "leads out of its folder" in texts(app)
    assert app.run() is app
    assert "leads out of its folder" in texts(app)
    assert "import-go" not in keys(app)
    for folder in ("collections", "uploads"):
        assert list((workspace.data_dir / folder).iterdir()) == []


HOSTILE = "<img src=x onerror=alert(1)> **b** $x$ :red[y] \u202egpj \x07 =1+1"


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    document = coco_document()
    document["categories"][0]["name"] = HOSTILE
    document["images"][0]["file_name"] = "<b>x</b>.jpg"
    document["annotations"][1]["category_id"] = "<script>"
    file = tmp_path / "x.json"
    file.write_text(json.dumps(document))
    app = choose(draw(), file, tmp_path, "**evil**")
    app.button(key="import-look").click().run()
    assert not app.exception
    shown = texts(app)
    assert r"\<img src\=x" in shown or r"\<img src=x" in shown
    assert "<img" not in shown.replace(r"\<img", "")
    assert "\u202e" not in shown
    assert "\x07" not in shown
    assert r"Make the dataset **\*\*evil\*\***" in shown


def test_what_was_declared_goes_along(workspace: Workspace, tmp_path: Path) -> None:
    _, root = make_collection(tmp_path)
    table = tmp_path / "wide.csv"
    table.write_text("file,cat,dog\n000.jpg,1,0\n001.jpg,-1,0\n")
    app = choose(draw(), table, root)
    app.radio(key="import-zero").set_value("absent").run()
    app.button(key="import-look").click().run()
    shown: ImportPreview = app.session_state["import-shown"][1]
    assert shown.counts["labels absent"] == 3
    app.multiselect(key="import-exhaustive-categories").set_value(["cat"]).run()
    app.button(key="import-look").click().run()
    app.button(key="import-go").click().run()
    (job,) = workspace.jobs.live()
    assert (job.payload["zero"], job.payload["exhaustive"]) == ("absent", ["cat"])
    assert overview.all_datasets(workspace) == []
