"""COCO: nothing is lost, everything wrong is named, and our own export reads back the same."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clsl_core.errors import ClslError, FormatError, InputError, JobCancelled, NotFoundError
from clsl_core.formats import FORMATS, get_format
from clsl_core.formats.coco import coco
from clsl_core.formats.findings import LIMIT_PER_CODE
from clsl_core.formats.text.json_source import MAX_DEPTH
from clsl_core.types import AnnotationSet, LabelRecord, LabelState, ValidationReport

GOLDEN = Path(__file__).parent / "golden"
PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT


def small(**changes: Any) -> dict[str, Any]:
    """A valid file of two images, two categories and one annotation."""
    document = {
        "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2}],
    }
    return {**document, **changes}


@pytest.fixture
def put(tmp_path: Path) -> Callable[[Any], Path]:
    def put(content: Any) -> Path:
        path = tmp_path / "file.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content)
        else:
            path.write_text(json.dumps(content))
        return path

    return put


def states(content: AnnotationSet) -> dict[Any, LabelState]:
    return {(label.image_id, label.category_id): label.state for label in content.labels}


def export(content: AnnotationSet, output: Path, *labels: LabelRecord) -> Any:
    coco.write(content, labels, output, summary={"labels": len(labels)})
    return json.loads(output.read_text("utf-8"))


def ordered(value: object) -> str:
    """A text that differs when key order, number kind or content does."""
    return json.dumps(value)


# Lossless ------------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    source = GOLDEN / "small.json"
    content, report = coco.read(source)
    assert report.problems == []
    back = export(content, tmp_path / "out.json")
    assert ordered(back) == ordered(json.loads(source.read_text("utf-8")))


def test_added_labels_are_appended_and_nothing_else_changes(tmp_path: Path) -> None:
    content, _ = coco.read(GOLDEN / "small.json")
    labels = [
        LabelRecord("img-2", 90, PRESENT, "human", "run-3", 0.75, "Zoë", "2025-01-02T03:04:05Z"),
        LabelRecord(0, "1", ABSENT, "human"),
    ]
    summary = {"labels": {"human": {"present": 1, "absent": 1}}}
    coco.write(content, labels, tmp_path / "out.json", summary=summary)
    golden = (GOLDEN / "small_with_labels.json").read_text("utf-8")
    assert (tmp_path / "out.json").read_text("utf-8") == golden
    again, report = coco.read(tmp_path / "out.json")
    assert [*again.labels][-2:] == labels
    assert report.problems == []


def test_what_is_read_from_the_small_file() -> None:
    content, report = coco.read(GOLDEN / "small.json")
    assert [image.source_id for image in content.images] == [9, "img-2", 0]
    assert [(image.width, image.height) for image in content.images] == [
        (40, 30),
        (None, None),
        (None, 7),
    ]
    assert [(c.source_id, c.name, c.supercategory) for c in content.categories] == [
        (90, "toothbrush", "indoor"),
        (0, "zero", None),
        ("1", "text id", None),
    ]
    assert [a.source_id for a in content.annotations] == [5, 6, 7, None]
    assert states(content) == {(9, 90): PRESENT, (0, 0): PRESENT}  # ("img-2", "1") has a score
    assert {label.source for label in content.labels} == {"import"}
    assert list(content.header) == [
        "info", "x_unknown", "images", "categories", "annotations", "licenses",
    ]  # fmt: skip
    assert content.header["images"] is None
    assert report.counts == {
        "images": 3,
        "categories": 3,
        "annotations": 4,
        "labels": 2,
        "proposals": 1,
    }


def test_real_file_round_trip(coco_a: Path, tmp_path: Path) -> None:
    source = coco_a / "instances.json"
    content, report = coco.read(source)
    assert report.problems == []
    back, original = export(content, tmp_path / "out.json"), json.loads(source.read_text())
    assert list(back) == list(original)
    for key, value in original.items():
        assert ordered(back[key]) == ordered(value), key


def test_real_export_loads_in_pycocotools(coco_a: Path, tmp_path: Path) -> None:
    reference = pytest.importorskip("pycocotools.coco").COCO
    source, output = coco_a / "instances.json", tmp_path / "out.json"
    content, _ = coco.read(source)
    image, category = content.images[3].source_id, content.categories[7].source_id
    export(content, output, LabelRecord(image, category, ABSENT, "human"))
    ours, theirs = reference(str(output)), reference(str(source))
    assert ours.getImgIds() == theirs.getImgIds()
    assert ours.getAnnIds() == theirs.getAnnIds()
    assert ours.getCatIds() == theirs.getCatIds()
    again, _ = coco.read(output)
    assert [*again.labels] == [*content.labels, LabelRecord(image, category, ABSENT, "human")]
    assert again.annotations == content.annotations


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3)
    | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(extra=st.dictionaries(st.text(), json_values, max_size=3), header=json_values)
def test_unknown_keys_survive_whatever_they_are(
    tmp_path_factory: pytest.TempPathFactory, extra: dict[str, Any], header: Any
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    records = {"id": 1, "image_id": 1, "category_id": 1, "file_name": "x", "name": "y"}
    record = {**extra, **records, "width": None, "height": None}
    document = {"?": header, "annotations": [record], "images": [record], "categories": [record]}
    (folder / "in.json").write_text(json.dumps(document))
    content, _ = coco.read(folder / "in.json")
    assert ordered(export(content, folder / "out.json")) == ordered(document)


def test_lone_surrogates_and_nul_come_out_again(put: Callable[[Any], Path], tmp_path: Path) -> None:
    document = small(categories=[{"id": 1, "name": "a\ud800"}, {"id": 2, "name": "b\x00"}])
    content, report = coco.read(put(document))
    assert [category.name for category in content.categories] == ["a\ufffd", "b\ufffd"]
    assert report.by_code() == {"odd-text": 2}
    assert export(content, tmp_path / "out.json") == document


# Labels --------------------------------------------------------------------------------------


def test_nothing_new_adds_no_key(put: Callable[[Any], Path], tmp_path: Path) -> None:
    content, _ = coco.read(put(small()))
    known = LabelRecord(1, 2, PRESENT)
    assert list(export(content, tmp_path / "o.json", known)) == list(small())


def test_a_second_export_adds_only_what_is_new_and_replaces_the_summary(tmp_path: Path) -> None:
    content, _ = coco.read(GOLDEN / "small_with_labels.json")
    before = json.loads((GOLDEN / "small_with_labels.json").read_text("utf-8"))
    assert ordered(export(content, tmp_path / "same.json", *content.labels)) == ordered(before)
    changed = LabelRecord(0, "1", PRESENT, "human")
    after = export(content, tmp_path / "o.json", changed)
    assert after["labels"][:2] == before["labels"]
    assert [entry["state"] for entry in after["labels"][2:]] == ["present"]
    assert after["clsl_export"] == {"labels": 1}
    again, _ = coco.read(tmp_path / "o.json")
    assert states(again)[0, "1"] is PRESENT  # the later entry counts


def test_a_label_counts_more_than_an_annotation(put: Callable[[Any], Path], tmp_path: Path) -> None:
    content, _ = coco.read(put(small()))
    export(content, tmp_path / "o.json", LabelRecord(1, 2, ABSENT, "human", annotator="ada"))
    again, report = coco.read(tmp_path / "o.json")
    assert states(again) == {(1, 2): ABSENT}
    assert [p.code for p in report.problems] == ["label-against-annotation"]
    assert report.problems[0].where == "labels[0]"
    assert again.annotations == content.annotations
    reversed_ = export(again, tmp_path / "p.json", LabelRecord(1, 2, PRESENT))
    assert [entry["state"] for entry in reversed_["labels"]] == ["absent", "present"]


def test_odd_label_entries_are_kept_and_give_no_label(
    put: Callable[[Any], Path], tmp_path: Path
) -> None:
    good = {"image_id": 2, "category_id": 1, "state": "absent", "mine": [1]}
    odd = [
        "text",
        None,
        {"image_id": 3, "category_id": 1, "state": "present"},
        {"image_id": 2, "category_id": True, "state": "present"},
        {"image_id": 2, "category_id": [1], "state": "present"},
        {"image_id": 2, "category_id": 1, "state": "unknown"},
        {"image_id": 2, "category_id": 1, "state": ["present"]},
    ]
    document = small(labels=[good, *odd])
    content, report = coco.read(put(document))
    assert states(content) == {(1, 2): PRESENT, (2, 1): ABSENT}
    assert [p.where for p in report.problems] == [f"labels[{i}]" for i in range(1, 8)]
    assert export(content, tmp_path / "o.json") == document
    added = export(content, tmp_path / "o.json", LabelRecord(2, 2, ABSENT, "human"))
    assert added["labels"][:-1] == document["labels"]


def test_scores_and_texts_of_label_entries_are_typed(put: Callable[[Any], Path]) -> None:
    entry = {"image_id": 2, "category_id": 1, "state": "absent", "score": 10**400, "source": 3}
    content, _ = coco.read(put(small(labels=[{**entry, "annotator": 7}])))
    assert content.labels[-1] == LabelRecord(2, 1, ABSENT)
    content, _ = coco.read(put(small(labels=[{**entry, "score": 1, "source": "human"}])))
    assert content.labels[-1] == LabelRecord(2, 1, ABSENT, "human", score=1.0)


def test_labels_of_another_meaning_are_refused(put: Callable[[Any], Path]) -> None:
    assert codes(put(small(labels={"1": "cat"}))) == {"wrong-type": 1}
    content, _ = coco.read(put(small(labels=None)))
    assert states(content) == {(1, 2): PRESENT}


def test_absent_negative_labels_every_pair(put: Callable[[Any], Path]) -> None:
    entry = {"image_id": 1, "category_id": 1, "state": "present", "source": "human"}
    content, report = coco.read(put(small(labels=[entry])), absent="negative")
    labels = content.labels
    expected = [(1, 1, PRESENT), (1, 2, PRESENT), (2, 1, ABSENT), (2, 2, ABSENT)]
    assert [(x.image_id, x.category_id, x.state) for x in labels] == expected
    assert [labels[i] for i in range(4)] == list(labels)
    assert labels[-1] == labels[3]
    assert list(labels[1:3]) == list(labels)[1:3]
    assert report.counts["labels"] == len(labels) == 4
    with pytest.raises(IndexError):
        labels[4]
    assert (labels[0].source, labels[2].source) == ("human", "import")


# Hazards -------------------------------------------------------------------------------------


def codes(path: Path) -> dict[str, int]:
    return FORMATS["coco"].validate(path).by_code()


def wrong(report: ValidationReport) -> set[str]:
    return {problem.code for problem in report.errors}


IMAGES = small()["images"]
HAZARDS: dict[str, tuple[Any, str, str]] = {
    "empty file": (b"", "empty-file", "file"),
    "blanks": (b" \n ", "empty-file", "file"),
    "only a BOM": (b"\xef\xbb\xbf", "empty-file", "file"),
    "not JSON": ("images:\n - 1", "not-json", "line 1, column 1"),
    "broken in line 2": ('{"images": [],\n "a" 1}', "not-json", "line 2, column 6"),
    "cut off": (json.dumps(small())[:-20], "not-json", "line 1, column"),
    "no comma": ('{"images": [{} {}]}', "not-json", "line 1, column 16"),
    "single quotes": ("{'images': []}", "not-json", "line 1, column 2"),
    "control character": ('{"a": "\x01"}', "not-json", "line 1, column 8"),
    "trailing garbage": (json.dumps(small()) + "\n}", "trailing-garbage", "line 2, column 1"),
    "two documents": ("{}{}", "trailing-garbage", "line 1, column 3"),
    "a list": ("[1]", "not-an-object", "file"),
    "text": ('"x"', "not-an-object", "file"),
    "a number": ("NaN", "not-an-object", "file"),
    "UTF-16": (json.dumps(small()).encode("utf-16"), "not-utf-8", "file"),
    "Latin-1": (b'{"a": "\xe4"}', "not-utf-8", "file"),
    "no images": ({"annotations": [], "categories": []}, "missing-key", "images"),
    "no categories": ({"images": IMAGES}, "missing-key", "categories"),
    "empty images": (small(images=[], annotations=[]), "no-images", "images"),
    "images are an object": (small(images={}), "wrong-type", "images"),
    "annotations are null": (small(annotations=None), "wrong-type", "annotations"),
    "an image is a number": (small(images=[*IMAGES, 3]), "wrong-type", "images[2]"),
    "an annotation is a list": (small(annotations=[[]]), "wrong-type", "annotations[0]"),
    "duplicate image id": (
        small(images=[*IMAGES, {"id": 2, "file_name": "3.jpg"}]),
        "duplicate-image-id",
        "images[2]",
    ),
    "duplicate category id": (
        small(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]),
        "duplicate-category-id",
        "categories[1]",
    ),
    "image id is missing": (small(images=[{"file_name": "x"}]), "bad-id", "images[0]"),
    "image id is a float": (small(images=[{"id": 1.5, "file_name": "x"}]), "bad-id", "images[0]"),
    "image id is a bool": (small(images=[{"id": True, "file_name": "x"}]), "bad-id", "images[0]"),
    "image id cannot be stored": (
        small(images=[{"id": "\ud800", "file_name": "x"}]),
        "bad-id",
        "images[0]",
    ),
    "category id is a list": (
        small(categories=[{"id": [1], "name": "x"}]),
        "bad-id",
        "categories[0]",
    ),
    "annotation names image 1.5": (
        small(annotations=[{"id": 3, "image_id": 1.5, "category_id": 1}]),
        "bad-id",
        "annotations[0]",
    ),
    "annotation id is a bool": (
        small(annotations=[{"id": False, "image_id": 1, "category_id": 1}]),
        "bad-id",
        "annotations[0]",
    ),
    "no file name": (small(images=[{"id": 1}]), "bad-file-name", "images[0]"),
    "file name is a number": (
        small(images=[{"id": 1, "file_name": 3}]),
        "bad-file-name",
        "images[0]",
    ),
    "file name is blank": (
        small(images=[{"id": 1, "file_name": " "}]),
        "bad-file-name",
        "images[0]",
    ),
    "category without a name": (small(categories=[{"id": 1}]), "bad-name", "categories[0]"),
    "nested lists": ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "too-deep", "a[0]"),
    "nested objects": ('{"a": ' + '{"a":' * 300 + "1" + "}" * 300 + "}", "too-deep", "a"),
    "unclosed nesting": ('{"images": ' + "[" * 100_000, "too-deep", "images[0]"),
    "endless number": ('{"a": ' + "9" * 5000 + "}", "number-too-long", "a"),
    "key twice": ('{"images": [], "images": []}', "duplicate-key", "line 1"),
}


@pytest.mark.parametrize("hazard", HAZARDS)
def test_an_error_refuses_the_file_and_names_the_place(
    put: Callable[[Any], Path], hazard: str
) -> None:
    content, code, where = HAZARDS[hazard]
    path = put(content)
    report = FORMATS["coco"].validate(path)
    assert not report.ok
    assert code in wrong(report)
    found = next(problem for problem in report.errors if problem.code == code)
    assert found.where.startswith(where)
    with pytest.raises(FormatError, match=r"file\.json cannot be read: .+") as caught:
        coco.read(path)
    assert caught.value.report == report


ODDITIES: dict[str, tuple[Any, dict[str, int], str]] = {
    "BOM": (b"\xef\xbb\xbf" + json.dumps(small()).encode(), {"bom": 1}, "file"),
    "no annotations": (
        {"images": IMAGES, "categories": [{"id": 1, "name": "x"}]},
        {"missing-key": 1},
        "annotations",
    ),
    "no category yet": (
        {"images": IMAGES, "categories": [], "annotations": []},
        {"no-categories": 1},
        "categories",
    ),
    "duplicate category name": (
        small(categories=[{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]),
        {"duplicate-category-name": 1},
        "categories[1]",
    ),
    "duplicate annotation id": (
        small(annotations=[{"id": 1, "image_id": 1, "category_id": 2}] * 2),
        {"duplicate-annotation-id": 1},
        "annotations[1]",
    ),
    "duplicate file name": (
        small(images=[{"id": 1, "file_name": "x"}, {"id": 2, "file_name": "x"}]),
        {"duplicate-file-name": 1},
        "images[1]",
    ),
    "annotation of no image": (
        small(annotations=[{"id": 1, "image_id": 7, "category_id": 2}]),
        {"missing-image": 1},
        "annotations[0]",
    ),
    "annotation of no category": (
        small(annotations=[{"id": 1, "image_id": 1}]),
        {"missing-category": 1},
        "annotations[0]",
    ),
    "text id for a number": (
        small(annotations=[{"id": 1, "image_id": "1", "category_id": 1}]),
        {"image-ids-of-another-type": 1},
        "annotations[0]",
    ),
    "absolute file name": (
        small(images=[{"id": 1, "file_name": "/x"}, *IMAGES[1:]]),
        {"unsafe-file-name": 1},
        "images[0]",
    ),
    "Windows drive": (
        small(images=[{"id": 1, "file_name": "C:\\x"}, *IMAGES[1:]]),
        {"unsafe-file-name": 1},
        "images[0]",
    ),
    "climbing file name": (
        small(images=[{"id": 1, "file_name": "a\\..\\x"}, *IMAGES[1:]]),
        {"unsafe-file-name": 1},
        "images[0]",
    ),
    "odd width": (
        small(images=[{"id": 1, "file_name": "x", "width": -3}, *IMAGES[1:]]),
        {"odd-size": 1},
        "images[0]",
    ),
    "number as name": (
        small(categories=[{"id": 1, "name": 7}, {"id": 2, "name": "x"}]),
        {"number-as-name": 1},
        "categories[0]",
    ),
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_a_warning_keeps_every_record(
    put: Callable[[Any], Path], tmp_path: Path, oddity: str
) -> None:
    document, expected, where = ODDITIES[oddity]
    content, report = coco.read(put(document))
    assert report.by_code() == expected
    assert report.problems[0].where == where
    assert report.problems[0].message
    if isinstance(document, bytes):
        document = json.loads(document.decode("utf-8-sig"))
    assert ordered(export(content, tmp_path / "o.json")) == ordered(document)


def test_annotations_pointing_nowhere_give_no_label(put: Callable[[Any], Path]) -> None:
    path = put(small(annotations=[{"id": 1, "image_id": 7, "category_id": 2}]))
    content, _ = coco.read(path)
    assert list(content.labels) == []
    assert (content.annotations[0].image_id, content.annotations[0].category_id) == (None, 2)


def test_numbers_that_are_none_become_null_and_are_named(
    put: Callable[[Any], Path], tmp_path: Path
) -> None:
    text = json.dumps(small()).replace('"category_id": 2', '"category_id": 2, "area": NaN')
    text = text.replace('"file_name": "2.jpg"', '"file_name": "2.jpg", "x": [-Infinity, 1e999]')
    content, report = coco.read(put(text))
    assert [(p.code, p.where) for p in report.problems] == [
        ("not-finite", "images[1]"),
        ("not-finite", "images[1]"),
        ("not-finite", "annotations[0]"),
    ]
    assert "NaN" in report.problems[2].message
    assert "id 1" in report.problems[2].message
    back = export(content, tmp_path / "o.json")
    assert back["annotations"][0]["area"] is None
    assert back["images"][1]["x"] == [None, None]


def test_a_key_twice_in_a_record_is_named(put: Callable[[Any], Path]) -> None:
    text = json.dumps(small()).replace('"name": "dog"', '"name": "cow", "name": "dog"')
    content, report = coco.read(put(text))
    assert [(p.code, p.where) for p in report.problems] == [("duplicate-key", "categories[1]")]
    assert content.categories[1].name == "dog"


def test_large_integers_survive(put: Callable[[Any], Path], tmp_path: Path) -> None:
    huge = 10**40
    document = small(images=[{"id": huge, "file_name": "x", "width": huge}], annotations=[])
    content, report = coco.read(put(document))
    assert (content.images[0].source_id, content.images[0].width) == (huge, None)
    assert report.by_code() == {"odd-size": 1}
    assert export(content, tmp_path / "o.json") == document


def test_nesting_up_to_the_limit_is_read(put: Callable[[Any], Path], tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    document = small(info={}, x={"y": deep[0]})
    content, _ = coco.read(put(document))
    assert export(content, tmp_path / "o.json") == document
    assert codes(put(small(x={"y": [deep]}))) == {"too-deep": 1}


def test_all_problems_are_told_together_and_a_flood_is_counted(put: Callable[[Any], Path]) -> None:
    lost = [{"image_id": 99, "category_id": 2}] * (LIMIT_PER_CODE + 17)
    bad = [{"id": None, "file_name": ""}, {"id": 1, "file_name": "x"}]
    report = FORMATS["coco"].validate(put(small(images=bad, annotations=lost)))
    assert wrong(report) == {"bad-id", "bad-file-name"}
    assert report.by_code()["missing-image"] == LIMIT_PER_CODE + 1
    assert "17 more" in report.problems[-1].message
    assert "1,017 in all" in report.problems[-1].message


@pytest.mark.parametrize(("name", "code"), [("no.json", "missing-file"), (".", "not-a-file")])
def test_a_path_that_is_no_file(tmp_path: Path, name: str, code: str) -> None:
    assert codes(tmp_path / name) == {code: 1}
    with pytest.raises(FormatError):
        coco.read(tmp_path / name)


def test_reading_can_be_cancelled(put: Callable[[Any], Path]) -> None:
    def cancel(done: int, total: int, what: str) -> None:
        assert 0 < done <= total
        assert what == "reading annotations"
        raise JobCancelled("stop")

    path = put(small(annotations=[{"image_id": 1, "category_id": 1}] * 5000))
    with pytest.raises(JobCancelled):
        coco.read(path, progress=cancel)


# Fuzz ----------------------------------------------------------------------------------------

FRAGMENTS = [
    b"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"null",
    b"true",
    b"NaN",
    b"-",
    b"1e999",
    b"1.0",
    b"\x00",
    b"\xff",
    b'"\\ud800"',
    b"\\",
    b"[" * 2000,
    b'{"id":' * 500,
    b"9" * 4400,
    b'"id"',
    b"\n",
]


def mutate(content: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(content) + 1)
        end = min(len(content), start + chance.choice([0, 0, 1, 2, 8, 40]))
        content = content[:start] + chance.choice(FRAGMENTS) + content[end:]
    return content


def test_random_damage_gives_a_result_or_a_named_error(tmp_path: Path) -> None:
    chance, read = random.Random(0), 0
    originals = [path.read_bytes() for path in sorted(GOLDEN.glob("*.json"))]
    for _ in range(1500):
        (tmp_path / "in.json").write_bytes(mutate(chance.choice(originals), chance))
        try:
            content, _ = coco.read(tmp_path / "in.json")
            back = export(content, tmp_path / "out.json")
        except ClslError:
            assert not FORMATS["coco"].validate(tmp_path / "in.json").ok
        else:
            read += 1
            assert sorted(back) == sorted(content.header)
    assert 20 < read < 1480  # both outcomes were tried


structure = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.floats(-1, 2) | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "file_name", "name", "image_id", "category_id", "state"]), inner
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["images", "categories", "annotations", "labels"]), structure)
)
def test_any_json_gives_a_result_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({**small(), **document}))
    report = FORMATS["coco"].validate(path)
    if report.ok:
        coco.read(path, absent="negative")


# Writing -------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    content, _ = coco.read(GOLDEN / "small.json")
    output = tmp_path / "out.json"
    output.write_text("old")
    label = LabelRecord(9, 0, PRESENT, "human")

    def broken() -> Any:
        yield label
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        coco.write(content, broken(), output, summary={})
    for summary in ({"x": object()}, {"x": float("nan")}):
        with pytest.raises(InputError, match="JSON"):
            coco.write(content, [label], output, summary=summary)
    with pytest.raises(InputError, match="image 77"):
        coco.write(content, [LabelRecord(77, 0, PRESENT)], output, summary={})
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    content, _ = coco.read(GOLDEN / "small.json")
    for output in (tmp_path / "no" / "out.json", tmp_path):
        with pytest.raises(InputError, match="cannot be written"):
            coco.write(content, [], output, summary={})
    assert list(tmp_path.iterdir()) == []


def test_a_set_rebuilt_without_a_header_is_written_whole(tmp_path: Path) -> None:
    content, _ = coco.read(GOLDEN / "small.json")
    bare = AnnotationSet("coco", {}, content.images, content.categories, content.annotations, [])
    assert sorted(export(bare, tmp_path / "o.json")) == ["annotations", "categories", "images"]


def test_formats_are_found_by_name() -> None:
    assert get_format("coco") is FORMATS["coco"]
    with pytest.raises(NotFoundError, match="coco"):
        get_format("tfrecord")
