"""PASCAL VOC: lists and objects are labels, difficult ones by policy, and no file changes."""

import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clsl_core.errors import InputError
from clsl_core.formats import FORMATS
from clsl_core.formats.coco import coco
from clsl_core.formats.sidecar import path_for
from clsl_core.formats.text.xml_source import MAX_BYTES, MAX_DEPTH, XmlError, parse_xml
from clsl_core.formats.voc import voc
from clsl_core.types import AnnotationSet, LabelRecord, LabelState, ValidationReport

GOLDEN = Path(__file__).parent / "golden"
VOC = GOLDEN / "voc"
PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT
LISTED = {
    ("000001", "dog"): PRESENT,
    ("000002", "dog"): ABSENT,
    ("000002", "person"): ABSENT,
    ("000003", "dog"): ABSENT,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VOC, tmp_path / "voc"))


def states(content: AnnotationSet) -> dict[Any, LabelState]:
    return {(label.image_id, label.category_id): label.state for label in content.labels}


def problems(report: ValidationReport) -> list[tuple[str, str]]:
    return [(p.where, p.code) for p in report.problems]


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_what_is_read() -> None:
    content, report = voc.read(VOC)
    assert report.problems == []
    assert states(content) == LISTED
    assert [(i.source_id, i.file_name, i.width, i.height) for i in content.images] == [
        ("000001", "000001.jpg", 353, 500),
        ("000002", "000002.jpg", None, None),
        ("000003", "000003.jpg", None, None),
    ]
    assert [image.record["split"] for image in content.images] == ["train", "train", "val"]
    assert [category.name for category in content.categories] == ["dog", "person"]


def test_boxes_count_from_zero() -> None:
    content, _ = voc.read(VOC)
    root = ET.parse(VOC / "Annotations" / "000001.xml").getroot()  # the independent reading
    for annotation, element in zip(content.annotations, root.iter("object"), strict=True):
        x, y, width, height = annotation.record["bbox"]
        sides = [
            int(element.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")
        ]
        assert [x + 1, y + 1, x + width, y + height] == sides


@pytest.mark.parametrize(
    ("policy", "state"), [("ignore", None), ("present", PRESENT), ("absent", ABSENT)]
)
@pytest.mark.parametrize("listed", [True, False])
def test_difficult_objects_by_policy(
    folder: Path, policy: Any, state: LabelState | None, listed: bool
) -> None:
    if not listed:
        (folder / "ImageSets" / "Main" / "person_train.txt").unlink()
    content, _ = voc.read(folder, difficult=policy)
    assert states(content).get(("000001", "person")) is state


def test_a_plain_object_beside_a_difficult_one_is_present(folder: Path) -> None:
    shutil.rmtree(folder / "ImageSets")
    path = folder / "Annotations" / "000001.xml"
    thing = "<object><name>person</name></object>"
    path.write_text(path.read_text().replace("</annotation>", thing + "</annotation>"))
    assert states(voc.read(folder, difficult="absent")[0])["000001", "person"] is PRESENT
    assert voc.read(folder)[1].ok


def test_a_folder_comes_back_file_for_file(tmp_path: Path) -> None:
    content, _ = voc.read(VOC)
    voc.write(content, [], tmp_path / "o", summary={})
    assert files(tmp_path / "o") == files(VOC)
    assert not path_for(tmp_path / "o").exists()


def test_decisions_change_their_lines_only(tmp_path: Path) -> None:
    content, _ = voc.read(VOC)
    labels = [
        LabelRecord("000002", "dog", PRESENT, "human", "3", 0.5, "ada", "2025-01-02T03:04:05Z"),
        LabelRecord("000001", "dog", ABSENT, "human"),
        LabelRecord("000001", "person", PRESENT, "human"),
        LabelRecord("000003", "person", PRESENT, "human"),
    ]
    voc.write(content, labels, tmp_path / "o", summary={"labels": 4})
    expected = {
        **files(VOC),
        "ImageSets/Main/dog_train.txt": b"000001 -1\n000002  1\n",
        "ImageSets/Main/person_train.txt": b"000001  1\n000002 -1\n",
        "ImageSets/Main/person_val.txt": b"000003  1\n",
    }
    assert files(tmp_path / "o") == expected
    again, report = voc.read(tmp_path / "o")
    assert report.by_code() == {"label-against-annotation": 1}
    assert {label for label in again.labels if label.source == "human"} == set(labels)


def test_only_xml_files_say_what_is_there(folder: Path) -> None:
    content, report = voc.read(folder / "Annotations")
    assert report.problems == []
    assert states(content) == {("000001", "dog"): PRESENT}
    exhaustive, _ = voc.read(folder / "Annotations", absent="negative")
    assert states(exhaustive)["000002", "person"] is ABSENT


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("<annotation>", 1, "not XML"),
        ("", 1, "not XML"),
        ("<html/>", 1, "<annotation> was expected"),
        ("<annotation>\n<object/></annotation>", 2, "category name is missing"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotation/>', 1, "document type declaration"),
        ('\n<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', 2, "not allowed"),
        ("<annotation>" + "<a>" * 20, 1, "nested deeper"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', 1, "not XML"),
        ("<annotation>" + " " * MAX_BYTES, 1, "larger than"),
    ],
)
def test_bad_documents_are_named(folder: Path, text: str, line: int, words: str) -> None:
    (folder / "Annotations" / "000001.xml").write_text(text)
    (problem,) = [p for p in FORMATS["voc"].validate(folder).problems if p.severity == "error"]
    assert problem.where == f"Annotations/000001.xml line {line}"
    assert words in problem.message


def test_nothing_is_expanded_and_depth_is_bounded() -> None:
    laughs = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l>&b;</l>'
    with pytest.raises(XmlError, match="document type"):
        parse_xml(laughs.encode())
    with pytest.raises(XmlError, match="nested"):
        parse_xml(b"<a>" * (MAX_DEPTH + 1))
    assert parse_xml(b"<a>&lt;&#65;</a>").text == "<A"


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda f: (f / "ImageSets/Main/dog_train.txt").write_text("000001 1\n000002 -1\n000003 7"),
         [("ImageSets/Main/dog_train.txt line 3", "bad-line")]),
        (lambda f: (f / "ImageSets/Main/dog_val.txt").write_bytes(b"\xff"),
         [("dog_val.txt", "not-utf-8")]),
        (lambda f: (f / "ImageSets/Main/dog_trainval.txt").write_text("000001 1\n000002 1\n"),
         [("ImageSets/Main/dog_trainval.txt line 2", "contradicting-labels")]),
        (lambda f: (f / "Annotations/000009.xml").write_text("<annotation></annotation>"),
         [("Annotations/000009.xml", "no-file-name")]),
        (lambda f: (f / "Annotations/000009.xml").write_text(
            "<annotation><filename>../x.jpg</filename></annotation>"),
         [("Annotations/000009.xml", "unsafe-file-name")]),
        (lambda f: (f / "Annotations/000002.xml").write_text(
            "<annotation><filename>000002.jpg</filename><object><name>dog</name>"
            "<bndbox><xmin>a</xmin></bndbox></object></annotation>"),
         [("Annotations/000002.xml line 1", "bad-box"),
          ("ImageSets/Main/dog_train.txt line 2", "label-against-annotation")]),
    ],
)  # fmt: skip
def test_hazards_are_named_with_their_place(
    folder: Path, edit: Callable[[Path], object], expected: list[tuple[str, str]]
) -> None:
    edit(folder)
    assert problems(FORMATS["voc"].validate(folder)) == expected


