"""CVAT for images: byte for byte where nothing changes, tags for what is new, cuts for the rest."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.errors import FormatError
from clsl_core.formats import FORMATS, read, write
from clsl_core.formats.detect import detect
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    LabelRecord,
    LabelState,
)

PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT
SOURCE = """<?xml version="1.0" encoding="utf-8"?>
<!-- kept -->
<annotations>
  <version>1.1</version>
  <meta><task><labels>
    <label><name>dog</name><color>#fff</color></label><label><name>cat</name></label>
    <label><name>Küche &amp; Bad</name></label>
  </labels></task><dumped>2024-01-01</dumped></meta>
  <image id="0" name="cam1/a.jpg" subset="train" width="200" height="100">
    <box label="dog" source="manual" occluded="0" xtl="10.0" ytl="20" xbr="30" ybr="60" z_order="0">
      <attribute name="age">old</attribute>
    </box>
    <polygon label="cat" source="manual" points="0,0;10,0;10,20"/>
    <tag label="Küche &amp; Bad" source="manual"></tag>
    <box label="cat" source="auto" xtl="1" ytl="1" xbr="2" ybr="2"></box>
  </image>
  <image id="1" name="b.jpg" width="200" height="100"/>
  <image id="2" name="c.jpg" width="200" height="100">
    <mask label="dog" source="manual" rle="1, 2" left="0" top="0" width="2" height="2"/><box
      label="dog" source="auto" xtl="1" ytl="1" xbr="2" ybr="2"/>
  </image>
</annotations>
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in.xml").write_text(SOURCE)
    return tmp_path / "in.xml"


def present(content: AnnotationSet) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {image.file_name: set() for image in content.images}
    names = {category.source_id: category.name for category in content.categories}
    files = {image.source_id: image.file_name for image in content.images}
    for label in content.labels:
        if label.state is PRESENT:
            found[files[label.image_id]].add(names[label.category_id])
    return found


def test_what_is_read(source: Path) -> None:
    assert detect(source).format == "cvat"
    content, report = read(source)
    assert not report.problems
    assert present(content) == {
        "cam1/a.jpg": {"dog", "cat", "Küche & Bad"},
        "b.jpg": set(),
        "c.jpg": {"dog"},
    }
    boxes = [(x.category_id, x.record["bbox"]) for x in content.annotations]
    assert boxes == [("dog", [10, 20, 20, 40]), ("cat", [0, 0, 10, 20])]
    assert [(x.image_id, x.category_id) for x in content.proposals] == [
        ("cam1/a.jpg", "cat"),
        ("c.jpg", "dog"),
    ]
    assert content.images[0].record["split"] == "train"
    assert (content.images[1].width, content.images[1].height) == (200, 100)


def test_it_comes_back_byte_for_byte(source: Path, tmp_path: Path) -> None:
    content, _ = read(source)
    write(content, tmp_path / "out.xml")
    assert (tmp_path / "out.xml").read_bytes() == source.read_bytes()


def test_verdicts_change_only_their_elements(source: Path, tmp_path: Path) -> None:
    content, _ = read(source)
    decided = [
        LabelRecord("cam1/a.jpg", "dog", ABSENT, "human"),
        LabelRecord("b.jpg", "cat", PRESENT, "human"),
        LabelRecord("c.jpg", "Küche & Bad", PRESENT, "human"),
        LabelRecord("c.jpg", "dog", ABSENT, "human"),
    ]
    write(content, tmp_path / "out.xml", decided)
    text = (tmp_path / "out.xml").read_text()
    assert 'label="dog" source="manual"' not in text
    assert '<box\n      label="dog" source="auto"' in text, "what a model said stays"
    assert text.count("<tag") == 3
    again, _ = read(tmp_path / "out.xml")
    assert present(again) == {
        "cam1/a.jpg": {"cat", "Küche & Bad"},
        "b.jpg": {"cat"},
        "c.jpg": {"Küche & Bad"},
    }
    assert sum(x.state is ABSENT for x in again.labels) == 2
    write(again, tmp_path / "twice.xml", decided)
    assert (tmp_path / "twice.xml").read_text() == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<annotations>", "bad-xml"),
        ("<x/>", "not-cvat"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "bad-xml"),
        ("<annotations/>", "no-images"),
        ('<annotations><image name="a"/><track id="1"/></annotations>', "not-images"),
        ('<annotations><image name="a"/><image name="a"/></annotations>', "duplicate-image"),
        ('<annotations><image id="1"/></annotations>', "bad-name"),
        (f"<annotations>{'<x>' * 99}{'</x>' * 99}</annotations>", "bad-xml"),
    ],
)
def test_hazards(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "in.xml").write_text(text)
    assert code in [p.code for p in FORMATS["cvat"].validate(tmp_path / "in.xml").errors]


words = st.text(min_size=1, max_size=6).filter(lambda x: x.strip() == x and x.isprintable())


@settings(deadline=None)
@given(
    names=st.lists(words, min_size=1, max_size=3, unique=True),
    boxes=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 30), st.integers(1, 9)),
        max_size=6,
    ),
    rejected=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=3),
)
def test_what_is_drawn_elsewhere_comes_back(
    names: list[str],
    boxes: list[tuple[int, int, int, int]],
    rejected: set[tuple[int, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    boxes = [box for box in boxes if box[1] < len(names)]
    images = [ImageRecord(n, f"{names[0]}{n}.jpg", 64, 48, {"id": n}) for n in range(3)]
    categories = [CategoryRecord(n, name, None, {"id": n}) for n, name in enumerate(names)]
    annotations = [
        AnnotationRecord(n, image, category, {"bbox": [x, x, side, side]})
        for n, (image, category, x, side) in enumerate(boxes)
    ]
    labels = [LabelRecord(*pair, PRESENT) for pair in {(b[0], b[1]) for b in boxes}]
    content = AnnotationSet("made", {}, images, categories, annotations, labels)
    folder = tmp_path_factory.mktemp("drawn")
    FORMATS["cvat"].write(content, [], folder / "out.xml", summary={})
    again, report = read(folder / "out.xml")
    assert report.ok
    assert present(again) == present(content)
    found = [(x.image_id, x.category_id, *x.record["bbox"]) for x in again.annotations]
    wanted = [(f"{names[0]}{i}.jpg", names[c], x, x, side, side) for i, c, x, side in boxes]
    assert sorted(found) == sorted(wanted)
    new = [
        LabelRecord(f"{names[0]}{i}.jpg", names[c], ABSENT) for i, c in rejected if c < len(names)
    ]
    write(again, folder / "last.xml", new)
    last, _ = read(folder / "last.xml")
    gone = {(label.image_id, label.category_id) for label in new}
    assert [(x.image_id, x.category_id) for x in last.annotations] == [
        pair for x in again.annotations if (pair := (x.image_id, x.category_id)) not in gone
    ]


def test_a_document_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        read(tmp_path, "cvat")
