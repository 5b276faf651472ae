"""YOLO in and out: as Ultralytics and as Roboflow lay it out, with boxes, outlines, and nothing."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.errors import FormatError
from clsl_core.formats import FORMATS, read, write
from clsl_core.formats.conversion import pixels_of
from clsl_core.formats.detect import detect
from clsl_core.formats.read_options import ReadOptions, read_with
from clsl_core.formats.yolo.lines import box_line, outline_line, parse_line
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    LabelRecord,
    LabelState,
)

PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT
YAML = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: dog\n  1: cat\n"


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


FILES = {
    "data.yaml": YAML,
    "labels/train/a.txt": "0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.2 0.2\n",
    "labels/train/sub/b.txt": "1 0.1 0.1 0.5 0.1 0.5 0.9\n",
    "labels/val/c.txt": "",
}


def present(content: AnnotationSet) -> dict[str, set[str]]:
    names = {category.source_id: category.name for category in content.categories}
    files = {image.source_id: image.file_name for image in content.images}
    found: dict[str, set[str]] = {name: set() for name in files.values()}
    for label in content.labels:
        if label.state is PRESENT:
            found[files[label.image_id]].add(names[label.category_id])
    return found


def below(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_labels_without_pictures_are_read_and_come_back(tmp_path: Path) -> None:
    source = put(tmp_path / "in", FILES)
    assert detect(source).format == detect(source / "data.yaml").format == "yolo"
    content, report = read(source)
    assert not report.problems
    assert present(content) == {
        "images/train/a.jpg": {"dog", "cat"},
        "images/train/sub/b.jpg": {"cat"},
        "images/val/c.jpg": set(),
    }
    assert [image.record["split"] for image in content.images] == ["train", "train", "val"]
    shares = [x.record["share"] for x in content.annotations]
    assert shares[0] == pytest.approx([0.4, 0.3, 0.2, 0.4])
    assert shares[2] == pytest.approx([0.1, 0.1, 0.4, 0.8])
    write(content, tmp_path / "out")
    assert below(tmp_path / "out") == FILES


def test_pictures_name_the_images_and_those_without_labels_are_kept(tmp_path: Path) -> None:
    pictures = {"images/train/a.png": "", "images/train/z.webp": ""}
    source = put(tmp_path / "in", {**FILES, **pictures})
    content, _ = read(source)
    assert "images/train/a.png" in present(content)
    assert present(content)["images/train/z.webp"] == set()
    write(content, tmp_path / "out")
    again, _ = read(tmp_path / "out")
    assert present(again) == present(content)
    assert not (tmp_path / "out/labels/train/z.txt").exists()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("train: images\nnames: [dog, cat]\n", ["dog", "cat"]),
        ("train: ../images\nnames: {0: dog, 1: cat}\n", ["dog", "cat"]),
        ("path: /else/where\ntrain: /else/where/images\nnames:\n- dog\n- cat\n", ["dog", "cat"]),
        ("train: [images]\nnc: 2\n", ["class 0", "class 1"]),
        ("train: list.txt\nnames: {'0': dog, 5: cat}\n", ["dog", "cat"]),
    ],
)
def test_what_data_yaml_may_say(tmp_path: Path, text: str, names: list[str]) -> None:
    files = {"data.yaml": text, "labels/a.txt": "0 .5 .5 .1 .1\n", "list.txt": "./images/a.jpg\n"}
    content, _ = read(put(tmp_path / "in", files), "yolo")
    assert [category.name for category in content.categories] == names
    assert present(content) == {"images/a.jpg": {names[0]}}
    write(content, tmp_path / "out")
    assert present(read(tmp_path / "out", "yolo")[0]) == present(content)


def test_the_layout_of_roboflow(tmp_path: Path) -> None:
    files = {
        "data.yaml": "train: ../train/images\nval: ../valid/images\nnames: [dog, cat]\nnc: 2\n",
        "train/images/a.jpg": "",
        "train/labels/a.txt": "0 .5 .5 .1 .1\n",
        "valid/images/b.jpg": "",
        "valid/labels/b.txt": "1 .5 .5 .1 .1\n",
    }
    content, _ = read(put(tmp_path, files))
    assert present(content) == {"train/images/a.jpg": {"dog"}, "valid/images/b.jpg": {"cat"}}
    assert [image.record["split"] for image in content.images] == ["train", "val"]


def test_an_empty_file_says_absent_only_where_that_is_declared(tmp_path: Path) -> None:
    source = put(tmp_path, FILES)
    plain, _ = read(source)
    assert not [label for label in plain.labels if label.state is ABSENT]
    content, _ = read_with(source, "yolo", ReadOptions(empty="absent"))
    absent = {(x.image_id, x.category_id) for x in content.labels if x.state is ABSENT}
    assert absent == {("images/val/c", 0), ("images/val/c", 1)}


def test_lines_with_a_score_are_proposals(tmp_path: Path) -> None:
    files = {"data.yaml": YAML, "labels/train/a.txt": "0 .5 .5 .1 .1 0.75\n1 .5 .5 .1 .1\n"}
    content, _ = read(put(tmp_path, files))
    assert present(content) == {"images/train/a.jpg": {"cat"}}
    assert [(x.category_id, x.score) for x in content.proposals] == [(0, 0.75)]


def test_verdicts_reach_the_files(tmp_path: Path) -> None:
    content, _ = read(put(tmp_path / "in", FILES))
    decided = [
        LabelRecord("images/train/a", 0, ABSENT, "human"),
        LabelRecord("images/val/c", 1, PRESENT, "human"),
    ]
    write(content, tmp_path / "out", decided)
    changed = {**FILES, "labels/train/a.txt": "1 0.1 0.1 0.2 0.2\n"}
    assert below(tmp_path / "out") == changed
    again, _ = read(tmp_path / "out")
    assert present(again)["images/val/c.jpg"] == {"cat"}
    assert ABSENT in {x.state for x in again.labels}


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"data.yaml": "names: [\n"}, "not-yaml"),
        ({"data.yaml": "- a\n"}, "not-yaml"),
        ({"data.yaml": "train: images\n"}, "no-names"),
        ({"data.yaml": "names: !!python/object/apply:os.getcwd []\n"}, "not-yaml"),
        ({"data.yaml": YAML, "labels/train/a.txt": "0 .5 .5 .1\n"}, "bad-line"),
        ({"data.yaml": YAML, "labels/train/a.txt": "0 nan .5 .1 .1\n"}, "bad-line"),
        ({"data.yaml": "train: images\nnames: [dog]\n"}, "no-images"),
    ],
)
def test_hazards(tmp_path: Path, files: dict[str, str], code: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(put(tmp_path, files), "yolo")
    assert caught.value.report is not None
    assert code in [problem.code for problem in caught.value.report.errors]


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    put(tmp_path / "other", {"labels/secret.txt": "0 .5 .5 .1 .1\n", "images/secret.jpg": ""})
    inside = put(tmp_path / "in", FILES)
    (inside / "data.yaml").write_text(YAML.replace("images/val", "../other/images"))
    (inside / "labels/train/link.txt").symlink_to(tmp_path / "other/labels/secret.txt")
    content, _ = read(inside)
    assert not [image for image in content.images if "secret" in image.file_name]
    assert present(content).get("images/train/link.jpg") == set()


numbers = st.floats(0.01, 0.99)
outlines = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=5).map(
    lambda points: [x for point in points for x in point]
)


@settings(deadline=None)
@given(number=st.integers(0, 99), box=st.tuples(numbers, numbers, numbers, numbers))
def test_a_box_comes_back_from_its_line(number: int, box: tuple[float, ...]) -> None:
    line = parse_line(box_line(number, box))
    assert (line.number, line.outline, line.score) == (number, None, None)
    assert line.share == pytest.approx(box, abs=1e-7)


@settings(deadline=None)
@given(number=st.integers(0, 99), outline=outlines)
def test_an_outline_comes_back_from_its_line(number: int, outline: list[float]) -> None:
    line = parse_line(outline_line(number, outline))
    assert line.outline == pytest.approx(outline, abs=1e-7)


SIZED = ImageRecord(0, "x.jpg", 64, 48, {})
drawn = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 30), st.integers(1, 9)),
    max_size=8,
)


@settings(deadline=None)
@given(boxes=drawn, sizes=st.lists(st.booleans(), min_size=4, max_size=4))
def test_what_is_drawn_in_another_format_comes_back(
    boxes: list[tuple[int, int, int, int]],
    sizes: list[bool],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    images = [
        ImageRecord(n, f"{n % 2}/{n}.jpg", 64 if known else None, 48 if known else None, {"id": n})
        for n, known in enumerate(sizes)
    ]
    categories = [CategoryRecord(n, name, None, {"id": n}) for n, name in enumerate("abc")]
    annotations = [
        AnnotationRecord(n, image, category, {"bbox": [x, x, side, side]})
        for n, (image, category, x, side) in enumerate(boxes)
    ]
    labels = [LabelRecord(*pair, PRESENT) for pair in {(b[0], b[1]) for b in boxes}]
    content = AnnotationSet("made", {}, images, categories, annotations, labels)
    folder = tmp_path_factory.mktemp("drawn")
    FORMATS["yolo"].write(content, [], folder / "out", summary={})
    again, report = read(folder / "out")
    assert report.ok
    assert present(again) == present(content)
    files = {image.source_id: image.file_name for image in again.images}
    found = sorted(
        (files[x.image_id], x.category_id, *(map(round, pixels_of(x.record, SIZED) or ())))
        for x in again.annotations
    )
    wanted = sorted(
        (images[image].file_name, category, x, x, side, side)
        for image, category, x, side in boxes
        if sizes[image]
    )
    assert found == wanted
    document = yaml.safe_load((folder / "out/data.yaml").read_text())
    assert document["names"] == {0: "a", 1: "b", 2: "c"}
    assert {"train", "val"} <= document.keys()
    before = json.loads((folder / "out/clsl_files.json").read_text())
    assert sorted(before.values()) == sorted(image.file_name for image in images)
