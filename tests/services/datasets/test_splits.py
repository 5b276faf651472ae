"""Dividing images into splits: as previewed, with every category, undone exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from sqlalchemy import select

from app.services.access import rights
from app.services.datasets import splits
from app.services.exporting import export
from app.services.importing.ingest import ImportRequest, import_file
from app.services.learning import embedding
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, InputError
from clsl_core.formats import read
from db.models import Category, Image, Label
from tests.builders import coco_document, make_dataset

SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}


def split_of(workspace: Workspace) -> dict[str, str | None]:
    with workspace.database.read() as session:
        rows = session.execute(select(Image.file_name, Image.split).order_by(Image.position))
        return {row[0]: row[1] for row in rows}


def test_it_does_what_was_previewed_and_is_undone_exactly(workspace: Workspace) -> None:
    document = coco_document(images=24)
    for number, image in enumerate(document["images"][:10]):
        image["split"] = ("old", "val")[number % 2]
    make_dataset(workspace, document=document)
    before = split_of(workspace)
    plan = splits.plan(workspace, "set", SHARES)
    assert split_of(workspace) == before
    assert plan.images == {"train": 12, "val": 6, "test": 6}
    assert {one.name: one.positives for one in plan.categories} == {
        "red": (4, 2, 2),
        "green": (4, 2, 2),
        "blue": (4, 2, 2),
    }
    assert plan.deviation == 0
    assert plan.by_chance > 0
    assert plan.together is None
    made = splits.split_images(workspace, "set", SHARES)
    assert made == {"test": 6, "train": 12, "val": 6}
    after = split_of(workspace)
    assert plan.moved == sum(before[name] != after[name] for name in before)
    with workspace.database.read() as session:
        rows = session.execute(
            select(Category.name, Image.split)
            .join(Label, Label.category_id == Category.id)
            .join(Image, Image.id == Label.image_id)
        ).all()
    assert sorted((row[0], row[1]) for row in rows).count(("blue", "test")) == 2
    splits.split_images(workspace, "set", {"only": 1.0})
    splits.undo(workspace, "set")
    assert split_of(workspace) == after
    splits.undo(workspace, "set")
    assert split_of(workspace) == before
    with pytest.raises(ConflictError, match="nothing to undo"):
        splits.undo(workspace, "set")


def test_images_that_have_a_split_may_keep_it(workspace: Workspace) -> None:
    document = coco_document(images=12)
    for image in document["images"][:5]:
        image["split"] = "test"
    make_dataset(workspace, document=document)
    splits.split_images(workspace, "set", SHARES, keep=True)
    found = split_of(workspace)
    assert {found[image["file_name"]] for image in document["images"][:5]} == {"test"}
    assert set(found.values()) == {"train", "val", "test"}


def test_the_same_picture_is_never_in_two_splits(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace, document=coco_document(images=12), grain=30.0).dataset_id
    root = workspace.data_dir / "source-set" / "images"
    copies = [(0, 5), (1, 10), (2, 7)]
    for one, other in copies:
        with Pillow.open(root / f"{one:03}.jpg") as picture:
            pixels = np.asarray(picture)
        for number in (one, other):
            Pillow.fromarray(pixels).save(root / f"{number:03}.jpg", quality=95, subsampling=0)
    embedding.embed(workspace, dataset_id)
    assert splits.plan(workspace, "set", SHARES).together == len(copies)
    for seed in range(5):
        splits.split_images(workspace, "set", SHARES, seed)
        found = split_of(workspace)
        for one, other in copies:
            assert found[f"{one:03}.jpg"] == found[f"{other:03}.jpg"]


@pytest.mark.parametrize(("name", "ending"), [("coco", ".json"), ("imagefolder", ".jsonl")])
def test_splits_go_out_and_outlive_a_newer_file(
    workspace: Workspace, tmp_path: Path, name: str, ending: str
) -> None:
    document = coco_document(images=8)
    make_dataset(workspace, document=document)
    splits.split_images(workspace, "set", SHARES)
    given = split_of(workspace)
    output = tmp_path / f"out{ending}"
    export.export_dataset(workspace, "set", output, name)
    content, _ = read(output, name)
    assert {image.file_name: image.record.get("split") for image in content.images} == given
    document["images"][0]["width"] = 65
    newer = tmp_path / "newer.json"
    newer.write_text(json.dumps(document))
    root = workspace.data_dir / "source-set" / "images"
    again = import_file(workspace, ImportRequest(str(newer), str(root), "set"))
    assert again.updated["images"] == 1
    assert split_of(workspace) == given


def test_a_file_of_another_format_says_that_it_cannot_take_them(
    workspace: Workspace, tmp_path: Path
) -> None:
    make_dataset(workspace)
    export.export_dataset(workspace, "set", tmp_path / "voc", "voc")
    root = workspace.data_dir / "source-set" / "images"
    import_file(workspace, ImportRequest(str(tmp_path / "voc"), str(root), "voc", "voc"))
    assert export.left_behind(workspace, "voc", "voc") == []
    splits.split_images(workspace, "voc", SHARES)
    (said,) = export.left_behind(workspace, "voc", "voc")
    assert "splits given here" in said


def test_who_may_and_what_cannot_be(workspace: Workspace) -> None:
    make_dataset(workspace)
    with rights.acting(rights.Actor("eve", rights.Role.REVIEWER)):
        with pytest.raises(rights.Forbidden):
            splits.split_images(workspace, "set", SHARES)
        with pytest.raises(rights.Forbidden):
            splits.undo(workspace, "set")
    for shares, word in (
        ({}, "0 splits"),
        ({"a/b": 1.0}, "cannot be a split's name"),
        ({"": 1.0}, "cannot be a split's name"),
        ({"a": 0.5}, "0.5 together"),
        ({"a": 1.5, "b": -0.5}, "each above 0"),
    ):
        with pytest.raises(InputError, match=word):
            splits.plan(workspace, "set", shares)


def test_shares_are_read_as_people_write_them() -> None:
    assert splits.parse_shares("train=0.8, val=0.2") == {"train": 0.8, "val": 0.2}
    assert splits.parse_shares("a=70,b=30") == {"a": 0.7, "b": 0.3}
    for text in ("", "train", "train=x", "a=0.5,a=0.5", "a=nan"):
        with pytest.raises(InputError, match="write train="):
            splits.parse_shares(text)
