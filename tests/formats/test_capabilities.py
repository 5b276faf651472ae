"""The table of what each format carries is true, and the documentation shows it."""

from dataclasses import replace
from pathlib import Path

import pytest

from clsl_core.errors import NotFoundError
from clsl_core.formats import FORMATS, get_format
from clsl_core.formats.capabilities import CAPABILITIES, Place, losses, markdown_table
from clsl_core.formats.conversion import pixels_of
from clsl_core.formats.sidecar import path_for
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    LabelRecord,
    LabelState,
)

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "formats.md"
PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT


def everything(own_format: str) -> AnnotationSet:
    """A set that has something of all, read from another format than the one to be written."""
    box = {"bbox": [1.0, 2.0, 3.0, 4.0], "segmentation": [[1, 2, 4, 2, 4, 6]]}
    foreign = "lvis" if own_format == "coco" else "coco"
    header = {"images": None, "annotations": None, "categories": None}
    image = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30, "split": "val"}
    names = [(1, "cat"), (2, "dog"), (3, "never")]
    return AnnotationSet(
        foreign,
        header,
        [ImageRecord(1, "a.jpg", 40, 30, image)],
        [
            CategoryRecord(i, name, "animal", {"id": i, "name": name, "supercategory": "animal"})
            for i, name in names
        ],
        [AnnotationRecord(1, 1, 1, {"id": 1, "image_id": 1, "category_id": 1, **box})],
        [LabelRecord(1, 1, PRESENT)],
    )


def test_every_format_is_in_the_table() -> None:
    assert list(CAPABILITIES) == list(FORMATS)


def test_the_documentation_shows_the_table() -> None:
    text = PAGE.read_text("utf-8")
    assert markdown_table() in text, "put the output of markdown_table() into formats.md"
    for name, own in FORMATS.items():
        assert f"`{name}`" in text
        assert own.title.split(" (")[0] in text


@pytest.mark.parametrize("name", FORMATS)
def test_the_table_is_true(name: str, tmp_path: Path) -> None:
    own, able = get_format(name), CAPABILITIES[name]
    output = tmp_path / f"o{own.suffix}"
    label = LabelRecord(1, 2, ABSENT, "human", "4", 0.5, "ada", "2025-01-02T03:04:05Z")
    own.write(everything(name), [label], output, summary={})
    content, report = own.read(output)
    assert report.ok
    titles = {category.source_id: category.name for category in content.categories}
    labels = {titles[x.category_id]: x for x in content.labels}
    assert labels["cat"].state is PRESENT
    dog = labels["dog"]
    shown = (dog.state, dog.source, dog.model_run, dog.score, dog.annotator, dog.decided_at)
    assert shown == (ABSENT, "human", "4", 0.5, "ada", "2025-01-02T03:04:05Z")
    records = [annotation.record for annotation in content.annotations]
    found = {
        "boxes": any(
            pixels_of(record, replace(content.images[0], width=40, height=30))
            == pytest.approx([1.0, 2.0, 3.0, 4.0])
            for record in records
        ),
        "masks": any("segmentation" in record for record in records),
        "sizes": (content.images[0].width, content.images[0].height) == (40, 30),
        "splits": content.images[0].record.get("split") == "val",
        "supercategories": {category.supercategory for category in content.categories}
        == {"animal"},
        "unused_categories": "never" in titles.values(),
    }
    assert found == {key: getattr(able, key) is not Place.NOWHERE for key in found}
    path_for(output).unlink(missing_ok=True)
    bare, _ = own.read(output)
    names = {category.source_id: category.name for category in bare.categories}
    without = {names[x.category_id]: x for x in bare.labels}
    assert ("dog" in without) == (able.absent is Place.FILE)
    told = "dog" in without and without["dog"].annotator == "ada"
    assert told == (able.provenance is Place.FILE)


def test_losses_are_told_before() -> None:
    assert losses(everything("coco"), "lvis") == []
    assert losses(everything("csv-wide"), "csv-wide") == [
        "1 boxes", "1 masks", "1 image sizes", "1 images' part of the collection (split)",
        "3 supercategories",
    ]  # fmt: skip
    assert losses(everything("imagefolder"), "imagefolder")[-1] == "2 categories without any label"
    own = AnnotationSet("csv-wide", {}, *[everything("x").images], [], [], [])
    assert losses(own, "csv-wide") == []
    with pytest.raises(NotFoundError, match="datumaro"):
        losses(own, "tfrecord")
