"""NUS-WIDE: line n of a list of labels is about line n of its image list."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clsl_core.errors import InputError
from clsl_core.formats import FORMATS
from clsl_core.formats.coco import coco
from clsl_core.formats.nus_wide import nus_wide, nus_wide_csv
from clsl_core.types import AnnotationSet, ImageRecord, LabelRecord, LabelState, ValidationReport

PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT
LISTS = {
    "ImageList/TrainImagelist.txt": "actor\\0001_1.jpg\r\nactor\\0002_2.jpg\r\n",
    "ImageList/TestImagelist.txt": "sky\\0003_3.jpg\n",
    "TrainTestLabels/Labels_sky_Train.txt": "1\n0\n",
    "TrainTestLabels/Labels_sky_Test.txt": "1\n",
    "TrainTestLabels/Labels_train_Train.txt": "0\n1\n",
    "Notes.txt": "not read",
}


def put(folder: Path, **changes: str | None) -> Path:
    for name, text in {**LISTS, **changes}.items():
        if text is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text.encode())
    return folder


def states(content: AnnotationSet) -> dict[Any, LabelState]:
    return {(label.image_id, label.category_id): label.state for label in content.labels}


def problems(report: ValidationReport) -> list[tuple[str, str]]:
    return [(p.where, p.code) for p in report.problems]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.txt")}


def test_what_is_read(tmp_path: Path) -> None:
    content, report = nus_wide.read(put(tmp_path))
    assert report.problems == []
    one, two, three = "actor\\0001_1.jpg", "actor\\0002_2.jpg", "sky\\0003_3.jpg"
    assert states(content) == {
        (one, "sky"): PRESENT,
        (two, "sky"): ABSENT,
        (three, "sky"): PRESENT,
        (one, "train"): ABSENT,
        (two, "train"): PRESENT,
    }
    splits = {image.file_name: image.record["split"] for image in content.images}
    assert splits == {three: "Test", one: "Train", two: "Train"}


def test_lists_come_back_and_decisions_change_single_lines(tmp_path: Path) -> None:
    content, _ = nus_wide.read(put(tmp_path / "in"))
    nus_wide.write(content, [], tmp_path / "same", summary={})
    expected = {name: text.encode() for name, text in LISTS.items() if name != "Notes.txt"}
    assert files(tmp_path / "same") == expected
    labels = [
        LabelRecord("actor\\0002_2.jpg", "sky", PRESENT, "human", annotator="ada"),
        LabelRecord("sky\\0003_3.jpg", "train", ABSENT, "human", score=0.25),
    ]
    nus_wide.write(content, labels, tmp_path / "o", summary={})
    expected["TrainTestLabels/Labels_sky_Train.txt"] = b"1\n1\n"
    expected["TrainTestLabels/Labels_train_Test.txt"] = b"0\n"
    assert files(tmp_path / "o") == expected
    again, _ = nus_wide.read(tmp_path / "o")
    assert {label for label in again.labels if label.source == "human"} == set(labels)


def test_lists_of_all_images_may_lie_beside(tmp_path: Path) -> None:
    every = "actor\\0001_1.jpg\nactor\\0002_2.jpg\nsky\\0003_3.jpg\n"
    added = {"ImageList/Imagelist.txt": every, "AllLabels/Labels_sky.txt": "0\n0\n1\n"}
    content, report = nus_wide.read(put(tmp_path, **added))
    assert report.by_code() == {"contradicting-labels": 1}
    assert len(content.images) == 3
    assert {image.record["split"] for image in content.images} == {"Train", "Test"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"TrainTestLabels/Labels_sky_Train.txt": "1\n"},
         [("TrainTestLabels/Labels_sky_Train.txt", "wrong-length")]),
        ({"TrainTestLabels/Labels_sky_Train.txt": "1\nx\n"},
         [("TrainTestLabels/Labels_sky_Train.txt line 2", "bad-state")]),
        ({"TrainTestLabels/Labels_sky_Train.txt": "1\n-1\n"},
         [("TrainTestLabels/Labels_sky_Train.txt", "minus-one")]),
        ({"TrainTestLabels/Labels_sky_Val.txt": "1\n"},
         [("TrainTestLabels/Labels_sky_Val.txt", "no-image-list")]),
        ({"ImageList/TestImagelist.txt": "..\\x.jpg\n"},
         [("ImageList/TestImagelist.txt line 1", "unsafe-file-name")]),
        ({"ImageList/TestImagelist.txt": "\n"},
         [("TestImagelist.txt", "empty-file")]),
    ],
)  # fmt: skip
def test_hazards_are_named_with_their_place(
    tmp_path: Path, changes: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    assert problems(FORMATS["nus-wide"].validate(put(tmp_path, **changes))) == expected


def test_what_is_no_such_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    for name, code in (("x", "not-a-folder"), ("y", "missing-file"), (".", "not-nus-wide")):
        assert [p.code for p in FORMATS["nus-wide"].validate(tmp_path / name).problems] == [code]


def test_a_name_of_two_lines_is_refused(tmp_path: Path) -> None:
    content = AnnotationSet("coco", {}, [ImageRecord(1, "a\nb", None, None, {})], [], [], [])
    with pytest.raises(InputError, match="more than one line"):
        nus_wide.write(content, [], tmp_path / "o", summary={})


# The table -------------------------------------------------------------------------------------

TABLE = (
    'filepath,label,split_name\nimages/1.jpg,"[\'sky\', ""it\'s""]",train\nimages/2.jpg,[],val\n'
)


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], Path]:
    def put(text: str) -> Path:
        (tmp_path / "in.csv").write_text(text)
        return tmp_path / "in.csv"

    return put


def test_the_table_against_pandas(table: Callable[[str], Path], tmp_path: Path) -> None:
    source = table(TABLE)
    content, report = nus_wide_csv.read(source)
    assert report.problems == []
    rows = pd.read_csv(source, converters={"label": ast.literal_eval})
    expected = {(row.filepath, name): PRESENT for row in rows.itertuples() for name in row.label}
    assert states(content) == expected
    assert [image.record["split"] for image in content.images] == list(rows.split_name)
    nus_wide_csv.write(content, [], tmp_path / "o.csv", summary={})
    assert (tmp_path / "o.csv").read_text() == TABLE


def test_decisions_change_their_list_and_absence_is_told_beside(
    table: Callable[[str], Path], tmp_path: Path
) -> None:
    content, _ = nus_wide_csv.read(table(TABLE))
    labels = [
        LabelRecord("images/1.jpg", "sky", ABSENT, "human"),
        LabelRecord("images/2.jpg", "sky", PRESENT, "human", score=0.5),
    ]
    nus_wide_csv.write(content, labels, tmp_path / "o.csv", summary={})
    again, _ = nus_wide_csv.read(tmp_path / "o.csv")
    assert [image.record["names"] for image in again.images] == [["it's"], ["sky"]]
    assert states(again) == {
        ("images/1.jpg", "it's"): PRESENT,
        ("images/1.jpg", "sky"): ABSENT,
        ("images/2.jpg", "sky"): PRESENT,
    }
    exhaustive, _ = nus_wide_csv.read(tmp_path / "o.csv", absent="negative")
    assert states(exhaustive)["images/2.jpg", "it's"] is ABSENT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", [("line 1", "missing-column")]),
        ("filepath,label\nx,sky\n", [("line 2", "bad-list")]),
        ("filepath,label\nx,\"['a', 1]\"\n", [("line 2", "bad-list")]),
        ("filepath,label\nx,__import__('os')\n", [("line 2", "bad-list")]),
        ("filepath,label\nx," + "[" * 5000 + "\n", [("line 2", "bad-list")]),
        ("filepath,label\nx\n", [("line 2", "ragged-row")]),
        ("filepath,label\nx,[]\nx,[]\n", [("line 3", "duplicate-image")]),
        ("filepath,label\nx,['']\n", [("line 2", "bad-name")]),
        ("filepath,label\n/x,['a']\n", [("line 2", "unsafe-file-name")]),
    ],
)
def test_hazards_of_the_table(
    table: Callable[[str], Path], text: str, expected: list[tuple[str, str]]
) -> None:
    assert problems(FORMATS["nus-wide-csv"].validate(table(text))) == expected


def test_coco_becomes_lists(tmp_path: Path) -> None:
    content, _ = coco.read(Path(__file__).parent / "golden" / "small_with_labels.json")
    nus_wide.write(content, [], tmp_path / "o", summary={})
    again, report = nus_wide.read(tmp_path / "o")
    assert report.by_code() == {"minus-one": 3}
    assert sorted(x.state for x in again.labels) == sorted(x.state for x in content.labels)
