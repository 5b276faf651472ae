"""The record lists of a long COCO file, checked while their content stays in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Ids
from clsl_core.formats.coco.records import UNSTORABLE, CocoRecords, id_of, known_id, side_of
from clsl_core.formats.findings import Findings
from clsl_core.formats.lazy_sequence import LazySequence
from clsl_core.formats.text.record_store import LazyRecords, RecordStore
from clsl_core.types import (
    AnnotationRecord,
    ImageRecord,
    JsonObject,
    LabelRecord,
    LabelState,
    SourceId,
)

__all__ = ["LISTS", "PairLabels", "StoredAnnotations", "StoredCocoRecords"]

LISTS = {"images": (), "annotations": ("id", "image_id", "category_id")}
"""The lists that stay in the file, and the ids wanted of each record."""

_PIECE = 10_000

Pair = tuple[SourceId, SourceId]


class StoredAnnotations(LazyRecords[AnnotationRecord]):
    """Annotations of a ``RecordStore``, and a way past parsing them again."""

    def rows(self) -> Iterator[tuple[SourceId | None, SourceId | None, str | JsonObject]]:
        """Image id, category id (whether known or not) and the record, as JSON where it can be."""
        kept = self.store.kept
        images, categories = self.store.column("image_id"), self.store.column("category_id")
        for index, text in enumerate(self.store.texts()):
            if index in kept:
                record = self[index]
                yield record.image_id, record.category_id, record.record
            else:
                yield int(images[index]), int(categories[index]), text


class PairLabels(LazySequence[LabelRecord]):
    """A PRESENT label for each annotated pair, by image and category, made on the way out."""

    def __init__(self, images: Ids, categories: Ids, other: Iterable[Pair]) -> None:
        self._images, self._categories = images, categories
        self._other = list(other)

    def __len__(self) -> int:
        return len(self._images) + len(self._other)

    def pairs(self) -> Iterator[Pair]:
        """Image id and category id of each label, without making it."""
        for start in range(0, len(self._images), _PIECE):
            piece = slice(start, start + _PIECE)
            yield from zip(
                self._images[piece].tolist(), self._categories[piece].tolist(), strict=True
            )
        yield from self._other

    def _at(self, index: int) -> LabelRecord:
        if index < len(self._images):
            pair = int(self._images[index]), int(self._categories[index])
            return LabelRecord(*pair, LabelState.PRESENT)
        image_id, category_id = self._other[index - len(self._images)]
        return LabelRecord(image_id, category_id, LabelState.PRESENT)


class StoredCocoRecords(CocoRecords):
    """As ``CocoRecords``, for a document whose long lists are ``RecordStore``.

    Annotations with plain ids are checked as columns; only those where something is odd are read
    again, and told of one by one.
    """

    def __init__(self, document: JsonObject, findings: Findings) -> None:
        none = np.zeros(0, np.int64)
        self._pair_columns = none, none
        self._pair_keys = self._rows = self._columns = none
        super().__init__(document, findings)

    def _read_images(self, document: JsonObject) -> Sequence[ImageRecord]:
        store = document.get("images")
        if not isinstance(store, RecordStore):
            return super()._read_images(document)
        for where, record in self._objects(document, "images"):
            self._image(where, record)
        return LazyRecords(store, self._made_image)

    def _read_annotations(self, document: JsonObject) -> Sequence[AnnotationRecord]:
        store = document.get("annotations")
        if not isinstance(store, RecordStore):
            return super()._read_annotations(document)
        images, categories = store.column("image_id"), store.column("category_id")
        plain = np.ones(len(store), bool)
        plain[list(store.kept)] = False
        predicted = np.fromiter(('"score"' in text for text in store.texts()), bool, len(store))
        known = (
            plain
            & ~predicted
            & _is_in(images, self.image_ids)
            & _is_in(categories, self.category_ids)
        )
        odd = ~known | self._repeated(store, plain)
        for index in np.flatnonzero(odd).tolist():
            where, record = f"annotations[{index}]", store[index]
            if isinstance(record, dict):
                self._annotation(where, record)
            else:
                self._not_an_object(where, record)
        self._known_pairs(images[known], categories[known])
        return StoredAnnotations(store, self._made_annotation)

    @staticmethod
    def _repeated(store: RecordStore, plain: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which annotations may share their id with another."""
        ids = store.column("id")
        found, counts = np.unique(ids[plain], return_counts=True)
        others = {record.get("id") for record in store.kept.values() if _has_plain_id(record)}
        twice = np.union1d(found[counts > 1], np.array(sorted(others), np.int64))
        return plain & np.isin(ids, twice)

    def _known_pairs(self, images: Ids, categories: Ids) -> None:
        """Keep the distinct pairs as columns, in the order of their ids."""
        width = max(len(self.category_ids), 1)
        rows, row = np.unique(images, return_inverse=True)
        columns, column = np.unique(categories, return_inverse=True)
        keys, first = np.unique(row * width + column, return_index=True)
        self._pair_columns = images[first], categories[first]
        self._pair_keys, self._rows, self._columns = keys, rows, columns
        for pair in [pair for pair in self._pairs if self._in_columns(*pair)]:
            del self._pairs[pair]

    def _in_columns(self, image_id: SourceId, category_id: SourceId) -> bool:
        if not (_is_plain(image_id) and _is_plain(category_id)) or not len(self._pair_keys):
            return False
        row = _place(self._rows, int(image_id))
        column = _place(self._columns, int(category_id))
        if row is None or column is None:
            return False
        key = row * max(len(self.category_ids), 1) + column
        return _place(self._pair_keys, key) is not None

    def _has_pairs(self) -> bool:
        return super()._has_pairs() or len(self._pair_keys) > 0

    def pair_labels(self) -> PairLabels:
        """One PRESENT label for each image × category with at least one annotation."""
        return PairLabels(*self._pair_columns, self._pairs)

    def annotated_labels(self) -> dict[tuple[SourceId, SourceId], LabelRecord]:
        """As ``pair_labels``, by pair."""
        return {(label.image_id, label.category_id): label for label in self.pair_labels()}

    def has_annotation(self, label: LabelRecord) -> bool:
        """Whether an annotation of the label's category exists in its image."""
        pair = (label.image_id, label.category_id)
        return pair in self._pairs or self._in_columns(*pair)

    def _made_image(self, _index: int, record: JsonObject) -> ImageRecord:
        name = UNSTORABLE.sub("\ufffd", str(self.stated_file_name(record)))
        sides = [side_of(record.get(key)) for key in ("width", "height")]
        return ImageRecord(id_of(record["id"]) or 0, name, sides[0], sides[1], record)

    def _made_annotation(self, _index: int, record: JsonObject) -> AnnotationRecord:
        def known(key: str, ids: dict[SourceId, int]) -> SourceId | None:
            meant = known_id(record.get(key), ids)
            return meant if meant in ids else None

        return AnnotationRecord(
            id_of(record.get("id")),
            known("image_id", self.image_ids),
            known("category_id", self.category_ids),
            record,
        )


def _is_plain(value: object) -> bool:
    return type(value) is int and -(2**62) < value < 2**62


def _has_plain_id(record: object) -> bool:
    return isinstance(record, dict) and _is_plain(record.get("id"))


def _is_in(values: Ids, ids: Iterable[SourceId]) -> npt.NDArray[np.bool_]:
    return np.isin(values, np.array([value for value in ids if _is_plain(value)], np.int64))


def _place(ordered: Ids, value: int) -> int | None:
    place = int(np.searchsorted(ordered, value))
    return place if place < len(ordered) and ordered[place] == value else None
