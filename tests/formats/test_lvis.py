"""LVIS: its two lists are labels, decisions go back into them, and nothing else changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clsl_core.formats import FORMATS
from clsl_core.formats.coco import coco, lvis
from clsl_core.types import AnnotationSet, LabelRecord, LabelState

GOLDEN = Path(__file__).parent / "golden" / "lvis_v1.json"
PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[Any], object]], Path]:
    """The golden file with one change."""

    def change(edit: Callable[[Any], object]) -> Path:
        document = json.loads(GOLDEN.read_text())
        edit(document)
        (tmp_path / "in.json").write_text(json.dumps(document))
        return tmp_path / "in.json"

    return change


def states(content: AnnotationSet) -> dict[Any, LabelState]:
    return {(label.image_id, label.category_id): label.state for label in content.labels}


def test_the_lists_of_an_image_are_labels() -> None:
    content, report = lvis.read(GOLDEN)
    assert report.problems == []
    assert states(content) == {(391895, 1): PRESENT, (391895, 3): ABSENT, (7, 2): PRESENT}


def test_version_1_names_its_files_by_url() -> None:
    content, _ = lvis.read(GOLDEN)
    names = [image.file_name for image in content.images]
    assert names == ["train2017/000000391895.jpg", "val2017/000000000007.jpg"]


def test_version_05_names_its_files_itself(changed: Callable[..., Path]) -> None:
    name = "COCO_val2014_000000391895.jpg"
    content, report = lvis.read(changed(lambda d: d["images"][0].update(file_name=name)))
    assert content.images[0].file_name == name
    assert [p.code for p in report.problems] == ["coco-2014-name"]
    assert "'000000391895.jpg'" in report.problems[0].message


@pytest.mark.parametrize("url", [None, 7, "", "http://", "http://[bad", "http://host/../..//"])
def test_an_image_without_a_usable_url_is_refused_by_place(
    changed: Callable[..., Path], url: object
) -> None:
    report = FORMATS["lvis"].validate(changed(lambda d: d["images"][1].update(coco_url=url)))
    shown = [(p.where, p.code) for p in report.problems]
    assert shown in ([("images[1]", "bad-file-name")], [("images[1]", "unsafe-file-name")])


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    content, _ = lvis.read(GOLDEN)
    lvis.write(content, content.labels, tmp_path / "o.json", summary={})
    back = json.loads((tmp_path / "o.json").read_text())
    assert json.dumps(back) == json.dumps(json.loads(GOLDEN.read_text()))


def test_decisions_go_into_the_lists_and_come_back_with_their_origin(tmp_path: Path) -> None:
    content, _ = lvis.read(GOLDEN)
    labels = [
        LabelRecord(391895, 3, PRESENT, "human", "4", 0.8, "ada", "2025-01-02T03:04:05Z"),
        LabelRecord(391895, 1, ABSENT, "human", annotator="ada"),
        LabelRecord(7, 1, ABSENT, "human", annotator="ada"),
    ]
    lvis.write(content, labels, tmp_path / "o.json", summary={"labels": 3})
    document = json.loads((tmp_path / "o.json").read_text())
    first, second = document["images"]
    assert (first["neg_category_ids"], first["not_exhaustive_category_ids"]) == ([], [3])
    assert (second["neg_category_ids"], second["not_exhaustive_category_ids"]) == ([1], [2])
    assert document["clsl_export"] == {"labels": 3}
    again, report = lvis.read(tmp_path / "o.json")
    assert report.by_code() == {"label-against-annotation": 1}
    assert states(again) == {**states(content), **{(x.image_id, x.category_id): x.state
                                                   for x in labels}}  # fmt: skip
    assert {label for label in again.labels if label.source == "human"} == set(labels)


def test_an_imported_label_needs_no_second_list(tmp_path: Path) -> None:
    content, _ = lvis.read(GOLDEN)
    lvis.write(content, [LabelRecord(7, 3, ABSENT)], tmp_path / "o.json", summary={})
    document = json.loads((tmp_path / "o.json").read_text())
    assert "labels" not in document
    assert document["images"][1]["neg_category_ids"] == [3]


@pytest.mark.parametrize(
    ("lists", "codes", "state"),
    [
        ({"neg_category_ids": [1]}, {"label-against-annotation": 1}, PRESENT),
        ({"neg_category_ids": [2], "not_exhaustive_category_ids": [2]},
         {"contradicting-labels": 1}, None),
        ({"neg_category_ids": [99]}, {"missing-category": 1}, PRESENT),
        ({"neg_category_ids": "3"}, {"bad-category-list": 1}, PRESENT),
        ({"neg_category_ids": [None, 1.5, [3]]}, {"bad-category-list": 3}, PRESENT),
        ({"neg_category_ids": None}, {}, PRESENT),
    ],
)  # fmt: skip
def test_hazards_of_the_lists(
    changed: Callable[..., Path], lists: Any, codes: dict[str, int], state: LabelState | None
) -> None:
    content, report = lvis.read(changed(lambda d: d["images"][0].update(lists)))
    assert report.by_code() == codes
    assert all(p.where.startswith("images[0].") for p in report.problems)
    assert states(content).get((391895, 1)) is PRESENT
    assert states(content).get((391895, 2)) is (PRESENT if state is None else None)


def test_an_exhaustive_file_says_absent_of_the_rest() -> None:
    content, _ = lvis.read(GOLDEN, absent="negative")
    assert len(content.labels) == 6
    assert states(content)[7, 3] is ABSENT


def test_between_lvis_and_coco_no_label_is_lost(tmp_path: Path) -> None:
    content, _ = lvis.read(GOLDEN)
    coco.write(content, [], tmp_path / "coco.json", summary={})
    again, report = coco.read(tmp_path / "coco.json")
    assert report.problems == []
    assert states(again) == states(content)
    assert [x.file_name for x in again.images] == [x.file_name for x in content.images]


def test_coco_becomes_lvis_with_both_lists_in_every_image(tmp_path: Path) -> None:
    content, _ = coco.read(GOLDEN.parent / "small_with_labels.json")
    lvis.write(content, [], tmp_path / "o.json", summary={})
    again, report = lvis.read(tmp_path / "o.json")
    assert report.problems == []
    assert states(again) == states(content)
    assert all(lvis.NEGATIVE in image.record for image in again.images)
