"""What is declared about a file before it is read."""

import json
from pathlib import Path

import pytest

from clsl_core.errors import InputError
from clsl_core.formats.read_options import ReadOptions, read_with, validate_with
from clsl_core.types import LabelState
from tests.builders import coco_document

GOLDEN = Path(__file__).parent / "golden"


def states(path: Path, name: str, options: ReadOptions) -> dict[tuple, LabelState]:
    content, report = read_with(path, name, options)
    assert report.counts["labels"] == len(content.labels) == len(list(content.labels))
    assert list(content.labels) == [content.labels[i] for i in range(len(content.labels))]
    return {(x.image_id, x.category_id): x.state for x in content.labels}


def coco_file(folder: Path) -> Path:
    file = folder / "instances.json"
    file.write_text(json.dumps(coco_document(images=4, categories=3)))
    return file


def test_one_exhaustive_category_makes_absence_known_there_only(tmp_path: Path) -> None:
    file = coco_file(tmp_path)
    plain = states(file, "coco", ReadOptions())
    declared = states(file, "coco", ReadOptions(exhaustive=("green",)))
    added = {pair: state for pair, state in declared.items() if pair not in plain}
    assert plain.items() <= declared.items()
    assert added == {(i, 2): LabelState.ABSENT for i in (10, 12, 13)}


def test_all_categories_declared_is_the_whole_file_declared(tmp_path: Path) -> None:
    file = coco_file(tmp_path)
    each = states(file, "coco", ReadOptions(exhaustive=("red", "green", "blue")))
    assert each == states(file, "coco", ReadOptions(absent="negative"))


def test_an_unknown_exhaustive_category_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no category 'gren'.*there are 'green'"):
        read_with(coco_file(tmp_path), "coco", ReadOptions(exhaustive=("gren",)))


@pytest.mark.parametrize(
    ("zero", "expected"), [("absent", LabelState.ABSENT), ("unknown", None), ("auto", None)]
)
def test_what_zero_means_is_declared(tmp_path: Path, zero, expected: LabelState | None) -> None:
    file = tmp_path / "wide.csv"
    file.write_text("file,cat,dog\na.jpg,1,0\nb.jpg,-1,0\n")
    found = states(file, "csv-wide", ReadOptions(zero=zero))
    assert found.get(("a.jpg", "dog")) == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("ignore", None), ("present", LabelState.PRESENT), ("absent", LabelState.ABSENT)],
)
def test_what_difficult_objects_mean_is_declared(
    tmp_path: Path, policy, expected: LabelState | None
) -> None:
    folder = tmp_path / "Annotations"
    folder.mkdir()
    (folder / "a.xml").write_text(
        "<annotation><filename>a.jpg</filename><object><name>cat</name><difficult>1</difficult>"
        "</object><object><name>dog</name><difficult>0</difficult></object></annotation>"
    )
    found = states(tmp_path, "voc", ReadOptions(difficult=policy))
    assert {category: state for (_, category), state in found.items()}.get("cat") == expected


@pytest.mark.parametrize("options", [ReadOptions(zero="absent"), ReadOptions(difficult="present")])
def test_declarations_that_a_format_has_no_use_for_are_refused(
    tmp_path: Path, options: ReadOptions
) -> None:
    with pytest.raises(InputError, match="leave that declaration away"):
        validate_with(coco_file(tmp_path), "coco", options)
