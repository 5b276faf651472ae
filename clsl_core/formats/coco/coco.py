"""COCO instances JSON: ``info, licenses, images, annotations, categories`` and ours, ``labels``.

COCO has boxes and masks but no image-level labels. They are written as a list ``labels`` beside
``annotations``, which COCO loaders ignore::

    {"image_id": 7, "category_id": 3, "state": "present", "source": "human",
     "model_run": null, "score": 0.91, "annotator": "ada", "decided_at": "2025-01-02T03:04:05Z"}

What a pair of image and category is, in rising order of authority:

1. nothing said: UNKNOWN, or ABSENT where the file was declared exhaustive (``absent="negative"``);
2. at least one annotation, crowds included: PRESENT, source ``import``; one with a ``score`` was
   made by a model: it is a proposal, and says nothing of the label;
3. an entry in ``labels``; of several for one pair, the last. An entry that says absent where an
   annotation exists wins, with a warning: it is the later, explicit statement about the picture
   (a person rejected the box), and only so does an export import again to the same state. The
   annotation itself is carried through verbatim.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from clsl_core.errors import InputError
from clsl_core.files import atomic_text
from clsl_core.formats.coco.labels import LABELS_KEY, entry_of, parse_label, stated_labels
from clsl_core.formats.coco.records import CocoRecords, known_id, predicted_score
from clsl_core.formats.coco.stored import LISTS, PairLabels, StoredCocoRecords
from clsl_core.formats.conversion import Pair, as_coco
from clsl_core.formats.exhaustive import ExhaustiveLabels
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.text.json_source import read_json_object
from clsl_core.formats.text.json_stream import read_json_stream
from clsl_core.types import (
    AnnotationSet,
    ImageRecord,
    JsonObject,
    LabelRecord,
    LabelState,
    Progress,
    ValidationReport,
    no_progress,
)

__all__ = [
    "LABELS_KEY",
    "STREAM_FROM",
    "SUMMARY_KEY",
    "content_of",
    "read",
    "write",
]

SUMMARY_KEY = "clsl_export"
STREAM_FROM = 16 * 2**20
"""Bytes of a file whose records stay in it, so that memory does not grow with the file."""

_RECORD_KEYS = ("images", "annotations", "categories")

_PLAIN = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_ESCAPED = json.JSONEncoder(allow_nan=False)


def read(
    path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
) -> tuple[AnnotationSet, ValidationReport]:
    """Read a COCO file; every record is kept as it was.

    Args:
        path: The JSON file.
        absent: What a missing annotation means; ``negative`` declares the file exhaustive.
        progress: Told the characters read so far.

    Returns:
        The content and the warnings. ``header`` holds the top-level keys in order: ``images``,
        ``annotations`` and ``categories`` as None, everything else (``labels`` too) verbatim.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    records: CocoRecords
    if _is_long(path):
        document = read_json_stream(path, findings, progress, LISTS)
        records = StoredCocoRecords(document, findings)
    else:
        document = read_json_object(path, findings, progress)
        records = CocoRecords(document, findings)
    stated = stated_labels(document.get(LABELS_KEY), records, findings)
    explicit: dict[Pair, LabelRecord] | PairLabels
    if isinstance(records, StoredCocoRecords) and not stated and absent == "unknown":
        explicit = records.pair_labels()
    else:
        explicit = {**records.annotated_labels(), **stated}
    return content_of("coco", document, records, explicit, findings, absent)


