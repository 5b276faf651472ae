"""The boxes of a set whose categories are present, for writers of any format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clsl_core.formats.conversion import Pair, coco_box, share_box
from clsl_core.types import (
    AnnotationSet,
    ImageRecord,
    JsonObject,
    LabelRecord,
    LabelState,
    SourceId,
)

__all__ = ["Shape", "by_image", "shapes_of"]


@dataclass(frozen=True, slots=True)
class Shape:
    """One box, of which at least one of ``box`` and ``share`` is known.

    Attributes:
        image_id, category_id: As in the set.
        box: ``x, y, width, height`` in pixels from the upper left corner.
        share: The same as parts of the picture's sides.
        outline: Its only polygon ``x1, y1, x2, y2, …`` as parts of the sides; None for others.
    """

    image_id: SourceId
    category_id: SourceId
    box: Sequence[float] | None
    share: Sequence[float] | None
    outline: Sequence[float] | None


def shapes_of(content: AnnotationSet, labels: Mapping[Pair, LabelRecord]) -> Iterator[Shape]:
    """The boxes of every annotation whose category is present in its image, in their order."""
    images = {image.source_id: image for image in content.images}
    for annotation in content.annotations:
        image, category = annotation.image_id, annotation.category_id
        if image is None or category is None or image not in images:
            continue
        label = labels.get((image, category))
        if label is None or label.state is not LabelState.PRESENT:
            continue
        shape = _shape(images[image], category, annotation.record)
        if shape is not None:
            yield shape


def by_image(
    content: AnnotationSet, labels: Mapping[Pair, LabelRecord]
) -> dict[SourceId, list[Shape]]:
    """The same by image."""
    found: dict[SourceId, list[Shape]] = {}
    for shape in shapes_of(content, labels):
        found.setdefault(shape.image_id, []).append(shape)
    return found


def _shape(image: ImageRecord, category: SourceId, record: JsonObject) -> Shape | None:
    box, share = coco_box(record), share_box(record)
    outline = _numbers(record.get("outline"))
    if image.width and image.height:
        sides = (image.width, image.height)
        if box is None and share is not None:
            box = [part * side for part, side in zip(share, sides * 2, strict=True)]
        elif box is not None:
            share = [part / side for part, side in zip(box, sides * 2, strict=True)]
        polygon = _only_polygon(record)
        if outline is None and polygon is not None:
            outline = [x / sides[place % 2] for place, x in enumerate(polygon)]
    if box is None and share is None:
        return None
    return Shape(image.source_id, category, box, share, outline)


def _only_polygon(record: JsonObject) -> list[float] | None:
    """The outline of COCO's ``segmentation``; None where it has several or is a mask."""
    parts = record.get("segmentation")
    return _numbers(parts[0]) if isinstance(parts, list) and len(parts) == 1 else None


def _numbers(values: object) -> list[float] | None:
    usable = isinstance(values, list) and len(values) >= 6 and len(values) % 2 == 0
    if not usable or not isinstance(values, list):
        return None
    plain = all(isinstance(x, int | float) and -1e12 < x < 1e12 for x in values)
    return values if plain else None
