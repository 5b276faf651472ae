"""A set of another format in the files of PASCAL VOC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from xml.sax.saxutils import escape

from clsl_core.formats.boxes import shapes_of
from clsl_core.formats.conversion import Pair, category_names, image_stems, known_labels
from clsl_core.formats.text.xml_source import xml_text
from clsl_core.formats.voc.sets import DEFAULT_SPLIT, ImageSets
from clsl_core.types import AnnotationSet, ImageRecord, LabelRecord, SourceId

__all__ = ["fresh_files"]


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
) -> dict[SourceId, list[tuple[str, Sequence[float]]]]:
    """Name and box of every annotation whose category is present."""
    boxes: dict[SourceId, list[tuple[str, Sequence[float]]]] = {}
    for shape in shapes_of(content, labels):
        if shape.box is not None:
            boxes.setdefault(shape.image_id, []).append((names[shape.category_id], shape.box))
    return boxes


def _document(image: ImageRecord, boxes: Iterable[tuple[str, Sequence[float]]]) -> bytes:
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
    return escape(xml_text(value))
