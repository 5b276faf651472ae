"""Whatever is known survives each format: written from COCO's terms, read, and written again."""

import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.formats import FORMATS, Format
from clsl_core.types import (
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    LabelRecord,
    LabelState,
)

names = st.text(string.ascii_letters + " ,;|'\"=+-@_1é漢", min_size=1, max_size=6).filter(
    lambda name: name == name.strip() and name.lower() not in ("split", "width", "height")
)
texts = st.none() | st.text(string.ascii_letters + " ,\"'=é", min_size=1, max_size=6)
moments = st.none() | st.just("2025-01-02T03:04:05+00:00")


@st.composite
def sets(draw: st.DrawFn) -> tuple[AnnotationSet, list[LabelRecord]]:
    """A COCO set without annotations, and labels for some of its pairs."""
    files = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    titles = draw(st.lists(names, min_size=1, max_size=4, unique_by=str.lower))
    images = [
        ImageRecord(i, f"{name}.jpg", 40, 30, {"id": i, "file_name": f"{name}.jpg"})
        for i, name in enumerate(files, start=1)
    ]
    categories = [
        CategoryRecord(i, name, None, {"id": i, "name": name})
        for i, name in enumerate(titles, start=1)
    ]
    header = {"images": None, "annotations": None, "categories": None}
    labels = [
        LabelRecord(
            image.source_id,
            category.source_id,
            state,
            "human",
            model_run=draw(texts),
            score=draw(st.none() | st.floats(0, 1)),
            annotator=draw(texts),
            decided_at=draw(moments),
        )
        for image in images
        for category in categories
        if (state := draw(st.sampled_from(LabelState))) is not LabelState.UNKNOWN
    ]
    return AnnotationSet("coco", header, images, categories, [], []), labels


def foreign(name: str) -> str:
    """A format whose records look like COCO's, but not the one of that name."""
    return "lvis" if name == "coco" else "coco"


def known(content: AnnotationSet) -> dict[tuple[str, str], tuple[object, ...]]:
    """Every label by the names of its pair, with all its provenance."""
    return told(content, list(content.labels))


def told(
    content: AnnotationSet, labels: list[LabelRecord]
) -> dict[tuple[str, str], tuple[object, ...]]:
    images = {image.source_id: image.file_name for image in content.images}
    categories = {category.source_id: category.name for category in content.categories}
    return {
        (images[x.image_id], categories[x.category_id]): (
            x.state, x.source, x.model_run, x.score, x.annotator, x.decided_at,
        )
        for x in labels
    }  # fmt: skip


def written(output: Path) -> dict[str, bytes]:
    """Every file of an export by its relative path."""
    files = [output] if output.is_file() else [p for p in output.rglob("*") if p.is_file()]
    beside = [p for p in output.parent.iterdir() if p.name.startswith(f"{output.name}.prov")]
    return {str(p.relative_to(output.parent)): p.read_bytes() for p in [*files, *beside]}


@pytest.mark.parametrize("own", FORMATS.values(), ids=FORMATS)
@settings(max_examples=40, deadline=None)
@given(case=sets())
def test_labels_and_their_provenance_survive(
    own: Format,
    case: tuple[AnnotationSet, list[LabelRecord]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content, labels = case
    folder = tmp_path_factory.mktemp("round")
    output = folder / f"out{own.suffix}"
    half = len(labels) // 2
    stated = replace(content, format=foreign(own.name), labels=labels[:half])
    own.write(stated, labels[half:], output, summary={"labels": len(labels)})
    again, report = own.read(output)
    assert report.ok
    assert known(again) == told(content, labels)
    own.write(again, [], (folder / f"b{own.suffix}"), summary={})
    once_more, _ = own.read(folder / f"b{own.suffix}")
    assert known(once_more) == known(again)
    assert [x.record for x in once_more.images] == [x.record for x in again.images]


@pytest.mark.parametrize("own", FORMATS.values(), ids=FORMATS)
@settings(max_examples=25, deadline=None)
@given(case=sets(), data=st.data())
def test_a_second_export_is_the_same_and_decisions_change_only_their_pair(
    own: Format,
    case: tuple[AnnotationSet, list[LabelRecord]],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content, labels = case
    folder = tmp_path_factory.mktemp("again")
    output = folder / f"out{own.suffix}"
    own.write(content, labels, output, summary={"labels": len(labels)})
    first, _ = own.read(output)
    (folder / "second").mkdir()
    second = folder / "second" / output.name
    own.write(first, [], second, summary={"labels": len(labels)})
    assert written(second) == written(output)
    if not first.categories:
        return
    image = data.draw(st.sampled_from(first.images))
    category = data.draw(st.sampled_from(first.categories))
    state = data.draw(st.sampled_from([LabelState.PRESENT, LabelState.ABSENT]))
    decision = LabelRecord(image.source_id, category.source_id, state, "human", annotator="x")
    (folder / "third").mkdir()
    third = folder / "third" / output.name
    own.write(first, [decision], third, summary={})
    changed, _ = own.read(third)
    assert known(changed) == known(first) | told(first, [decision])