def test_a_file_an_empty_folder_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    for name, code in (("x", "not-a-folder"), ("y", "missing-file"), (".", "not-voc")):
        assert [p.code for p in FORMATS["voc"].validate(tmp_path / name).problems] == [code]


def test_categories_with_underscores_and_odd_signs(tmp_path: Path) -> None:
    sets = tmp_path / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "my_val.txt").write_text("1\n")
    (sets / "traffic_light_my_val.txt").write_text("1 1\n")
    (sets / "a%2Fb_my_val.txt").write_text("1 -1\n")
    content, report = voc.read(tmp_path)
    assert report.problems == []
    assert states(content) == {("1", "traffic_light"): PRESENT, ("1", "a/b"): ABSENT}


def test_boxes_of_coco_become_objects_and_come_back(tmp_path: Path) -> None:
    content, _ = coco.read(GOLDEN / "small.json")
    voc.write(content, [], tmp_path / "o", summary={})
    again, report = voc.read(tmp_path / "o")
    assert report.problems == []
    assert [annotation.record["bbox"] for annotation in again.annotations] == [[1, 2.5, 3, 4]]
    coco.write(again, [], tmp_path / "back.json", summary={})
    back, _ = coco.read(tmp_path / "back.json")
    assert [a.record["bbox"] for a in back.annotations] == [[1, 2.5, 3, 4]]
    assert len(back.labels) == len(content.labels)
    assert [i.file_name for i in back.images] == sorted(i.file_name for i in content.images)


def test_an_existing_folder_is_not_replaced(tmp_path: Path) -> None:
    content, _ = voc.read(VOC)
    (tmp_path / "o").mkdir()
    voc.write(content, [], tmp_path / "o", summary={})
    for place in (tmp_path / "o", tmp_path / "no" / "o"):
        with pytest.raises(InputError):
            voc.write(content, [], place, summary={})
    assert [path.name for path in tmp_path.iterdir()] == ["o"]


def test_the_picture_called_like_the_xml_counts_where_the_stated_one_is_not(folder: Path) -> None:
    pictures = folder / "JPEGImages"
    pictures.mkdir()
    for name in ("000001.png", "000002.jpg", "000003.jpeg"):
        (pictures / name).write_text("")
    content, report = voc.read(folder)
    assert [i.file_name for i in content.images] == ["000001.png", "000002.jpg", "000003.jpeg"]
    assert problems(report) == [("Annotations/000001.xml", "other-file-name")]
    (pictures / "000001.jpg").write_text("")
    (pictures / "000001.png").unlink()
    assert voc.read(folder)[1].problems == []
