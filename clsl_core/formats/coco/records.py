"""The three record lists of a COCO file, checked one record at a time."""

from __future__ import annotations

import ntpath
import re
from collections.abc import Container, Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import TypeGuard

from clsl_core.formats.findings import Findings
from clsl_core.formats.text.json_source import kind_of
from clsl_core.formats.text.record_store import RecordStore
from clsl_core.types import (
    AnnotationRecord,
    CategoryRecord,
    ImageRecord,
    JsonObject,
    LabelRecord,
    LabelState,
    SourceId,
)

__all__ = [
    "UNSTORABLE",
    "CocoRecords",
    "id_of",
    "is_id",
    "known_id",
    "leaves_root",
    "predicted_score",
    "side_of",
]

UNSTORABLE = re.compile("[\ud800-\udfff\x00]")
"""Lone surrogates and NUL: legal in JSON, impossible in UTF-8 files or PostgreSQL text."""


def is_id(value: object) -> TypeGuard[SourceId]:
    """Whether a value can be an id as it stands: an integer or text; ``true`` cannot."""
    if isinstance(value, str):
        return not UNSTORABLE.search(value)
    return isinstance(value, int) and not isinstance(value, bool)


def id_of(value: object) -> SourceId | None:
    """The id that a JSON value is, or None; ``1.0`` is 1, as JSON has one kind of number."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if is_id(value) else None


def known_id(value: object, known: Container[SourceId]) -> SourceId | None:
    """Which of the known ids a reference means, or None.

    A text is also the number that it spells, and a number the text, where no id is the one and
    one is the other: some tools write the two lists of a file in different types.
    """
    wanted = id_of(value)
    if wanted is None or wanted in known:
        return wanted
    other: SourceId | None = None
    if isinstance(wanted, int):
        other = str(wanted)
    elif _NUMBER.fullmatch(wanted):
        other = int(wanted)
    return other if other is not None and other in known else None


_LOOKED_AT = 1_000
"""Annotations that are looked at to say why none of them belongs to the file."""

_NUMBER = re.compile("-?(0|[1-9][0-9]{0,17})")


def predicted_score(record: JsonObject) -> float | None:
    """The score of an annotation that a model made; None for one that a person drew.

    Detectors and model-assisted tools write it, and COCO's own annotations have none.
    """
    score = record.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float):
        return None
    return float(score) if -1e300 < score < 1e300 else None


class CocoRecords:
    """Images, categories and annotations of one parsed file, in source order.

    Attributes:
        images, categories, annotations: The records that could be used.
        predicted: The best score of each pair that a model's annotations name.
        image_ids, category_ids: Their ids; dicts, for order and fast look-up.
    """

    def __init__(self, document: JsonObject, findings: Findings) -> None:
        self._findings = findings
        self.image_ids: dict[SourceId, int] = {}
        self.category_ids: dict[SourceId, int] = {}
        self._file_names: dict[str, int] = {}
        self._category_names: dict[str, int] = {}
        self._annotation_ids: dict[SourceId, int] = {}
        self._pairs: dict[tuple[SourceId, SourceId], None] = {}
        self._told: set[str] = set()
        self.predicted: dict[tuple[SourceId, SourceId], float] = {}
        self.images = self._read_images(document)
        self.categories = [
            category
            for where, record in self._objects(document, "categories")
            if (category := self._category(where, record))
        ]
        self.annotations = self._read_annotations(document)
        self._explain_strangers(document)

    def _read_images(self, document: JsonObject) -> Sequence[ImageRecord]:
        return [
            image
            for where, record in self._objects(document, "images")
            if (image := self._image(where, record))
        ]

    def _read_annotations(self, document: JsonObject) -> Sequence[AnnotationRecord]:
        return [
            self._annotation(where, record)
            for where, record in self._objects(document, "annotations")
        ]

    def _explain_strangers(self, document: JsonObject) -> None:
        """Say in one line when no annotation at all belongs to this file."""
        if not self.annotations or self._has_pairs():
            return
        for kind, known in (("image", self.image_ids), ("category", self.category_ids)):
            stated = [record.get(f"{kind}_id") for record in self._first(document["annotations"])]
            if len(stated) > 1 and known and not any(known_id(x, known) in known for x in stated):
                self._findings.warn(
                    "no-annotation-belongs",
                    "annotations",
                    f"no annotation names a {kind} of this file, so none gives a label: their "
                    f"{kind}_id is {kind_of(stated[0])}, an id here is {next(iter(known))!a:.60}; "
                    "was the file put together of two?",
                )

    def _has_pairs(self) -> bool:
        return bool(self._pairs or self.predicted)

    @staticmethod
    def _first(records: Sequence[object]) -> list[JsonObject]:
        found = (record for record in records if isinstance(record, dict))
        return list(islice(found, _LOOKED_AT))

    def annotated_labels(self) -> dict[tuple[SourceId, SourceId], LabelRecord]:
        """One PRESENT label for each image × category with at least one annotation."""
        return {pair: LabelRecord(*pair, LabelState.PRESENT) for pair in self._pairs}

    def proposals(self) -> list[LabelRecord]:
        """What a model's annotations say: never a label."""
        return [
            LabelRecord(*pair, LabelState.PRESENT, "model", score=score)
            for pair, score in self.predicted.items()
        ]

    def has_annotation(self, label: LabelRecord) -> bool:
        """Whether an annotation of the label's category exists in its image."""
        return (label.image_id, label.category_id) in self._pairs

    def stated_file_name(self, record: JsonObject) -> object:
        """What an image record calls its file."""
        return record.get("file_name")

    def _objects(self, document: JsonObject, key: str) -> Iterator[tuple[str, JsonObject]]:
        """The records of one list with their addresses; what is no object is reported."""
        if key not in document:
            self._missing_list(key, sorted(document))
            return
        records = document[key]
        if not isinstance(records, list | RecordStore):
            message = f"{key} is {kind_of(records)}; a list was expected"
            self._findings.error("wrong-type", key, message)
            return
        if not records and key == "images":
            self._findings.error("no-images", key, "the list of images is empty")
        if not records and key == "categories":
            message = "the list of categories is empty: there is nothing to label yet"
            self._findings.warn("no-categories", key, message)
        for index, record in enumerate(records):
            if isinstance(record, dict):
                yield f"{key}[{index}]", record
            else:
                self._not_an_object(f"{key}[{index}]", record)

    def _not_an_object(self, where: str, record: object) -> None:
        message = f"found {kind_of(record)}, expected an object"
        self._findings.error("wrong-type", where, message)

    def _missing_list(self, key: str, present: list[str]) -> None:
        found = ", ".join(f"{name:.40}" for name in present[:10]) or "nothing"
        if key == "annotations":
            message = "there is no list of annotations; read as a collection without any"
            self._findings.warn("missing-key", key, message)
            return
        message = f"there is no list {key!r}; found at the top level: {found!a}"
        self._findings.error("missing-key", key, message)

    def _new_id(
        self, where: str, record: JsonObject, seen: dict[SourceId, int], kind: str
    ) -> SourceId | None:
        """The id of an image or category, or None when it cannot be used."""
        value = self._id(where, record)
        if value is None:
            return None
        if value in seen:
            message = (
                f"the {kind} id {value!a:.60} is also that of entry {seen[value]} of this list, so "
                "annotations cannot tell the two apart; give one a new id"
            )
            self._findings.error(f"duplicate-{kind}-id", where, message)
            return None
        seen[value] = _index(where)
        return value

    def _id(self, where: str, record: JsonObject) -> SourceId | None:
        """The id of a record; what cannot be one is reported."""
        stated = record.get("id")
        value = id_of(stated)
        if value is None:
            message = f"the id is {kind_of(stated)}; a whole number or text was expected"
            self._findings.error("bad-id", where, message)
        elif isinstance(stated, float):
            self._tell_once("float-ids", where, f"ids such as {stated} are read as {value}")
        return value

    def _tell_once(self, code: str, where: str, message: str) -> None:
        if code not in self._told:
            self._told.add(code)
            self._findings.warn(code, where, f"{message}; the records go out as they came")

    def _image(self, where: str, record: JsonObject) -> ImageRecord | None:
        source_id = self._new_id(where, record, self.image_ids, "image")
        file_name = self._file_name(where, record)
        if source_id is None or file_name is None:
            return None
        sides = [self._side(where, record, key) for key in ("width", "height")]
        return ImageRecord(source_id, file_name, sides[0], sides[1], record)

    def _file_name(self, where: str, record: JsonObject) -> str | None:
        value = self.stated_file_name(record)
        if not isinstance(value, str) or not value.strip():
            message = f"file_name is {kind_of(value)}; a name was expected{_named(record)}"
            self._findings.error("bad-file-name", where, message)
            return None
        name = self._storable(where, record, value, "file_name")
        if leaves_root(name):
            message = f"file_name {name!a:.200} leaves the image folder; the picture stays closed"
            self._findings.warn("unsafe-file-name", where, message + _named(record))
        if name in self._file_names:
            message = f"file_name {name!a:.200} is also that of images[{self._file_names[name]}]"
            self._findings.warn("duplicate-file-name", where, message + _named(record))
        self._file_names.setdefault(name, _index(where))
        return name

    def _side(self, where: str, record: JsonObject, key: str) -> int | None:
        value = record.get(key)
        side = side_of(value)
        if side is None and value is not None:
            message = f"{key} is {kind_of(value)}; treated as not known{_named(record)}"
            self._findings.warn("odd-size", where, message)
        return side

    def _category(self, where: str, record: JsonObject) -> CategoryRecord | None:
        source_id = self._new_id(where, record, self.category_ids, "category")
        name = self._category_name(where, record)
        if source_id is None or name is None:
            return None
        above = record.get("supercategory")
        if isinstance(above, str):
            above = self._storable(where, record, above, "supercategory")
        return CategoryRecord(source_id, name, above if isinstance(above, str) else None, record)

    def _category_name(self, where: str, record: JsonObject) -> str | None:
        value = record.get("name")
        if isinstance(value, int) and not isinstance(value, bool):
            message = f"the name is {kind_of(value)}; read as text{_named(record)}"
            self._findings.warn("number-as-name", where, message)
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            message = f"the name is {kind_of(value)}; text was expected{_named(record)}"
            self._findings.error("bad-name", where, message)
            return None
        name = self._storable(where, record, value, "name")
        if name in self._category_names:
            other = self._category_names[name]
            message = f"the name {name!a:.200} is also that of categories[{other}]; both are kept"
            self._findings.warn("duplicate-category-name", where, message + _named(record))
        self._category_names.setdefault(name, _index(where))
        return name

    def _storable(self, where: str, record: JsonObject, value: str, key: str) -> str:
        """The text with U+FFFD for what cannot be stored; the record itself stays as it is."""
        name = UNSTORABLE.sub("\ufffd", value)
        if name != value:
            message = f"{key} {value!a:.200} holds text that cannot be stored; shown as \ufffd"
            self._findings.warn("odd-text", where, message + _named(record))
        return name

    def _annotation(self, where: str, record: JsonObject) -> AnnotationRecord:
        source_id = self._annotation_id(where, record)
        image_id = self._reference(where, record, "image", self.image_ids)
        category_id = self._reference(where, record, "category", self.category_ids)
        if image_id is not None and category_id is not None:
            score, pair = predicted_score(record), (image_id, category_id)
            if score is None:
                self._pairs[pair] = None
            else:
                self.predicted[pair] = max(score, self.predicted.get(pair, score))
        return AnnotationRecord(source_id, image_id, category_id, record)

    def _annotation_id(self, where: str, record: JsonObject) -> SourceId | None:
        if record.get("id") is None:
            return None
        value = self._id(where, record)
        if value is None:
            return None
        if value in self._annotation_ids:
            other = self._annotation_ids[value]
            message = f"the id {value!a:.60} is also that of annotations[{other}]; both are kept"
            self._findings.warn("duplicate-annotation-id", where, message)
        self._annotation_ids.setdefault(value, _index(where))
        return value

    def _reference(
        self, where: str, record: JsonObject, kind: str, known: dict[SourceId, int]
    ) -> SourceId | None:
        """The image or category an annotation names, or None when there is no such one."""
        value = record.get(f"{kind}_id")
        if value is not None and id_of(value) is None:
            message = f"{kind}_id is {kind_of(value)}; a whole number or text was expected"
            self._findings.error("bad-id", where, message + _named(record))
            return None
        meant = known_id(value, known)
        if meant is not None and meant in known:
            if type(value) is not type(meant):
                told = f"{kind}_id such as {value!a:.60} are read as the id {meant!a:.60}"
                self._tell_once(f"{kind}-ids-of-another-type", where, told)
            return meant
        message = f"{kind}_id is {kind_of(value)}, which is not in this file; kept, gives no label"
        self._findings.warn(f"missing-{kind}", where, message + _named(record))
        return None


def side_of(value: object) -> int | None:
    """A side in pixels, or None where the value cannot be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31:
        return value
    return None


def _index(where: str) -> int:
    return int(where[where.index("[") + 1 : -1])


def _named(record: JsonObject) -> str:
    return f" (id {record['id']!a:.60})" if "id" in record else ""


def leaves_root(name: str) -> bool:
    """Whether a file name is absolute (on any system) or climbs out of its folder."""
    parts = name.replace("\\", "/").split("/")
    absolute = PurePosixPath(name).is_absolute() or name.startswith("\\")
    return absolute or bool(ntpath.splitdrive(name)[0]) or ".." in parts
