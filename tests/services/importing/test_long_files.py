"""Files that are too long for memory: stored and given back like any other, or not at all."""

import json
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.services.exporting import export
from app.services.importing import target
from app.services.importing.ingest import ImportRequest, import_file
from app.services.workspace import Workspace
from clsl_core.errors import JobCancelled
from clsl_core.formats.coco import coco
from clsl_core.formats.coco.stored import StoredAnnotations
from db.models import Annotation, Dataset, Label
from tests.builders import coco_document, make_collection


@pytest.fixture(autouse=True)
def everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "STREAM_FROM", 0)
    monkeypatch.setattr(target, "BATCH", 7)


def long_document() -> dict:
    document = coco_document(images=40)
    document["annotations"][2] |= {"note": "\ud800 {:", "big": 10**30, "more": {"counts": "a}b"}}
    document["annotations"][3]["id"] = "three"
    document["annotations"].append({"id": 900, "image_id": 4_000, "category_id": None})
    return dict(reversed(document.items()))


def request(folder: Path, document: dict) -> ImportRequest:
    file, root = make_collection(folder, document)
    return ImportRequest(str(file), str(root), "set")


def count(workspace: Workspace, table: type) -> int:
    with workspace.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_what_comes_out_is_what_went_in(workspace: Workspace, tmp_path: Path) -> None:
    document = long_document()
    wanted = request(tmp_path, document)
    content, _ = coco.read(Path(wanted.file))
    assert isinstance(content.annotations, StoredAnnotations)
    result = import_file(workspace, wanted)
    assert result.added["annotations"] == len(document["annotations"])
    export.export_dataset(workspace, "set", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == document


def test_the_same_rows_as_in_one_piece(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = request(tmp_path, long_document())
    import_file(workspace, wanted)
    monkeypatch.setattr(coco, "STREAM_FROM", 2**40)
    again = import_file(workspace, wanted)
    assert not again.changed
    whole = import_file(workspace, ImportRequest(wanted.file, wanted.image_root, "whole"))
    query = select(Label.state, Annotation.position, Annotation.record).where(
        Annotation.image_id == Label.image_id, Annotation.category_id == Label.category_id
    )
    with workspace.database.read() as session:
        rows = [
            session.execute(
                query.where(Annotation.dataset_id == id_).order_by(Annotation.position)
            ).all()
            for id_ in (whole.dataset_id, again.dataset_id)
        ]
    assert rows[0] == rows[1]
    assert rows[0]


def test_a_newer_long_file_adds_and_updates(workspace: Workspace, tmp_path: Path) -> None:
    document = long_document()
    import_file(workspace, request(tmp_path, document))
    document["annotations"][0]["area"] = 7.5
    document["annotations"].append({"id": 901, "image_id": 4_000, "category_id": None})
    again = import_file(workspace, request(tmp_path, document))
    assert (again.added["annotations"], again.updated["annotations"]) == (1, 1)
    assert again.added["labels"] == 0
    export.export_dataset(workspace, "set", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == document


@pytest.mark.parametrize("stage", ["reading", "writing images", "writing labels"])
def test_stopped_half_way_nothing_stays(workspace: Workspace, tmp_path: Path, stage: str) -> None:
    told: list[str] = []

    def stop(done: int, total: int, what: str) -> None:
        told.append(what)
        if what.startswith(stage) or (stage == "reading" and what.startswith("looking")):
            raise JobCancelled("stopped")

    wanted = request(tmp_path, long_document())
    with pytest.raises(JobCancelled):
        import_file(workspace, wanted, stop, stop)
    assert told
    assert [count(workspace, table) for table in (Dataset, Annotation, Label)] == [0, 0, 0]
    import_file(workspace, wanted)
    assert count(workspace, Annotation) == len(long_document()["annotations"])


def test_an_export_that_is_stopped_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    import_file(workspace, request(tmp_path, long_document()))
    output = tmp_path / "fresh" / "out.json"
    output.parent.mkdir()

    def stop(done: int, total: int, what: str) -> None:
        if what == "writing annotations":
            raise JobCancelled("stopped")

    with pytest.raises(JobCancelled):
        export.export_dataset(workspace, "set", output, progress=stop)
    assert list(output.parent.iterdir()) == []
