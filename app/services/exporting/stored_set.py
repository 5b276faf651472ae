"""A stored dataset as an annotation set, its long lists read from the database as they are used."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from app.services.categories.effects import Effects
from app.services.exporting.part import Selection
from app.services.importing.rows import stated_split
from clsl_core.formats.coco.labels import LABELS_KEY
from clsl_core.formats.coco.records import known_id
from clsl_core.formats.lazy_sequence import LazySequence
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    JsonObject,
    Progress,
    SourceId,
)
from db.models import Annotation, Dataset, Image
from db.queries import export

__all__ = ["StoredRows", "content_of"]

PAGE = 1_000
_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")

R = TypeVar("R")


class StoredRows(LazySequence[R]):
    """Images or annotations of a dataset by position, read page by page.

    The session must stay open as long as this is read.

    Args:
        session: Where to read.
        table: Image or Annotation.
        wanted: Condition of the rows: of one dataset.
        read: Gives the columns of rows by their ids.
        make: Gives the record of a row's columns.
        progress: Told how many were read.
    """

    def __init__(
        self,
        session: Session,
        table: export.Table,
        wanted: export.Condition,
        read: Callable[[Session, Collection[int]], dict[int, tuple[Any, ...]]],
        make: Callable[..., R],
        progress: Progress,
    ) -> None:
        self._session, self._table, self._wanted = session, table, wanted
        self._read, self._make, self._progress = read, make, progress
        self._count = export.count(session, table, wanted)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[R]:
        ids = export.ids_in_order(self._session, self._table, self._wanted)
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE].tolist()
            rows = self._read(self._session, page)
            for id_ in page:
                yield self._make(*rows[id_])
            what = f"writing {self._table.__tablename__}s"
            self._progress(min(start + PAGE, len(ids)), len(ids), what)

    def _at(self, index: int) -> R:
        id_ = export.ids_in_order(self._session, self._table, self._wanted)[index]
        return self._make(*self._read(self._session, [id_])[id_])


def content_of(
    session: Session, dataset: Dataset, progress: Progress, part: Selection, effects: Effects
) -> AnnotationSet:
    """A dataset or a part of it without its labels, as its file was.

    What was done to its categories here, and the splits given here, are in the records.

    Args:
        session: Must stay open as long as the set is used.
        dataset: Which one.
        progress: Told of records while the lists are read.
        part: Which images and categories.
        effects: What was done to its categories.
    """
    places = export.image_places(session, part)
    image_ids: dict[int, SourceId] = {id_: json.loads(key) for id_, (_, key) in places.items()}
    category_rows = export.categories(session, part)
    category_ids = {row.id: json.loads(row.source_id) for row in category_rows}
    header = dataset.header
    left_out: frozenset[SourceId] = frozenset()
    if effects.into:
        header = effects.header(header, {json.dumps(key): id_ for id_, key in image_ids.items()})
    if not part.whole:
        kept_images, kept = set(image_ids.values()), set(category_ids.values())
        left_out = frozenset(export.category_keys(session, dataset.id)) - kept
        header = _header_of_part(header, kept_images, kept)

    def image(
        id_: int, file_name: str, width: int, height: int, split: str | None, record: Any
    ) -> ImageRecord:
        if split is not None and split != stated_split(record):
            record = {**record, "split": split}
        if effects.into and dataset.format == "lvis":
            record = effects.image(id_, record)
        if left_out and dataset.format == "lvis":
            record = _without_categories(record, left_out)
        return ImageRecord(image_ids[id_], file_name, width, height, record)

    def annotation(image_id: int | None, category_id: int | None, record: Any) -> AnnotationRecord:
        return AnnotationRecord(
            record.get("id"),
            image_ids.get(image_id or 0),
            category_ids.get(effects.into.get(category_id or 0, category_id or 0)),
            effects.annotation(category_id, record),
        )

    return AnnotationSet(
        format=dataset.format,
        header=header,
        images=StoredRows(session, Image, part.images, export.images_of, image, progress),
        categories=[
            CategoryRecord(
                category_ids[row.id],
                row.name,
                row.supercategory,
                effects.category(row.id, row.record),
            )
            for row in category_rows
        ],
        annotations=StoredRows(
            session, Annotation, part.annotations, export.annotations_of, annotation, progress
        ),
        labels=[],
    )


def _header_of_part(
    header: JsonObject, images: Collection[SourceId], categories: Collection[SourceId]
) -> JsonObject:
    """The top level of COCO's family with only the labels of a part."""
    labels = header.get(LABELS_KEY)
    if not isinstance(labels, list):
        return header
    kept = [
        label
        for label in labels
        if isinstance(label, dict)
        and known_id(label.get("image_id"), images) in images
        and known_id(label.get("category_id"), categories) in categories
    ]
    return {**header, LABELS_KEY: kept}


def _without_categories(record: JsonObject, left_out: Collection[SourceId]) -> JsonObject:
    """An LVIS image without the categories that do not go along."""
    lists = {key: record[key] for key in _LISTS if isinstance(record.get(key), list)}
    return record | {
        key: [id_ for id_ in ids if known_id(id_, left_out) not in left_out]
        for key, ids in lists.items()
    }
