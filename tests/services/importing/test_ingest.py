"""Importing: everything arrives, twice is the same as once, people are never overruled."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from app.services.datasets import overview
from app.services.importing import ingest
from app.services.importing.ingest import ImportRequest, import_file
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import FormatError, InputError, NotFoundError
from clsl_core.types import LabelSource, LabelState
from db.models import Annotation, Image, ImageStatus, Label
from tests.builders import coco_document, make_collection, make_dataset, make_grant

pytestmark = pytest.mark.both_databases


def request(folder: Path, document: dict | None = None, name: str = "set") -> ImportRequest:
    file, root = make_collection(folder, document)
    return ImportRequest(str(file), str(root), name)


def test_counts_and_labels(workspace: Workspace, tmp_path: Path) -> None:
    result = import_file(workspace, request(tmp_path))
    assert result.added == {"images": 4, "categories": 3, "annotations": 4, "labels": 4}
    view = overview.dataset(workspace, "set")
    assert (view.images, view.categories, view.present, view.absent_labels) == (4, 3, 4, 0)
    assert view.unknown == 4 * 3 - 4


def test_a_second_import_changes_nothing_and_says_so(workspace: Workspace, tmp_path: Path) -> None:
    import_file(workspace, request(tmp_path))
    again = import_file(workspace, request(tmp_path))
    assert not again.changed
    assert again.message == "nothing changed: 'set' already holds everything in this file"


def test_a_newer_file_adds_and_updates(workspace: Workspace, tmp_path: Path) -> None:
    import_file(workspace, request(tmp_path))
    newer = coco_document(images=6)
    newer["annotations"][0]["area"] = 7.0
    again = import_file(workspace, request(tmp_path, newer))
    assert again.added == {"images": 2, "categories": 0, "annotations": 2, "labels": 2}
    assert again.updated["annotations"] == 1
    with workspace.database.read() as session:
        records = session.scalars(select(Annotation.record).order_by(Annotation.position)).all()
    assert records == newer["annotations"]


def test_what_people_decided_is_kept(workspace: Workspace, tmp_path: Path) -> None:
    result = import_file(workspace, request(tmp_path))
    grant = make_grant(workspace, result.dataset_id)
    with workspace.database.read() as session:
        label = session.scalars(select(Label)).first()
    assert label is not None
    pair = (label.image_id, label.category_id)
    verdicts.decide(workspace, grant, [Answer("client-id-1", *pair, "absent")])
    again = import_file(workspace, request(tmp_path))
    assert again.kept_human == 1
    with workspace.database.read() as session:
        kept = session.get_one(Label, pair)
    assert (kept.state, kept.source) == (LabelState.ABSENT, LabelSource.HUMAN)


def test_exhaustive_files_make_absence_known(workspace: Workspace, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path)
    import_file(workspace, ImportRequest(str(file), str(root), "set", absent="negative"))
    view = overview.dataset(workspace, "set")
    assert (view.present, view.absent_labels, view.unknown) == (4, 8, 0)


def test_missing_and_unsafe_pictures_are_noted_and_the_rest_goes_on(
    workspace: Workspace, tmp_path: Path
) -> None:
    document = coco_document()
    file, root = make_collection(tmp_path, document)
    (root / "001.jpg").unlink()
    document["images"][2]["file_name"] = "../secret.jpg"
    file.write_text(json.dumps(document))
    (tmp_path / "secret.jpg").write_bytes((root / "000.jpg").read_bytes())
    result = import_file(workspace, ImportRequest(str(file), str(root), "set"))
    assert result.problem_images == 2
    found = {p.file_name: p.reason for p in overview.problem_images(workspace, "set")}
    assert found == {"001.jpg": "missing", "../secret.jpg": "unsafe-path"}


def test_a_picture_that_turns_up_later_is_used(workspace: Workspace, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path)
    (root / "001.jpg").rename(root / "elsewhere")
    import_file(workspace, ImportRequest(str(file), str(root), "set"))
    (root / "elsewhere").rename(root / "001.jpg")
    import_file(workspace, ImportRequest(str(file), str(root), "set"))
    with workspace.database.read() as session:
        statuses = set(session.scalars(select(Image.status)))
    assert statuses == {ImageStatus.UNCHECKED}


def test_a_bad_file_leaves_no_trace(workspace: Workspace, tmp_path: Path) -> None:
    document = coco_document()
    document["images"][1]["id"] = document["images"][0]["id"]
    with pytest.raises(FormatError) as caught:
        import_file(workspace, request(tmp_path, document))
    assert caught.value.report is not None
    assert "duplicate-image-id" in caught.value.report.by_code()
    assert overview.all_datasets(workspace) == []


@pytest.mark.refusal
@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "line\nbreak"])
def test_names_that_cannot_be_used(workspace: Workspace, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="dataset name"):
        import_file(workspace, request(tmp_path, name=name))


def test_an_image_folder_that_is_none(workspace: Workspace, tmp_path: Path) -> None:
    file, _ = make_collection(tmp_path)
    with pytest.raises(InputError, match="image folder"):
        import_file(workspace, ImportRequest(str(file), str(tmp_path / "nowhere"), "set"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        ingest.validate(tmp_path / "nothing.json")


def test_an_unknown_dataset_lists_the_known_ones(workspace: Workspace) -> None:
    make_dataset(workspace, "cats")
    with pytest.raises(NotFoundError, match=r"no dataset called 'dogs'; there are: 'cats'"):
        overview.dataset(workspace, "dogs")


def test_text_that_databases_refuse_comes_through(workspace: Workspace, tmp_path: Path) -> None:
    document = coco_document()
    document["categories"][0]["name"] = "nul\0byte"
    document["images"][0]["extra"] = "lone \ud800 surrogate"
    file, root = make_collection(tmp_path, document)
    import_file(workspace, ImportRequest(str(file), str(root), "set"))
    with workspace.database.read() as session:
        record = session.scalars(select(Image.record).order_by(Image.position)).first()
    assert record == document["images"][0]