def _is_long(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size >= STREAM_FROM
    except (OSError, ValueError):  # reading it says what is wrong
        return False


def content_of(
    format_name: str,
    document: JsonObject,
    records: CocoRecords,
    explicit: dict[Pair, LabelRecord] | PairLabels,
    findings: Findings,
    absent: Absent,
) -> tuple[AnnotationSet, ValidationReport]:
    """Put a parsed file of the COCO family together.

    Args:
        format_name: The name of the format, for the set.
        document: The top level of the file.
        records: Its three lists.
        explicit: The labels the file states.
        findings: The problems so far.
        absent: What a missing annotation means.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    labels: Sequence[LabelRecord]
    if isinstance(explicit, PairLabels):
        labels = explicit
    elif absent == "unknown":
        labels = list(explicit.values())
    else:
        labels = ExhaustiveLabels(records.image_ids, records.category_ids, explicit)
    findings.report.counts = {
        "images": len(records.images),
        "categories": len(records.categories),
        "annotations": len(records.annotations),
        "labels": len(labels),
    }
    proposals = records.proposals()
    if proposals:
        findings.report.counts["proposals"] = len(proposals)
    report = findings.finish()
    header = {key: None if key in _RECORD_KEYS else value for key, value in document.items()}
    content = AnnotationSet(
        format_name,
        header,
        records.images,
        records.categories,
        records.annotations,
        labels,
        proposals,
    )
    return content, report


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the source content, and behind it what is new.

    A set of another format is written in COCO's records, with all its labels (see ``as_coco``).

    Records and top-level keys keep their order and content. A label that the content already
    states (an equal entry is the last for its pair, or an annotation implies it) is not written
    again; when no label is left to add, nothing is added at all.

    Args:
        annotation_set: What ``read`` gave, possibly rebuilt from storage.
        new_labels: The labels to add, at best one for each pair.
        output: Replaced only when everything was written.
        summary: What the export contains (labels by source and state, model run, when …), put
            under ``clsl_export`` in place of an earlier one.

    Raises:
        InputError: When a label names an image or category that the set does not have, when
            something cannot be written as JSON, or when ``output`` cannot be written.
    """
    content, labels = annotation_set, new_labels
    if content.format == "lvis":
        labels = [*content.labels, *new_labels]
        content = replace(content, images=[_named(image) for image in content.images])
    elif content.format != "coco":
        content, labels = as_coco(content, new_labels)
    header = dict(content.header)
    additions = list(_additions(content, labels))
    if additions:
        header[LABELS_KEY] = [*(header.get(LABELS_KEY) or []), *additions]
        header[SUMMARY_KEY] = summary
    with atomic_text(output) as stream:
        _dump(header, content, stream)


def _named(image: ImageRecord) -> ImageRecord:
    """The image with the file name that LVIS v1 leaves to ``coco_url``."""
    if "file_name" in image.record:
        return image
    return replace(image, record={**image.record, "file_name": image.file_name})


def _additions(content: AnnotationSet, new_labels: Iterable[LabelRecord]) -> Iterator[JsonObject]:
    """The entries for the labels that the content does not state yet."""
    new = list(new_labels)
    if not new:
        return
    images = {image.source_id for image in content.images}
    categories = {category.source_id for category in content.categories}
    said = _said(content, {(label.image_id, label.category_id) for label in new})
    for label in new:
        if label.image_id not in images or label.category_id not in categories:
            raise InputError(
                f"a label names image {label.image_id!a} and category {label.category_id!a}, "
                "which are not both in the set to be written"
            )
        entry = entry_of(label)
        pair = (label.image_id, label.category_id)
        if said.get(pair) != entry:
            said[pair] = entry
            yield entry


def _said(content: AnnotationSet, wanted: set[Pair]) -> dict[Pair, JsonObject]:
    """For each wanted pair, the entry that says what the content already states."""
    said: dict[Pair, JsonObject] = {}
    for annotation in content.annotations if wanted else ():
        if annotation.image_id is not None and annotation.category_id is not None:
            pair = (annotation.image_id, annotation.category_id)
            if pair not in wanted or predicted_score(annotation.record) is not None:
                continue
            said[pair] = entry_of(LabelRecord(*pair, LabelState.PRESENT))
    images, categories = {image for image, _ in wanted}, {category for _, category in wanted}
    for entry in content.header.get(LABELS_KEY) or ():
        if not isinstance(entry, dict) or entry.get("state") not in ("present", "absent"):
            continue
        named = (
            known_id(entry.get("image_id"), images),
            known_id(entry.get("category_id"), categories),
        )
        if named in wanted:
            parsed = parse_label(entry, images, categories)
            said[parsed.image_id, parsed.category_id] = entry_of(parsed)
    return said


def _dump(header: JsonObject, content: AnnotationSet, stream: TextIO) -> None:
    """Write the top level, one record a line."""
    lists: dict[str, Iterable[Any]] = {
        "images": (image.record for image in content.images),
        "annotations": (annotation.record for annotation in content.annotations),
        "categories": (category.record for category in content.categories),
    }
    keys = [*header, *(key for key in ("images", "categories") if key not in header)]
    if content.annotations and "annotations" not in header:
        keys.append("annotations")
    stream.write("{")
    for index, key in enumerate(keys):
        stream.write(("" if index == 0 else ",") + f"\n{_json(key)}: ")
        if key in lists:
            _dump_list(lists[key], stream)
        elif isinstance(header[key], list):
            _dump_list(header[key], stream)
        else:
            stream.write(_json(header[key]))
    stream.write("\n}\n")


def _dump_list(records: Iterable[Any], stream: TextIO) -> None:
    separator = "[\n"
    for record in records:
        stream.write(separator + _json(record))
        separator = ",\n"
    stream.write("[]" if separator == "[\n" else "\n]")


def _json(value: object) -> str:
    """JSON of one value; escaped only where it holds what UTF-8 cannot (lone surrogates)."""
    try:
        text = _PLAIN.encode(value)
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return _ESCAPED.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be written as JSON: {error}") from error
    return text
