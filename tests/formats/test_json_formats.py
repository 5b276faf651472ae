"""FiftyOne, Label Studio, Datumaro, imagefolder: nothing changes unasked, hazards have a place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clsl_core.formats import FORMATS, get_format
from clsl_core.formats.coco import coco
from clsl_core.formats.tables import imagefolder
from clsl_core.formats.tools import datumaro, fiftyone, label_studio
from clsl_core.types import AnnotationSet, LabelRecord, LabelState, ValidationReport

PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT

FIFTYONE = {
    "classes": ["cat", "dog"],
    "labels": {
        "one": ["cat", 1],
        "two": {"label": "dog", "confidence": 0.5, "attributes": {}},
        "three": None,
    },
    "info": {"x": 1},
}
TASKS = [
    {
        "id": 7,
        "data": {"image": "/data/upload/1/a.jpg", "text": "kept"},
        "annotations": [
            {"completed_by": {"email": "ada@x"}, "created_at": "2025-01-02T03:04:05Z",
             "result": [{"type": "choices", "from_name": "c", "to_name": "image",
                         "value": {"choices": ["cat", "dog"]}}]},
            {"was_cancelled": True,
             "result": [{"type": "choices", "value": {"choices": ["never"]}}]},
        ],
        "predictions": [{"model_version": "m1", "score": 0.25,
                         "result": [{"type": "choices", "value": {"choices": ["bird"]}}]}],
        "meta": {"mine": 1},
    },
    {"id": 8, "data": {"image": "/data/local-files/?d=b/c.jpg"}, "annotations": []},
]  # fmt: skip
DATUMARO = {
    "dm_format_version": "1.0",
    "info": {"mine": 1},
    "categories": {
        "label": {"labels": [{"name": "cat", "parent": ""}, {"name": "dog", "parent": ""}]}
    },
    "items": [
        {"id": "a/1", "image": {"path": "a/1.png", "size": [30, 40]}, "attr": {"k": 1},
         "annotations": [
             {"id": 0, "type": "label", "label_id": 0, "attributes": {}, "group": 0},
             {"id": 1, "type": "bbox", "label_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0]},
             {"id": 2, "type": "caption", "caption": "x"}]},
        {"id": "2", "annotations": []},
    ],
}  # fmt: skip
LINES = (
    '{"file_name": "1.png", "labels": ["cat", "dog"], "text": "grüße"}\n'
    '{"labels": [], "file_name": "2.png", "split": "val"}\n'
    '{"file_name": "3.png", "labels": "bird"}\n'
)
CASES = {
    "fiftyone": (json.dumps(FIFTYONE), "labels.json"),
    "label-studio": (json.dumps(TASKS), "tasks.json"),
    "datumaro": (json.dumps(DATUMARO), "labels_train.json"),
    "imagefolder": (LINES, "metadata.jsonl"),
}
EXPECTED: dict[str, dict[Any, LabelState]] = {
    "fiftyone": {("one", "cat"): PRESENT, ("one", "dog"): PRESENT},
    "label-studio": {(7, "cat"): PRESENT, (7, "dog"): PRESENT},
    "datumaro": {("a/1", 0): PRESENT, ("a/1", 1): PRESENT},
    "imagefolder": {
        ("1.png", "cat"): PRESENT,
        ("1.png", "dog"): PRESENT,
        ("3.png", "bird"): PRESENT,
    },
}


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    def put(content: Any, name: str = "in.json") -> Path:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return put


def states(content: AnnotationSet) -> dict[Any, LabelState]:
    return {(label.image_id, label.category_id): label.state for label in content.labels}


def problems(report: ValidationReport) -> list[tuple[str, str]]:
    return [(p.where, p.code) for p in report.problems]


def parsed(path: Path) -> Any:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", CASES)
def test_what_is_read_and_that_it_comes_back(
    put: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    source, own = put(*CASES[name]), get_format(name)
    content, report = own.read(source)
    assert report.ok
    assert states(content) == EXPECTED[name]
    output = tmp_path / f"o{source.suffix}"
    own.write(content, [], output, summary={})
    assert json.dumps(parsed(output)) == json.dumps(parsed(source))
    exhaustive, _ = own.read(source, absent="negative")
    assert len(exhaustive.labels) == len(content.images) * len(content.categories)


@pytest.mark.parametrize("name", CASES)
def test_decisions_come_back_and_other_records_stay(
    put: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    source, own = put(*CASES[name]), get_format(name)
    content, _ = own.read(source)
    first, *_, last = content.images
    cat, dog = (category.source_id for category in content.categories[:2])
    labels = [
        LabelRecord(first.source_id, cat, ABSENT, "human", "3", 0.125, "ada", "2025-01-02"),
        LabelRecord(last.source_id, dog, PRESENT, "human"),
    ]
    output = tmp_path / f"o{source.suffix}"
    own.write(content, labels, output, summary={"labels": 2})
    again, report = own.read(output)
    assert report.ok
    assert states(again) == EXPECTED[name] | {(x.image_id, x.category_id): x.state for x in labels}
    assert {label for label in again.labels if label.source == "human"} == set(labels)
    coco.write(again, [], tmp_path / "coco.json", summary={})
    assert len(coco.read(tmp_path / "coco.json")[0].labels) == len(again.labels)


# FiftyOne ------------------------------------------------------------------------------------


def test_fiftyone_finds_the_endings_in_data(put: Callable[..., Path], tmp_path: Path) -> None:
    put(FIFTYONE, "labels.json")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.png").write_text("")
    content, report = fiftyone.read(tmp_path)
    assert [i.file_name for i in content.images] == ["one.png", "two.jpg", "three.jpg"]
    assert problems(report) == [("labels", "no-data-file")]
    assert [label.score for label in content.labels] == [None, None]
    assert [label.score for label in content.proposals] == [0.5]


def test_fiftyone_ids_have_no_ending(put: Callable[..., Path], tmp_path: Path) -> None:
    document = {
        "images": [{"id": i, "file_name": n} for i, n in enumerate(["x/a.png", "b.jpg", "b.png"])],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [],
    }
    content, _ = coco.read(put(document))
    fiftyone.write(content, [], tmp_path / "o.json", summary={})
    assert list(parsed(tmp_path / "o.json")["labels"]) == ["x/a", "b.jpg", "b.png"]
    again, _ = fiftyone.read(tmp_path / "o.json")
    assert [i.file_name for i in again.images] == ["x/a.png", "b.jpg", "b.png"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"labels": []}, [("labels", "wrong-type")]),
        ({"labels": {}, "classes": {}}, [("classes", "wrong-type")]),
        ({"labels": {"x": []}, "classes": ["a", "a"]}, [("classes[1]", "bad-name")]),
        ({"labels": {"x": 2}, "classes": ["a"]}, [("labels['x']", "bad-label")]),
        ({"labels": {"x": [["a"]]}, "classes": ["a"]}, [("labels['x']", "bad-label")]),
        ({"labels": {"../x": "a"}}, [("labels['../x']", "unsafe-file-name")]),
        ({"labels": {}}, [("file", "no-images")]),
        ({"labels": {"x": "a"}, "clsl_provenance": [3]},
         [("clsl_provenance[0]", "provenance-ignored")]),
    ],
)  # fmt: skip
def test_hazards_of_fiftyone(
    put: Callable[..., Path], document: Any, expected: list[tuple[str, str]]
) -> None:
    found = problems(FORMATS["fiftyone"].validate(put(document)))
    assert [p for p in found if p[1] != "no-data-file"] == expected


# Label Studio --------------------------------------------------------------------------------


def test_label_studio_keeps_people_and_machines_apart(put: Callable[..., Path]) -> None:
    content, report = label_studio.read(put(TASKS))
    assert report.problems == []
    assert {x.annotator for x in content.labels} == {"ada@x"}
    (proposal,) = content.proposals
    assert (proposal.category_id, proposal.model_run, proposal.score) == ("bird", "m1", 0.25)
    assert [image.file_name for image in content.images] == ["upload/1/a.jpg", "b/c.jpg"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/x/y/z%20a.jpg?q=1", "x/y/z a.jpg"),
        ("s3://bucket/y/z#a.jpg", "y/z#a.jpg"),
        ("folder/z.jpg", "folder/z.jpg"),
    ],
)
def test_label_studio_names_pictures(put: Callable[..., Path], url: str, name: str) -> None:
    content, _ = label_studio.read(put([{"id": 1, "data": {"image": url}}]))
    assert content.images[0].file_name == name


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ({}, [("file", "not-a-list")]),
        ([3], [("[0]", "not-a-task")]),
        ([{"image": "x", "choice": "cat"}], [("[0]", "not-a-task")]),
        ([{"data": {}}], [("[0].data", "no-picture")]),
        ([{"data": {"image": "http://[bad"}}], []),
        ([{"id": 1, "data": {"image": "x"}}] * 2, [("[1]", "duplicate-image-id")]),
        ([{"data": {"image": "x"}, "annotations": 3}], [("[0]", "wrong-type")]),
        ([{"data": {"image": "x"}, "annotations": [3]}], [("[0].annotations[0]", "wrong-type")]),
        ([{"data": {"image": "x"}, "annotations": [{}]}], [("[0].annotations[0]", "bad-result")]),
        ([{"data": {"image": "x"}, "annotations": [{"result": [
            {"type": "choices", "value": {"choices": "cat"}}]}]}],
         [("[0].annotations[0].result[0]", "bad-result")]),
        ([{"data": {"image": "../x"}}], [("[0].data.image", "unsafe-file-name")]),
        ([], [("file", "no-images")]),
    ],
)  # fmt: skip
def test_hazards_of_label_studio(
    put: Callable[..., Path], tasks: Any, expected: list[tuple[str, str]]
) -> None:
    found = problems(FORMATS["label-studio"].validate(put(tasks)))
    assert [p for p in found if p[1] != "no-categories"] == expected


# Datumaro ------------------------------------------------------------------------------------


def test_datumaro_sizes_and_boxes(put: Callable[..., Path], tmp_path: Path) -> None:
    content, report = datumaro.read(put(DATUMARO))
    assert report.problems == []
    shown = [(i.file_name, i.width, i.height) for i in content.images]
    assert shown == [("a/1.png", 40, 30), ("2.jpg", None, None)]
    coco.write(content, [], tmp_path / "c.json", summary={})
    (annotation,) = coco.read(tmp_path / "c.json")[0].annotations
    assert annotation.record["bbox"] == [1.0, 2.0, 3.0, 4.0]
    back, _ = coco.read(tmp_path / "c.json")
    datumaro.write(back, [], tmp_path / "d.json", summary={})
    assert states(datumaro.read(tmp_path / "d.json")[0]) == {("a/1.png", 0): PRESENT,
                                                             ("a/1.png", 1): PRESENT}  # fmt: skip


def change(**changes: Any) -> Any:
    return {**DATUMARO, **changes}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (change(items={}), [("items", "wrong-type")]),
        (change(categories=[], items=[{"id": "1"}]), [("categories.label.labels", "wrong-type")]),
        (change(items=[3]), [("items[0]", "wrong-type")]),
        (change(items=[{"id": 1}]), [("items[0]", "bad-id")]),
        (change(items=[{"id": "1"}, {"id": "1"}]), [("items[1]", "duplicate-image-id")]),
        (change(items=[{"id": "1", "annotations": {}}]), [("items[0]", "wrong-type")]),
        (change(items=[{"id": "1", "annotations": [3]}]), [("items[0].annotations[0]",
                                                            "wrong-type")]),
        (change(items=[{"id": "1", "annotations": [{"label_id": 9}]}]),
         [("items[0].annotations[0]", "missing-category")]),
        (change(items=[{"id": "1", "annotations": [{"label_id": True}]}]),
         [("items[0].annotations[0]", "missing-category")]),
        (change(items=[{"id": "1", "image": {"path": "/etc/x"}}]),
         [("items[0]", "unsafe-file-name")]),
        (change(items=[]), [("file", "no-images")]),
    ],
)  # fmt: skip
def test_hazards_of_datumaro(
    put: Callable[..., Path], document: Any, expected: list[tuple[str, str]]
) -> None:
    assert problems(FORMATS["datumaro"].validate(put(document))) == expected


# imagefolder ---------------------------------------------------------------------------------


def test_imagefolder_as_csv(put: Callable[..., Path], tmp_path: Path) -> None:
    text = 'file_name,labels,text\n1.png,"[\'cat\', ""dog\'s""]",x\n2.png,bird,\n3.png,,\n'
    put(text, "metadata.csv")
    content, report = imagefolder.read(tmp_path)
    assert report.problems == []
    assert [name for _, name in states(content)] == ["cat", "dog's", "bird"]
    imagefolder.write(content, [], tmp_path / "o.csv", summary={})
    assert (tmp_path / "o.csv").read_text() == text
    label = LabelRecord("3.png", "bird", PRESENT, "human")
    imagefolder.write(content, [label], tmp_path / "o.csv", summary={})
    again, _ = imagefolder.read(tmp_path / "o.csv")
    assert states(again) == states(content) | {("3.png", "bird"): PRESENT}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"file_name": "x"}\n', [("file", "no-label-column"), ("file", "no-categories")]),
        ('{"file_name": "x", "label": 3}\n', [("line 1", "bad-list")]),
        ('{"file_name": "x", "labels": [1]}\n', [("line 1", "bad-list")]),
        ('{"labels": ["a"]}\n', [("line 1", "bad-name")]),
        ('{"file_name": "x", "labels": ["a"]}\n' * 2, [("line 2", "duplicate-image")]),
        ('{"file_name": ["x"], "labels": ["a"]}\n', [("line 1", "bad-name")]),
        ('\n{"file_name"\n', [("line 2, column 13", "not-json")]),
        ('\n{} {}\n', [("line 2, column 4", "trailing-garbage")]),
        ('[1]\n', [("file", "no-label-column"), ("line 1", "wrong-type")]),
        ('{"file_name": "x", "labels": "[a"}', [("line 1", "bad-list")]),
        ('{"file_name": "C:/x", "labels": "a"}', [("line 1", "unsafe-file-name")]),
        ("", [("file", "empty-file")]),
    ],
)  # fmt: skip
def test_hazards_of_imagefolder(
    put: Callable[..., Path], text: str, expected: list[tuple[str, str]]
) -> None:
    assert problems(FORMATS["imagefolder"].validate(put(text, "metadata.jsonl"))) == expected


def test_an_empty_folder_is_no_imagefolder(tmp_path: Path) -> None:
    assert problems(FORMATS["imagefolder"].validate(tmp_path)) == [("file", "missing-file")]
