"""From one format to another: the labels of a set, and its content in COCO's terms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from clsl_core.errors import InputError
from clsl_core.formats.coco.records import predicted_score
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    JsonObject,
    LabelRecord,
    LabelState,
    SourceId,
)

__all__ = [
    "Pair",
    "as_coco",
    "category_names",
    "checked_labels",
    "coco_box",
    "image_stems",
    "kept_rows",
    "known_labels",
    "named_images",
    "own_names",
    "pixels_of",
    "share_box",
]

_NOT_IN_STEMS = re.compile(r"[^\w.\-]+")

Pair = tuple[SourceId, SourceId]
"""An image id and a category id."""


def checked_labels(
    content: AnnotationSet, new_labels: Iterable[LabelRecord]
) -> dict[Pair, LabelRecord]:
    """The labels to add, the last one of each pair.

    Raises:
        InputError: When a label names an image or category that the set does not have, or when
            its state is UNKNOWN.
    """
    images = {image.source_id for image in content.images}
    categories = {category.source_id for category in content.categories}
    labels: dict[Pair, LabelRecord] = {}
    for label in new_labels:
        if label.image_id not in images or label.category_id not in categories:
            raise InputError(
                f"a label names image {label.image_id!a} and category {label.category_id!a}, "
                "which are not both in the set to be written"
            )
        if label.state is LabelState.UNKNOWN:
            raise InputError(
                f"the label of image {label.image_id!a} and category {label.category_id!a} is "
                "unknown; leave out what is not known"
            )
        labels[label.image_id, label.category_id] = label
    return labels


def known_labels(
    content: AnnotationSet, new_labels: Mapping[Pair, LabelRecord]
) -> dict[Pair, LabelRecord]:
    """Every known label of a set: what its annotations imply, what it states, what is new."""
    labels: dict[Pair, LabelRecord] = {}
    drawn = content.annotations if content.format in ("coco", "lvis") else ()
    for annotation in drawn:
        if predicted_score(annotation.record) is not None:
            continue
        if annotation.image_id is not None and annotation.category_id is not None:
            pair = (annotation.image_id, annotation.category_id)
            labels[pair] = LabelRecord(*pair, LabelState.PRESENT)
    labels |= {(label.image_id, label.category_id): label for label in content.labels}
    return labels | dict(new_labels)


def named_images(content: AnnotationSet) -> dict[SourceId, str]:
    """The file name of each image id, for formats that know images by it.

    Raises:
        InputError: When two images share one.
    """
    owners: dict[str, SourceId] = {}
    for image in content.images:
        other = owners.setdefault(image.file_name, image.source_id)
        if other != image.source_id:
            raise InputError(
                f"the images {other!a} and {image.source_id!a} share the file name "
                f"{image.file_name!a:.200}, by which this format tells images apart; export as "
                "COCO, or give one of the two another name"
            )
    return {id_: name for name, id_ in owners.items()}


def own_names(content: AnnotationSet) -> dict[SourceId, str]:
    """The same for a set whose images are known by their names in its file, wherever they lie."""
    return {image.source_id: str(image.source_id) for image in content.images}


def category_names(content: AnnotationSet, taken: Iterable[str] = ()) -> dict[SourceId, str]:
    """A name of its own for each category id: where need be its id is added.

    Args:
        content: The set.
        taken: Names that no category may have, in whatever case.
    """
    seen = Counter(category.name for category in content.categories)
    reserved = {name.lower() for name in taken}
    used: set[str] = set()
    names: dict[SourceId, str] = {}
    for category in content.categories:
        name = category.name
        if seen[name] > 1 or name in used or name.lower() in reserved:
            name = f"{name} ({category.source_id})"
        while name in used:
            name += "'"
        used.add(name)
        names[category.source_id] = name
    return names


def image_stems(images: Iterable[ImageRecord]) -> dict[SourceId, str]:
    """A short name of its own for each image id, made of its file name."""
    ids: dict[SourceId, str] = {}
    used: set[str] = set()
    next_number: Counter[str] = Counter()
    for image in images:
        stem = str(PurePosixPath(image.file_name.replace("\\", "/")).with_suffix(""))
        base = _NOT_IN_STEMS.sub("_", stem).strip("._")[:100] or "image"
        name = base
        while name.lower() in used:
            next_number[base.lower()] += 1
            name = f"{base}_{next_number[base.lower()] + 1}"
        used.add(name.lower())
        ids[image.source_id] = name
    return ids


def kept_rows(content: AnnotationSet) -> list[list[str]]:
    """The rows of a table as they were, from the records of images and categories, in order."""
    records = [item.record for item in content.images]
    numbered: list[tuple[int, list[str]]] = []
    for record in [*records, *(item.record for item in content.categories)]:
        numbered += [(line, row) for line, row in record.get("rows", ())]
    return [row for _, row in sorted(numbered, key=lambda entry: entry[0])]


def as_coco(
    content: AnnotationSet, new_labels: Iterable[LabelRecord]
) -> tuple[AnnotationSet, list[LabelRecord]]:
    """A set of another format with COCO's records, and all its labels for COCO's ``labels``.

    Whole-number ids are kept; images or categories that have others are numbered from 1 in their
    order. Boxes of what is present come along; what only the other format has stays behind.

    Raises:
        InputError: When a label names an image or category that the set does not have.
    """
    image_ids = _numbered([image.source_id for image in content.images])
    category_ids = _numbered([category.source_id for category in content.categories])
    labels = known_labels(content, checked_labels(content, new_labels))
    moved = [
        replace(label, image_id=image_ids[image], category_id=category_ids[category])
        for (image, category), label in labels.items()
    ]
    images = [_image(image, image_ids[image.source_id]) for image in content.images]
    categories = [_category(item, category_ids[item.source_id]) for item in content.categories]
    drawn = [item for item in content.annotations if _is_present(item, labels)]
    by_id = {image.source_id: image for image in content.images}
    annotations = _annotations(drawn, by_id, image_ids, category_ids)
    header: JsonObject = {"images": None, "annotations": None, "categories": None}
    return AnnotationSet("coco", header, images, categories, annotations, []), moved


def _is_present(annotation: AnnotationRecord, labels: Mapping[Pair, LabelRecord]) -> bool:
    image, category = annotation.image_id, annotation.category_id
    if image is None or category is None or (image, category) not in labels:
        return False
    return labels[image, category].state is LabelState.PRESENT


def _numbered(ids: list[SourceId]) -> dict[SourceId, int]:
    if all(isinstance(id_, int) for id_ in ids):
        return {id_: int(id_) for id_ in ids}
    return {id_: number for number, id_ in enumerate(ids, start=1)}


def _image(image: ImageRecord, number: int) -> ImageRecord:
    record: JsonObject = {"id": number, "file_name": image.file_name}
    sides = {"width": image.width, "height": image.height}
    record |= {key: value for key, value in sides.items() if value is not None}
    if isinstance(split := image.record.get("split"), str):
        record["split"] = split
    return replace(image, source_id=number, record=record)


def _category(category: CategoryRecord, number: int) -> CategoryRecord:
    record: JsonObject = {"id": number, "name": category.name}
    if category.supercategory:
        record["supercategory"] = category.supercategory
    return replace(category, source_id=number, record=record)


def _annotations(
    annotations: Iterable[AnnotationRecord],
    images: Mapping[SourceId, ImageRecord],
    image_ids: Mapping[SourceId, int],
    category_ids: Mapping[SourceId, int],
) -> list[AnnotationRecord]:
    """The boxes, as ``x, y, width, height`` in pixels."""
    boxes: list[AnnotationRecord] = []
    for annotation in annotations:
        if annotation.image_id is None or annotation.category_id is None:
            continue
        box = pixels_of(annotation.record, images[annotation.image_id])
        if box is None:
            continue
        image = image_ids[annotation.image_id]
        category = category_ids[annotation.category_id]
        record: JsonObject = {
            "id": len(boxes) + 1,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        boxes.append(AnnotationRecord(len(boxes) + 1, image, category, record))
    return boxes


def coco_box(record: JsonObject) -> list[float] | None:
    """The box ``x, y, width, height`` of a record, or None where it has none."""
    return _four_numbers(record.get("bbox"))


def share_box(record: JsonObject) -> list[float] | None:
    """The same as parts of the picture's sides, from formats that do not know its size."""
    return _four_numbers(record.get("share"))


def _four_numbers(box: object) -> list[float] | None:
    if not isinstance(box, list) or len(box) != 4:
        return None
    numbers = all(isinstance(side, int | float) and -1e12 < side < 1e12 for side in box)
    return box if numbers else None


def pixels_of(record: JsonObject, image: ImageRecord) -> list[float] | None:
    """The box of a record in pixels; None where it has none, or the picture's size is missing."""
    box, share = coco_box(record), share_box(record)
    if box is not None or share is None or not (image.width and image.height):
        return box
    return [part * side for part, side in zip(share, (image.width, image.height) * 2, strict=True)]
