"""A set of another format in the files of PASCAL VOC."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from xml.sax.saxutils import escape

from clsl_core.formats.conversion import Pair, category_names, coco_box, image_stems, known_labels
from clsl_core.formats.voc.sets import DEFAULT_SPLIT, ImageSets
from clsl_core.types import AnnotationSet, ImageRecord, LabelRecord, LabelState, SourceId

__all__ = ["fresh_files"]

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def fresh_files(
    content: AnnotationSet, new_labels: Mapping[Pair, LabelRecord]
) -> tuple[dict[str, bytes], ImageSets, list[LabelRecord]]:
    """The XML documents by file name, the lists, and the labels with VOC's ids."""
    ids, names = image_stems(content.images), category_names(content)
    labels = known_labels(content, new_labels)
    boxes = _boxes(content, labels, names)
    documents = {
        f"{ids[image.source_id]}.xml": _document(image, boxes.get(image.source_id, ()))
        for image in content.images
    }
    sets = ImageSets({})
    for split, members in _splits(content.images, ids).items():
        sets.add_images(members, split)
    values: dict[str, dict[str, int]] = {name: {} for name in names.values()}
    for (image_id, category), label in labels.items():
        values[names[category]][ids[image_id]] = label.state.value
    for name, known in values.items():
        sets.set_values(name, known)
        sets.ensure_category(name)
    written = [
        replace(label, image_id=ids[image], category_id=names[category])
        for (image, category), label in labels.items()
        if label.source != "import" or (image, category) in new_labels
    ]
    return documents, sets, written


def _splits(images: Iterable[ImageRecord], ids: Mapping[SourceId, str]) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {}
    for image in images:
        split = image.record.get("split")
        name = split if isinstance(split, str) and split.strip() else DEFAULT_SPLIT
        splits.setdefault(name.strip(), []).append(ids[image.source_id])
    return splits


def _boxes(
    content: AnnotationSet, labels: Mapping[Pair, LabelRecord], names: Mapping[SourceId, str]
) -> dict[SourceId, list[tuple[str, list[float]]]]:
    """Name and box of every annotation whose category is present."""
    boxes: dict[SourceId, list[tuple[str, list[float]]]] = {}
    for annotation in content.annotations:
        image, category = annotation.image_id, annotation.category_id
        box = coco_box(annotation.record)
        if image is None or category is None or box is None:
            continue
        label = labels.get((image, category))
        if label is not None and label.state is LabelState.PRESENT:
            boxes.setdefault(image, []).append((names[category], box))
    return boxes


def _document(image: ImageRecord, boxes: Iterable[tuple[str, list[float]]]) -> bytes:
    lines = ["<annotation>", f"\t<filename>{_text(image.file_name)}</filename>"]
    if image.width and image.height:
        sides = f"<width>{image.width}</width><height>{image.height}</height>"
        lines.append(f"\t<size>{sides}<depth>3</depth></size>")
    for name, (x, y, width, height) in boxes:
        corners = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width, "ymax": y + height}
        sides = "".join(f"<{key}>{value:g}</{key}>" for key, value in corners.items())
        lines.append(f"\t<object><name>{_text(name)}</name><bndbox>{sides}</bndbox></object>")
    return ("\n".join([*lines, "</annotation>"]) + "\n").encode("utf-8", "replace")


def _text(value: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", value))
