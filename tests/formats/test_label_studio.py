"""Projects of Label Studio: its control names, its shapes, and how it names pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.formats import read, write
from clsl_core.formats.read_options import ReadOptions, read_with
from clsl_core.types import AnnotationSet, LabelRecord, LabelState

PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT
SHAPES = {
    "polygonlabels": {"points": [[10, 20], [30, 20], [20, 60]]},
    "brushlabels": {"format": "rle", "rle": [0, 1]},
    "keypointlabels": {"x": 10, "y": 20, "width": 0.5},
    "ellipselabels": {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20},
    "rectanglelabels": {"x": 10, "y": 20, "width": 30, "height": 40},
}


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    def write_(tasks: list[Any]) -> Path:
        (tmp_path / "in.json").write_text(json.dumps(tasks))
        return tmp_path / "in.json"

    return write_


def result(kind: str, names: list[str], control: str = "objects") -> dict[str, Any]:
    value = {**SHAPES.get(kind, {}), kind: names}
    sides = {"original_width": 200, "original_height": 100}
    return {"from_name": control, "to_name": "photo", "type": kind, "value": value, **sides}


def task(number: int, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    entry = {"id": 100 + number, "completed_by": 1, "result": list(results)}
    return {"id": number, "data": {"image": f"{number}.jpg"}, "annotations": [entry], **more}


def present(content: AnnotationSet) -> dict[Any, set[str]]:
    found: dict[Any, set[str]] = {image.source_id: set() for image in content.images}
    for label in content.labels:
        if label.state is PRESENT:
            found[label.image_id].add(str(label.category_id))
    return found


def test_verdicts_reach_label_studio_under_its_own_names(
    put: Callable[..., Path], tmp_path: Path
) -> None:
    source = put([task(1, result("choices", ["dog"])), task(2, result("choices", ["cat"]))])
    content, _ = read(source)
    decided = [LabelRecord(1, "cat", PRESENT, "human"), LabelRecord(2, "cat", ABSENT, "human")]
    write(content, tmp_path / "out.json", decided)
    one, two = json.loads((tmp_path / "out.json").read_text())
    assert [entry["result"] for entry in one["annotations"]] == [
        [result("choices", ["dog", "cat"])]
    ]
    assert [entry["result"] for entry in two["annotations"]] == [[]]
    assert two["meta"]["clsl_before"] == task(2, result("choices", ["cat"]))["annotations"]
    again, _ = read(tmp_path / "out.json")
    assert present(again) == {1: {"dog", "cat"}, 2: set()}
    write(again, tmp_path / "twice.json", decided)
    assert (tmp_path / "twice.json").read_bytes() == (tmp_path / "out.json").read_bytes()


@pytest.mark.parametrize("kind", SHAPES)
def test_every_shape_with_names_says_present(put: Callable[..., Path], kind: str) -> None:
    content, report = read(put([task(1, result(kind, ["dog"]))]))
    assert present(content) == {1: {"dog"}}
    assert not report.problems


def test_shapes_give_boxes_in_pixels(put: Callable[..., Path]) -> None:
    content, _ = read(put([task(1, *(result(kind, [kind]) for kind in SHAPES))]))
    boxes = {x.category_id: x.record["bbox"] for x in content.annotations}
    assert boxes == {
        "polygonlabels": [20, 20, 40, 40],
        "ellipselabels": [80, 30, 40, 40],
        "rectanglelabels": [20, 20, 60, 40],
    }


def test_what_is_not_understood_is_named_once(put: Callable[..., Path]) -> None:
    odd = {"type": "taxonomy", "value": {"taxonomy": [["a", "b"]]}}
    content, report = read(put([task(n, result("choices", ["dog"]), odd) for n in (1, 2)]))
    (told,) = report.problems
    assert (told.code, "taxonomy (2)" in told.message) == ("not-understood", True)
    assert present(content) == {1: {"dog"}, 2: {"dog"}}


def test_a_rejected_shape_goes_and_is_kept_beside(put: Callable[..., Path], tmp_path: Path) -> None:
    both = task(1, result("rectanglelabels", ["dog"]), result("choices", ["cat"]))
    content, _ = read(put([both]))
    write(content, tmp_path / "out.json", [LabelRecord(1, "dog", ABSENT, "human")])
    (changed,) = json.loads((tmp_path / "out.json").read_text())
    assert changed["annotations"][0]["result"] == [result("choices", ["cat"])]
    assert changed["meta"]["clsl_before"] == both["annotations"]


def test_several_annotators_become_one_annotation(put: Callable[..., Path], tmp_path: Path) -> None:
    entries = [{"id": n, "result": [result("choices", [name])]} for n, name in enumerate("ab")]
    cancelled = {"id": 9, "was_cancelled": True, "result": [result("choices", ["c"])]}
    source = put([{**task(1), "annotations": [cancelled, *entries]}])
    content, _ = read(source)
    assert present(content) == {1: {"a", "b"}}
    write(content, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(source.read_text())
    write(content, tmp_path / "out.json", [LabelRecord(1, "a", ABSENT, "human")])
    (changed,) = json.loads((tmp_path / "out.json").read_text())
    assert changed["annotations"][0] == cancelled
    assert [x["result"] for x in changed["annotations"][1:]] == [[result("choices", ["b"])]]
    assert present(read(tmp_path / "out.json")[0]) == {1: {"b"}}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("/data/upload/3/1a2b3c4d-street_1.jpg", "upload/3/1a2b3c4d-street_1.jpg"),
        ("s3://bucket/2021/train/0001.jpg", "2021/train/0001.jpg"),
        ("azure-blob://acc/cont/a_1.jpg", "cont/a_1.jpg"),
        ("gs://bucket/bk/b#1.jpg", "bk/b#1.jpg"),
        ("/data/local-files/?d=loc/c+1.jpg", "loc/c+1.jpg"),
        ("http://here:8080/data/local-files/?d=loc/c%201.jpg", "loc/c 1.jpg"),
        ("http://here:8080/data/upload/3/a.jpg", "upload/3/a.jpg"),
    ],
)
def test_pictures_keep_the_path_below_their_store(
    put: Callable[..., Path], value: str, name: str
) -> None:
    content, _ = read(put([{"id": 1, "data": {"image": value}}]), "label-studio")
    assert content.images[0].file_name == name


def test_two_tasks_never_share_a_picture_in_silence(put: Callable[..., Path]) -> None:
    tasks = [{"id": n, "data": {"image": f"s3://{store}/a.jpg"}} for n, store in enumerate("xy")]
    _, report = read(put(tasks), "label-studio")
    assert report.by_code()["duplicate-file-name"] == 1
    apart = [{"id": n, "data": {"image": f"s3://x/{year}/a.jpg"}} for n, year in enumerate("12")]
    _, report = read(put(apart), "label-studio")
    assert "duplicate-file-name" not in report.by_code()


def test_the_key_of_the_picture_is_found_or_named(put: Callable[..., Path]) -> None:
    content, _ = read(put([{"id": 1, "data": {"photo": "d.jpg", "note": "a dog"}}]))
    assert content.images[0].file_name == "d.jpg"
    two = put([{"id": 1, "data": {"left": "l.jpg", "right": "r.jpg"}}])
    report = read_with(two, "label-studio", ReadOptions(picture_key="right"))[0]
    assert report.images[0].file_name == "r.jpg"
    with pytest.raises(Exception, match="name one of: left, right"):
        read(two)


NAMES = ["dog", "cat", "cow"]
ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["choices", "rectanglelabels", "brushlabels"]), st.sampled_from(NAMES)
    ),
    max_size=4,
)


@settings(deadline=None)
@given(
    tasks=st.lists(st.lists(ENTRIES, max_size=3), min_size=1, max_size=3),
    decided=st.dictionaries(
        st.tuples(st.integers(0, 2), st.sampled_from(NAMES)), st.sampled_from([PRESENT, ABSENT])
    ),
)
def test_any_project_says_after_the_export_what_was_decided(
    tasks: list[list[list[tuple[str, str]]]],
    decided: dict[tuple[int, str], LabelState],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("project")
    made = [
        {
            **task(number),
            "annotations": [
                {"id": index, "result": [result(kind, [name]) for kind, name in entry]}
                for index, entry in enumerate(entries)
            ],
        }
        for number, entries in enumerate(tasks)
    ]
    made.append(task(99, *(result("choices", [name]) for name in NAMES)))
    (folder / "in.json").write_text(json.dumps(made))
    content, _ = read(folder / "in.json")
    new = [LabelRecord(n, c, s, "human") for (n, c), s in decided.items() if n < len(tasks)]
    write(content, folder / "out.json", new)
    again, _ = read(folder / "out.json")
    wanted = present(content)
    for label in new:
        names = wanted[label.image_id]
        (names.add if label.state is PRESENT else names.discard)(str(label.category_id))
    assert present(again) == wanted
    out = json.loads((folder / "out.json").read_text())
    for one in (out[label.image_id] for label in new):  # without what stands in meta
        shown = {
            name
            for entry in one["annotations"]
            for part in entry["result"]
            for name in part["value"][part["type"]]
        }
        assert shown == wanted[one["id"]]
