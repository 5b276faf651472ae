"""Datumaro's JSON, ``annotations/<subset>.json``: ``info, categories, items``.

An annotation of any type that has a ``label_id`` says that its category is present; boxes come
along. Absent categories and provenance stand in ``info`` under ``clsl_provenance``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clsl_core.formats import sidecar
from clsl_core.formats.coco.coco import SUMMARY_KEY
from clsl_core.formats.conversion import (
    Pair,
    category_names,
    checked_labels,
    coco_box,
    known_labels,
    named_images,
)
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.text.json_output import write_json
from clsl_core.formats.text.json_source import kind_of, read_json_object
from clsl_core.formats.tools.datumaro_items import fresh_document, with_labels
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    JsonObject,
    LabelRecord,
    LabelState,
    Progress,
    ValidationReport,
    no_progress,
)

__all__ = ["read", "write"]


def read(
    path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
) -> tuple[AnnotationSet, ValidationReport]:
    """Read one subset.

    Args:
        path: The JSON file.
        absent: What a category without an annotation is.
        progress: Told the characters read so far.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    document = read_json_object(path, findings, progress)
    builder = SetBuilder("datumaro", findings)
    _read_categories(document.get("categories"), builder, findings)
    items = document.get("items")
    if not isinstance(items, list):
        message = f"items is {kind_of(items)}; a list was expected"
        findings.refuse("wrong-type", "items", message)
    for index, item in enumerate(items):
        _read_item(f"items[{index}]", item, builder, findings)
    info = document.get("info")
    rows = info.get(sidecar.HEADER_KEY) if isinstance(info, dict) else None
    header = {"document": {**document, "items": None}}
    provenance = rows if isinstance(rows, list) else []
    return builder.finish(header, absent, path, provenance=provenance)


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the items as they were; a new label becomes an annotation of type ``label``.

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: Replaced only when everything was written.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, two images share a file name,
            or ``output`` cannot be written.
    """
    new = checked_labels(annotation_set, new_labels)
    if annotation_set.format == "datumaro":
        told = list(new.values())
        document = dict(annotation_set.header.get("document") or {})
        document["items"] = _kept_items(annotation_set, new)
    else:
        labels = known_labels(annotation_set, new)
        files, names = named_images(annotation_set), category_names(annotation_set)
        document, told = fresh_document(annotation_set, labels, files, names)
    if rows := sidecar.merged_rows(annotation_set, told):
        info = document.get("info")
        extra = {SUMMARY_KEY: summary} if told else {}
        kept = info if isinstance(info, dict) else {}
        document["info"] = {**kept, sidecar.HEADER_KEY: rows, **extra}
    sidecar.prepare(output)
    write_json(document, output)


def _kept_items(content: AnnotationSet, new: dict[Pair, LabelRecord]) -> list[JsonObject]:
    by_image: dict[Any, list[LabelRecord]] = {}
    for (image, _), label in new.items():
        by_image.setdefault(image, []).append(label)
    return [
        with_labels(image.record, by_image.get(image.source_id, ())) for image in content.images
    ]


def _read_categories(value: object, builder: SetBuilder, findings: Findings) -> None:
    """The names; the id of a category is its position, which ``label_id`` means."""
    label = value.get("label") if isinstance(value, dict) else None
    labels = label.get("labels") if isinstance(label, dict) else None
    if not isinstance(labels, list):
        message = f"found {kind_of(labels)}; a list of labels was expected"
        findings.error("wrong-type", "categories.label.labels", message)
        return
    for index, record in enumerate(labels):
        where = f"categories.label.labels[{index}]"
        if isinstance(record, dict):
            builder.category(where, record.get("name"), source_id=index, record=record)
        else:
            findings.error("wrong-type", where, f"found {kind_of(record)}, expected an object")


def _read_item(where: str, item: object, builder: SetBuilder, findings: Findings) -> None:
    if not isinstance(item, dict):
        findings.error("wrong-type", where, f"found {kind_of(item)}, expected an object")
        return
    key = item.get("id")
    if not isinstance(key, str) or not key:
        findings.error("bad-id", where, f"the id is {kind_of(key)}; text was expected")
        return
    if key in builder.images:
        message = f"the id {key!a:.80} occurs twice; give one item another id"
        findings.error("duplicate-image-id", where, message)
        return
    kept = (item[key] for key in ("image", "media") if isinstance(item.get(key), dict))
    media: JsonObject = next(kept, {})
    stated, size = media.get("path"), media.get("size")
    name = stated if isinstance(stated, str) and stated else f"{key}.jpg"
    image = builder.image(where, name, item, source_id=key, size=_size(size))
    annotations = item.get("annotations", [])
    if not isinstance(annotations, list):
        message = f"annotations is {kind_of(annotations)}; a list was expected"
        findings.error("wrong-type", where, message)
    elif image is not None:
        for index, record in enumerate(annotations):
            _read_annotation(f"{where}.annotations[{index}]", key, record, builder, findings)


def _size(value: object) -> tuple[int | None, int | None]:
    """Width and height of Datumaro's ``[height, width]``."""
    if not isinstance(value, list) or len(value) != 2:
        return None, None
    usable = all(type(side) is int and 0 < side < 2**31 for side in value)
    return (value[1], value[0]) if usable else (None, None)


def _read_annotation(
    where: str, image: str, record: object, builder: SetBuilder, findings: Findings
) -> None:
    if not isinstance(record, dict):
        findings.error("wrong-type", where, f"found {kind_of(record)}, expected an object")
        return
    category = record.get("label_id")
    if category is None:
        return
    if type(category) is not int or category not in builder.categories:
        message = f"label_id is {kind_of(category)}, which is no category; it gives no label"
        findings.warn("missing-category", where, message)
        return
    if (box := coco_box(record)) is not None:
        kept = {"image": image, "number": len(builder.annotations), "bbox": box}
        builder.annotations.append(AnnotationRecord(None, image, category, kept))
    builder.labels[image, category] = LabelRecord(image, category, LabelState.PRESENT)
