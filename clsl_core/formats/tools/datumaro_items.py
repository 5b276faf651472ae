"""Datumaro's items with labels added, and a whole document for a set of another format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from clsl_core.formats.boxes import shapes_of
from clsl_core.formats.conversion import Pair
from clsl_core.types import (
    AnnotationSet,
    ImageRecord,
    JsonObject,
    LabelRecord,
    LabelState,
    SourceId,
)

__all__ = ["fresh_document", "with_labels"]


def with_labels(item: JsonObject, labels: Iterable[LabelRecord]) -> JsonObject:
    """The item with its image-level labels changed; the same object where nothing changes."""
    kept = item.get("annotations")
    before = list(kept) if isinstance(kept, list) else []
    after = list(before)
    for label in labels:
        category = label.category_id
        if label.state is LabelState.ABSENT:
            after = [x for x in after if not _is_label_of(x, category)]
        elif not any(isinstance(x, dict) and x.get("label_id") == category for x in after):
            after.append(_annotation(len(after), category))
    return item if after == before else {**item, "annotations": after}


def fresh_document(
    content: AnnotationSet,
    labels: Mapping[Pair, LabelRecord],
    files: Mapping[SourceId, str],
    names: Mapping[SourceId, str],
) -> tuple[JsonObject, list[LabelRecord]]:
    """The document, and the labels with its ids whose origin or absence it must tell apart.

    Args:
        content: A set of another format.
        labels: Its known labels.
        files: The file name of each image.
        names: The name of each category.
    """
    numbers = {category: index for index, category in enumerate(names)}
    annotations: dict[SourceId, list[JsonObject]] = {
        image.source_id: [] for image in content.images
    }
    for shape in shapes_of(content, labels):
        if shape.box is not None:
            found = annotations[shape.image_id]
            drawn = _annotation(len(found), numbers[shape.category_id], "bbox")
            found.append({**drawn, "bbox": list(shape.box)})
    boxed = {(image, x["label_id"]) for image, found in annotations.items() for x in found}
    for (image, category), label in labels.items():
        if label.state is LabelState.PRESENT and (image, numbers[category]) not in boxed:
            found = annotations[image]
            found.append(_annotation(len(found), numbers[category]))
    document: JsonObject = {
        "info": {},
        "categories": {
            "label": {
                "labels": [
                    {"name": name, "parent": "", "attributes": []} for name in names.values()
                ],
                "attributes": [],
            }
        },
        "items": [
            _item(image, files[image.source_id], annotations[image.source_id])
            for image in content.images
        ],
    }
    told = [
        replace(label, image_id=files[image], category_id=numbers[category])
        for (image, category), label in labels.items()
        if label.source != "import" or label.state is LabelState.ABSENT
    ]
    return document, told


def _item(image: ImageRecord, file_name: str, annotations: list[JsonObject]) -> JsonObject:
    media: JsonObject = {"path": file_name}
    if image.width and image.height:
        media["size"] = [image.height, image.width]
    return {"id": file_name, "annotations": annotations, "image": media}


def _annotation(number: int, category: SourceId, kind: str = "label") -> JsonObject:
    return {"id": number, "type": kind, "attributes": {}, "group": 0, "label_id": category}


def _is_label_of(record: object, category: SourceId) -> bool:
    wanted = isinstance(record, dict) and record.get("type") == "label"
    return wanted and isinstance(record, dict) and record.get("label_id") == category
