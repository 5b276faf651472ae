"""The list ``labels`` that this tool adds to files of the COCO family, in and out."""

from __future__ import annotations

import math
from collections.abc import Container

from clsl_core.formats.coco.records import CocoRecords, known_id
from clsl_core.formats.conversion import Pair
from clsl_core.formats.findings import Findings
from clsl_core.formats.text.json_source import kind_of
from clsl_core.types import JsonObject, LabelRecord, LabelSource, LabelState, SourceId

__all__ = ["LABELS_KEY", "entry_of", "parse_label", "stated_labels"]

LABELS_KEY = "labels"


def stated_labels(
    entries: object, records: CocoRecords, findings: Findings
) -> dict[Pair, LabelRecord]:
    """The labels of the list ``labels``; of several for one pair the last.

    Args:
        entries: What stands under ``labels``.
        records: The images and categories that may be named.
        findings: Receives the problems.
    """
    if entries is None:
        return {}
    if not isinstance(entries, list):
        message = f"{LABELS_KEY} is {kind_of(entries)}; a list of labels was expected"
        findings.error("wrong-type", LABELS_KEY, message + "; rename that key")
        return {}
    stated: dict[Pair, LabelRecord] = {}
    for index, entry in enumerate(entries):
        problem = _problem(entry, records)
        if problem is not None:
            message = f"{problem}; the entry is kept but gives no label"
            findings.warn("label-ignored", f"{LABELS_KEY}[{index}]", message)
            continue
        label = parse_label(entry, records.image_ids, records.category_ids)
        stated[label.image_id, label.category_id] = label
        if label.state is LabelState.ABSENT and records.has_annotation(label):
            findings.warn(
                "label-against-annotation",
                f"{LABELS_KEY}[{index}]",
                f"says that category {label.category_id!a} is absent from image "
                f"{label.image_id!a}, which has an annotation of it; the label counts",
            )
    return stated


def _problem(entry: object, records: CocoRecords) -> str | None:
    """Why an entry of ``labels`` cannot be used, or None when it can."""
    if not isinstance(entry, dict):
        return f"found {kind_of(entry)}, expected an object with image_id, category_id, state"
    for key, known in (("image_id", records.image_ids), ("category_id", records.category_ids)):
        value = entry.get(key)
        if value is None or known_id(value, known) not in known:
            return f"{key} is {kind_of(value)}, which is not in this file"
    if entry.get("state") not in ("present", "absent"):
        return f"state is {kind_of(entry.get('state'))}, expected present or absent"
    return None


def parse_label(
    entry: JsonObject, image_ids: Container[SourceId], category_ids: Container[SourceId]
) -> LabelRecord:
    """The label of an entry that names a known image, a known category and a state."""
    image_id = known_id(entry["image_id"], image_ids)
    category_id = known_id(entry["category_id"], category_ids)
    assert image_id is not None
    assert category_id is not None
    return LabelRecord(
        image_id=image_id,
        category_id=category_id,
        state=LabelState.from_word(entry["state"]),
        source=_text(entry.get("source")) or LabelSource.IMPORT.value,
        model_run=_text(entry.get("model_run")),
        score=_number(entry.get("score")),
        annotator=_text(entry.get("annotator")),
        decided_at=_text(entry.get("decided_at")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    """A JSON number as float; None for anything else and for what no float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def entry_of(label: LabelRecord) -> JsonObject:
    """The entry that tells a label."""
    score = label.score
    return {
        "image_id": label.image_id,
        "category_id": label.category_id,
        "state": label.state.word,
        "source": str(label.source),
        "model_run": label.model_run,
        "score": score if score is None or math.isfinite(score) else None,
        "annotator": label.annotator,
        "decided_at": label.decided_at,
    }
