"""COCO and LVIS: ids in every record, and in the list ``labels``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from clsl_core.formats.coco.coco import LABELS_KEY, SUMMARY_KEY
from clsl_core.formats.coco.lvis import NEGATIVE, NOT_EXHAUSTIVE
from clsl_core.formats.merging.terms import Changed, NewIds, Terms
from clsl_core.types import AnnotationSet, ImageRecord, JsonObject, LabelSource

__all__ = ["EARLIER_KEY", "CocoTerms", "LvisTerms"]

EARLIER_KEY = "clsl_earlier_headers"
"""What stood at the top level of earlier files where the newest one says something else."""
_LICENSES = "licenses"
_DECIDED = (LabelSource.HUMAN, LabelSource.MODEL_AUDITED)


class CocoTerms(Terms):
    """Records stand by themselves: only their ids and licenses point elsewhere."""

    unites = True
    has_annotation_ids = True

    def image_record(self, record: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms."""
        return _with(record, "id", ids.image(record.get("id")))

    def category_record(self, record: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms."""
        return _with(record, "id", ids.category(record.get("id")))

    def annotation_record(self, record: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms."""
        changed = _with(record, "image_id", ids.image(record.get("image_id")))
        return _with(changed, "category_id", ids.category(record.get("category_id")))

    def header(self, header: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms."""
        entries = header.get(LABELS_KEY)
        if not isinstance(entries, list):
            return header
        changed = [
            self.annotation_record(entry, ids) if isinstance(entry, dict) else entry
            for entry in entries
        ]
        return {**header, LABELS_KEY: changed}

    def united(self, own: JsonObject, content: AnnotationSet, order: int) -> AnnotationSet:
        """See Terms: lists are put together, of other things the newest stands and all are kept."""
        del order
        header, images = content.header, content.images
        licenses, renamed = _licenses(own.get(_LICENSES), header.get(_LICENSES))
        if renamed:
            images = Changed(images, lambda one: _relicensed(one, renamed))
        both = {**own, **header}
        for key, value in own.items():
            if isinstance(value, list) and isinstance(header.get(key), list):
                both[key] = _entries(value, header[key])
        if licenses is not None:
            both[_LICENSES] = licenses
        if isinstance(own.get(LABELS_KEY), list):
            both[LABELS_KEY] = _labels(own[LABELS_KEY], header.get(LABELS_KEY), content)
        differing = {
            key: value
            for key, value in own.items()
            if value is not None
            and key not in (SUMMARY_KEY, EARLIER_KEY)
            and not isinstance(value, list)
            and both[key] != value
        }
        if differing:
            both[EARLIER_KEY] = _entries(both.get(EARLIER_KEY) or [], [differing])
        return replace(content, header=both, images=images)

    def header_pairs(self, header: JsonObject) -> set[tuple[str, str]]:
        """See Terms."""
        return {
            (str(entry.get("image_id")), str(entry.get("category_id")))
            for entry in header.get(LABELS_KEY) or ()
            if isinstance(entry, dict)
        }


class LvisTerms(CocoTerms):
    """As COCO; each image has two lists of categories."""

    def image_record(self, record: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms."""
        lists = {
            key: [ids.category(value) for value in record[key]]
            for key in (NEGATIVE, NOT_EXHAUSTIVE)
            if ids.categories and isinstance(record.get(key), list)
        }
        changed = {key: value for key, value in lists.items() if value != record[key]}
        return {**super().image_record(record, ids), **changed}


def _with(record: JsonObject, key: str, value: Any) -> JsonObject:
    return record if key not in record or record[key] == value else {**record, key: value}


def _entries(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    """Those of both lists, each once, as it was."""
    return list({json.dumps(entry): entry for entry in (*one, *other)}.values())


def _labels(one: Sequence[Any], other: Any, content: AnnotationSet) -> list[Any]:
    """Entries of both. Where the newer file says something of a pair, the older do not count.

    What a person decided does, unless the newer file has an entry of the pair.
    """
    newer = other if isinstance(other, list) else []
    entered = {_pair(entry) for entry in newer} - {None}
    stated = {(json.dumps(x.image_id), json.dumps(x.category_id)) for x in content.labels}
    again = {json.dumps(entry) for entry in newer}
    kept = [
        entry
        for entry in one
        if json.dumps(entry) in again
        or (_pair(entry) not in entered and (_is_decided(entry) or _pair(entry) not in stated))
    ]
    return _entries(kept, newer)


def _is_decided(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("source") in _DECIDED


def _pair(entry: Any) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return None
    return json.dumps(entry.get("image_id")), json.dumps(entry.get("category_id"))


def _licenses(one: Any, other: Any) -> tuple[list[Any] | None, dict[Any, int]]:
    """Those of both, and new ids for those of the second whose id means another license."""
    if not isinstance(one, list) or not isinstance(other, list):
        return None, {}
    known = {entry["id"]: entry for entry in one if _has_number(entry)}
    said = [entry["id"] for entry in other if _has_number(entry)]
    free = max([*known, *said, 0]) + 1
    renamed: dict[Any, int] = {}
    found = list(one)
    for entry in other:
        if entry in one:
            continue
        taken = _has_number(entry) and entry["id"] in known
        same = next((x for x in one if taken and _but_id(x) == _but_id(entry)), None)
        if same is not None:
            renamed[entry["id"]] = same["id"]
        elif taken:
            renamed[entry["id"]] = free
            found.append({**entry, "id": free})
            free += 1
        else:
            found.append(entry)
    return found, renamed


def _but_id(entry: Any) -> Any:
    return {k: v for k, v in entry.items() if k != "id"} if isinstance(entry, dict) else entry


def _has_number(entry: Any) -> bool:
    return isinstance(entry, dict) and type(entry.get("id")) is int


def _relicensed(image: ImageRecord, renamed: dict[Any, int]) -> ImageRecord:
    license_ = image.record.get("license")
    if not isinstance(license_, int | str) or license_ not in renamed:
        return image
    return replace(image, record={**image.record, "license": renamed[license_]})
