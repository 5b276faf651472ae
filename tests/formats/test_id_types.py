"""Ids that went through tools with other types: 1.0 for 1, "1" for 1, 1 for "1"."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.formats import read, write
from clsl_core.formats.coco import coco
from clsl_core.formats.coco.records import id_of, known_id
from clsl_core.types import LabelRecord, LabelState
from tests.builders import coco_document

AS_TYPE = {"number": int, "float": float, "text": str}


def document(kind: str, **kept: str) -> dict[str, Any]:
    """The made document with some of its ids in another type."""
    made = coco_document()
    for part, key in (
        ("images", "id"),
        ("categories", "id"),
        ("annotations", "image_id"),
        ("annotations", "category_id"),
    ):
        convert = AS_TYPE[kept.get(f"{part}.{key}", kind)]
        for record in made[part]:
            record[key] = convert(record[key])
    made["labels"] = [{"image_id": 10, "category_id": 2, "state": "absent"}]
    for entry in made["labels"]:
        for key in ("image_id", "category_id"):
            entry[key] = AS_TYPE[kept.get(f"annotations.{key}", kind)](entry[key])
    return made


MIXED = {
    "floats from pandas": ("float", {}),
    "texts as VIA writes them": ("number", {"annotations.image_id": "text"}),
    "texts in the lists": ("number", {"images.id": "text", "categories.id": "text"}),
    "floats in the annotations": (
        "number",
        {"annotations.image_id": "float", "annotations.category_id": "float"},
    ),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("long", [False, True])
def test_ids_of_another_type_give_the_same_labels_and_go_out_as_they_came(
    name: str, long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if long:
        monkeypatch.setattr(coco, "STREAM_FROM", 1)
    kind, kept = MIXED[name]
    (tmp_path / "in.json").write_text(json.dumps(document(kind, **kept)))
    content, report = read(tmp_path / "in.json", "coco")
    plain = coco_document()
    names = {image.source_id: image.file_name for image in content.images}
    words = {category.source_id: category.name for category in content.categories}
    found = {
        (names[x.image_id], words[x.category_id])
        for x in content.labels
        if x.state.word == "present"
    }
    files = {image["id"]: image["file_name"] for image in plain["images"]}
    titles = {category["id"]: category["name"] for category in plain["categories"]}
    wanted = {(files[x["image_id"]], titles[x["category_id"]]) for x in plain["annotations"]}
    assert found == wanted
    assert [x.state for x in content.labels].count(LabelState.ABSENT) == 1
    codes = report.by_code()
    assert codes
    assert set(codes.values()) == {1}, "said once"
    write(content, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == document(kind, **kept)
    again = LabelRecord(
        content.images[0].source_id, content.categories[1].source_id, LabelState.ABSENT
    )
    write(content, tmp_path / "out.json", [again])
    assert len(json.loads((tmp_path / "out.json").read_text())["labels"]) == 1, "said already"


def test_lists_of_lvis_too(tmp_path: Path) -> None:
    made = coco_document()
    made["images"][0] |= {"neg_category_ids": [2.0], "not_exhaustive_category_ids": ["3"]}
    (tmp_path / "in.json").write_text(json.dumps(made))
    content, _ = read(tmp_path / "in.json", "lvis")
    states = {x.category_id: x.state.word for x in content.labels if x.image_id == 10}
    assert states == {1: "present", 2: "absent", 3: "present"}
    decided = LabelRecord(10, 2, LabelState.PRESENT)
    write(content, tmp_path / "out.json", [decided])
    record = json.loads((tmp_path / "out.json").read_text())["images"][0]
    assert record["neg_category_ids"] == []
    assert record["not_exhaustive_category_ids"] == ["3", 2]


def test_when_no_annotation_belongs_to_the_file_one_line_says_so(tmp_path: Path) -> None:
    made = coco_document()
    for number, annotation in enumerate(made["annotations"]):
        annotation["image_id"] = f"picture-{number}"
    (tmp_path / "in.json").write_text(json.dumps(made))
    content, report = read(tmp_path / "in.json", "coco")
    assert not content.labels
    (told,) = [x for x in report.problems if x.code == "no-annotation-belongs"]
    assert "image_id is the text 'picture-0'" in told.message


@settings(deadline=None)
@given(number=st.integers(-(2**50), 2**50))
def test_a_reference_means_the_id_that_is_written_like_it(number: int) -> None:
    assert id_of(float(number)) == number
    assert known_id(str(number), {number}) == number
    assert known_id(number, {str(number)}) == str(number)
    assert known_id(str(number), {number, str(number)}) == str(number), "the same type first"


@pytest.mark.parametrize("value", [1.5, True, None, [], "01", "1.0", " 1", float("inf"), 2.0**60])
def test_what_is_no_id_means_none(value: object) -> None:
    assert known_id(value, {1, 0}) not in {1, 0}
