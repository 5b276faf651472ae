"""A part of a dataset, or the labels of a snapshot: told before, and just that in the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app import worker
from app.services.access.grants import Grant
from app.services.datasets import snapshots
from app.services.exporting import export
from app.services.exporting.part import ExportChoice, ExportPart, Only
from app.services.importing.ingest import ImportRequest, import_file
from app.services.jobs.table import JobKind
from app.services.reviewing import undo, verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import InputError, NotFoundError
from clsl_core.formats import FORMATS, read
from clsl_core.types import LabelState
from db.models import Category, Image
from tests.builders import coco_document, make_dataset, make_grant

IMAGES = 6


@pytest.fixture
def document() -> dict[str, Any]:
    """Six images, the first three of them ``train``; labels of an earlier export in the header."""
    made = coco_document(images=IMAGES)
    for number, image in enumerate(made["images"]):
        image["split"] = "train" if number < 3 else "val"
        image["file_name"] = f"{'a' if number % 2 else 'b'}_%/{image['file_name']}"
    made["labels"] = [
        {"image_id": image["id"], "category_id": 3, "state": "absent", "annotator": "eve"}
        for image in made["images"]
    ]
    return made


@pytest.fixture
def grant(workspace: Workspace, document: dict[str, Any]) -> Grant:
    return make_grant(workspace, make_dataset(workspace, document=document).dataset_id)


def ids(workspace: Workspace) -> tuple[list[int], list[int]]:
    with workspace.database.read() as session:
        images = session.scalars(select(Image.id).order_by(Image.position)).all()
        categories = session.scalars(select(Category.id).order_by(Category.position)).all()
    return list(images), list(categories)


def written(workspace: Workspace, output: Path, part: ExportPart) -> dict[str, Any]:
    choice = ExportChoice(part=part)
    told = export.preview(workspace, "set", choice)
    summary = export.export_dataset(workspace, "set", output, choice=choice)
    assert (told.images, told.labels_added) == (summary.images, summary.labels_added)
    document: dict[str, Any] = json.loads(output.read_text())
    assert len(document["images"]) == summary.images
    assert len(document["annotations"]) == summary.annotations
    assert len(document["categories"]) == summary.categories
    return document


@pytest.mark.parametrize(
    ("part", "images", "categories"),
    [
        (ExportPart(split="train"), [0, 1, 2], [1, 2, 3]),
        (ExportPart(split="val", categories=("green",)), [3, 4, 5], [2]),
        (ExportPart(prefix="b_%/"), [0, 2, 4], [1, 2, 3]),
        (ExportPart(prefix="B_%/"), [], [1, 2, 3]),
        (ExportPart(only=Only.REVIEWED), [1], [1, 2, 3]),
        (ExportPart(only=Only.REVIEWED, categories=("blue",)), [], [3]),
        (ExportPart(only=Only.COMPLETE), [1], [1, 2, 3]),
        (ExportPart(only=Only.COMPLETE, categories=("blue",)), [0, 1, 2, 3, 4, 5], [3]),
    ],
)
def test_a_part_is_told_before_and_keeps_its_records_and_ids(
    workspace: Workspace,
    tmp_path: Path,
    grant: Grant,
    document: dict[str, Any],
    part: ExportPart,
    images: list[int],
    categories: list[int],
) -> None:
    rows, columns = ids(workspace)
    known = {a["category_id"] for a in document["annotations"] if a["image_id"] == 11}
    assert known == {2}
    verdicts.decide(workspace, grant, [Answer("an-answer-1", rows[1], columns[0], "absent")])
    verdicts.decide(workspace, grant, [Answer("an-answer-2", rows[1], columns[1], "present")])
    made = written(workspace, tmp_path / "out.json", part)
    wanted = [document["images"][place] for place in images]
    assert made["images"] == wanted
    assert made["categories"] == [c for c in document["categories"] if c["id"] in categories]
    kept = {image["id"] for image in wanted}
    annotations = [
        a
        for a in document["annotations"]
        if a["image_id"] in kept and a["category_id"] in categories
    ]
    assert made["annotations"] == annotations
    pairs = {(x["image_id"], x["category_id"]) for x in made["labels"]}
    assert all(image in kept and category in categories for image, category in pairs)
    assert ((11, 1) in pairs) == (11 in kept and 1 in categories)
    left = export.preview(workspace, "set", ExportChoice(part=part)).left_out
    assert left["images"] == IMAGES - len(images)
    assert left["annotations"] == len(document["annotations"]) - len(annotations)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_the_same_part(
    workspace: Workspace, tmp_path: Path, grant: Grant, name: str
) -> None:
    part = ExportPart(split="train", categories=("red", "green"))
    output = tmp_path / f"{name}{FORMATS[name].suffix}"
    export.export_dataset(workspace, "set", output, name, choice=ExportChoice(part=part))
    content, report = read(output, name)
    assert report.ok
    names = {item.source_id: item.name for item in content.categories}
    files = {image.source_id: image.file_name for image in content.images}
    assert {Path(file).name for file in files.values()} == {"000.jpg", "001.jpg", "002.jpg"}
    found = {
        (Path(files[x.image_id]).name, names[x.category_id])
        for x in content.labels
        if x.state is LabelState.PRESENT
    }
    assert found == {("000.jpg", "red"), ("001.jpg", "green")}


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("coco", "lvis")])
def test_a_part_of_another_format_is_written_anew(
    workspace: Workspace, tmp_path: Path, grant: Grant, name: str
) -> None:
    output = tmp_path / f"{name}{FORMATS[name].suffix}"
    export.export_dataset(workspace, "set", output, name)
    root = workspace.data_dir / "source-set" / "images"
    import_file(workspace, ImportRequest(str(output), str(root), name, name))
    choice = ExportChoice(part=ExportPart(categories=("red",), prefix="b_%/"))
    again = tmp_path / "again" / output.name
    again.parent.mkdir()
    export.export_dataset(workspace, name, again, choice=choice)
    content, report = read(again, name)
    assert report.ok
    assert {image.file_name for image in content.images} == {f"b_%/00{n}.jpg" for n in (0, 2, 4)}
    present = [x for x in content.labels if x.state is LabelState.PRESENT]
    assert len(present) == 1


def test_one_file_for_each_split(workspace: Workspace, tmp_path: Path, grant: Grant) -> None:
    made = export.export_splits(workspace, "set", tmp_path / "out.json")
    assert {name: one.images for name, one in made.items()} == {"train": 3, "val": 3}
    assert sorted(p.name for p in tmp_path.glob("*.json")) == ["out.train.json", "out.val.json"]
    payload = {"format": "coco", "per_split": True}
    handlers = worker.handlers(workspace)
    result = workspace.jobs.run_here(JobKind.EXPORT, grant.dataset_id, payload, handlers).result
    assert result is not None
    assert result["splits"] == {"train": 3, "val": 3}
    assert str(result["file"]).endswith(".zip")


def test_what_is_not_there_is_said(workspace: Workspace, grant: Grant) -> None:
    for part, word in (
        (ExportPart(split="test"), "there are: train, val"),
        (ExportPart(categories=("purple",)), "no category 'purple'"),
    ):
        with pytest.raises(NotFoundError, match=word):
            export.preview(workspace, "set", ExportChoice(part=part))
    with pytest.raises(InputError, match="all, reviewed, complete"):
        ExportPart.of({"only": "some"})
    with pytest.raises(NotFoundError, match="no snapshot 'first'"):
        export.preview(workspace, "set", ExportChoice(snapshot="first"))


def test_a_choice_survives_a_job() -> None:
    part = ExportPart("train", ("a, b", "c"), "x/", Only.COMPLETE)
    choice = replace(ExportChoice.of(["human"], True), part=part, snapshot="first")
    assert ExportChoice.of_payload(json.loads(json.dumps(choice.to_json()))) == choice
    assert ExportChoice.of_payload({}) == ExportChoice()


@pytest.mark.parametrize("name", ["coco", "csv-long"])
def test_a_snapshot_goes_out_as_it_was(
    workspace: Workspace, tmp_path: Path, grant: Grant, name: str
) -> None:
    rows, columns = ids(workspace)
    answers = [
        Answer("an-answer-1", rows[0], columns[1], "present"),
        Answer("an-answer-2", rows[1], columns[0], "absent"),
        Answer("an-answer-3", rows[2], columns[0], "present"),
    ]
    verdicts.decide(workspace, grant, answers)
    undo.undo(workspace, grant, "an-undo-before", "an-answer-3")
    then = tmp_path / "then"
    export.export_dataset(workspace, "set", then, name)
    counts = export.preview(workspace, "set")
    snapshots.take(workspace, "set", "first")
    undo.undo(workspace, grant, "an-undo-after", "an-answer-1")
    later = [
        Answer("an-answer-4", rows[1], columns[0], "present"),
        Answer("an-answer-5", rows[4], columns[0], "absent"),
        Answer("an-answer-6", rows[0], columns[0], "absent"),  # the file says present
        Answer("an-answer-7", rows[4], columns[2], "present"),  # and here absent
    ]
    verdicts.decide(workspace, grant, later)
    choice = ExportChoice(snapshot="first")
    again = tmp_path / "again"
    summary = export.export_dataset(workspace, "set", again, name, choice=choice)
    assert summary.labels_added == counts.labels_added
    assert summary.imported_present == counts.imported_present
    assert labels(again) == labels(then)
    export.export_dataset(workspace, "set", tmp_path / "now", name)
    assert labels(tmp_path / "now") != labels(then)


def labels(file: Path) -> object:
    """All but the moment of the export."""
    if not file.read_text().startswith("{"):
        return file.read_text()
    document = json.loads(file.read_text())
    assert document.pop("clsl_export")
    return document
