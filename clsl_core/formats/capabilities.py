"""What each format can carry, and what an export would therefore leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum

from clsl_core.errors import NotFoundError
from clsl_core.formats.conversion import coco_box, known_labels, share_box
from clsl_core.types import AnnotationSet

__all__ = ["CAPABILITIES", "Capabilities", "Place", "losses", "markdown_table"]


class Place(StrEnum):
    """Where an export puts something."""

    FILE = "yes"
    BESIDE = "beside"
    NOWHERE = "no"


_FILE, _BESIDE, _NOWHERE = Place.FILE, Place.BESIDE, Place.NOWHERE


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an export of a set that was read from another format keeps.

    A set that was read from the same format comes back as it was, whatever stands here.

    Attributes:
        absent: That a category is absent, as distinct from unknown.
        provenance: Source, model run, score, annotator and time of a label.
        boxes: Boxes of annotations.
        masks: Segmentations of annotations.
        sizes: Width and height of images.
        splits: Which part of the collection an image belongs to.
        supercategories: The group of a category.
        unused_categories: Categories without any label.
        proposals: Whether what a model said is read apart from what people said.
    """

    absent: Place
    provenance: Place
    boxes: Place = _NOWHERE
    masks: Place = _NOWHERE
    sizes: Place = _NOWHERE
    splits: Place = _NOWHERE
    supercategories: Place = _NOWHERE
    unused_categories: Place = _FILE
    proposals: Place = _NOWHERE


_COCO = Capabilities(
    absent=_FILE,
    provenance=_FILE,
    boxes=_FILE,
    masks=_FILE,
    sizes=_FILE,
    splits=_FILE,
    supercategories=_FILE,
    proposals=_FILE,
)

CAPABILITIES: dict[str, Capabilities] = {
    "coco": _COCO,
    "lvis": _COCO,
    "voc": Capabilities(_FILE, _BESIDE, boxes=_FILE, sizes=_FILE, splits=_FILE),
    "csv-wide": Capabilities(_FILE, _BESIDE),
    "csv-long": Capabilities(_FILE, _FILE, proposals=_FILE),
    "open-images": Capabilities(_FILE, _BESIDE, unused_categories=_BESIDE, proposals=_FILE),
    "nus-wide": Capabilities(_FILE, _BESIDE, splits=_FILE),
    "nus-wide-csv": Capabilities(_BESIDE, _BESIDE, splits=_FILE, unused_categories=_NOWHERE),
    "imagefolder": Capabilities(_BESIDE, _BESIDE, splits=_FILE, unused_categories=_NOWHERE),
    "fiftyone": Capabilities(_FILE, _FILE, boxes=_FILE, proposals=_FILE),
    "label-studio": Capabilities(
        _FILE, _FILE, boxes=_FILE, unused_categories=_NOWHERE, proposals=_FILE
    ),
    "datumaro": Capabilities(_FILE, _FILE, boxes=_FILE, sizes=_FILE),
    "yolo": Capabilities(_BESIDE, _BESIDE, boxes=_FILE, splits=_FILE, proposals=_FILE),
    "cvat": Capabilities(
        _BESIDE, _BESIDE, boxes=_FILE, masks=_FILE, sizes=_FILE, splits=_FILE, proposals=_FILE
    ),
}


def losses(content: AnnotationSet, format_name: str) -> list[str]:
    """What an export would leave behind, in words, to be shown before it is made.

    Args:
        content: The set to be exported, with its labels.
        format_name: The format to write.

    Raises:
        NotFoundError: When there is no such format.
    """
    if format_name not in CAPABILITIES:
        known = ", ".join(CAPABILITIES)
        raise NotFoundError(f"there is no format {format_name!r}; the formats are: {known}")
    if content.format == format_name:
        return []
    able = CAPABILITIES[format_name]
    return [
        f"{count:,} {what}"
        for name, count, what in _possessions(content)
        if count and getattr(able, name) is Place.NOWHERE
    ]


def markdown_table() -> str:
    """The table of docs/reference/formats.md."""
    names = [field.name for field in fields(Capabilities)]
    lines = [
        "| format | " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for format_name, able in CAPABILITIES.items():
        cells = " | ".join(getattr(able, name).value for name in names)
        lines.append(f"| `{format_name}` | {cells} |")
    return "\n".join(lines) + "\n"


def _possessions(content: AnnotationSet) -> Iterator[tuple[str, int, str]]:
    """What a set has of each thing that some formats cannot carry: name, count, words."""
    used = {category for _, category in known_labels(content, {})}
    boxes = masks = 0
    for annotation in content.annotations:  # one at a time: there may be a million
        boxes += coco_box(annotation.record) is not None or bool(share_box(annotation.record))
        masks += bool(annotation.record.get("segmentation"))
    yield "boxes", boxes, "boxes"
    yield "masks", masks, "masks"
    sizes = sum(bool(image.width and image.height) for image in content.images)
    yield "sizes", sizes, "image sizes"
    splits = sum(isinstance(image.record.get("split"), str) for image in content.images)
    yield "splits", splits, "images' part of the collection (split)"
    groups = sum(bool(category.supercategory) for category in content.categories)
    yield "supercategories", groups, "supercategories"
    unused = sum(category.source_id not in used for category in content.categories)
    yield "unused_categories", unused, "categories without any label"
    yield "proposals", len(content.proposals), "proposals of a model"
