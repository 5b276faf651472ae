"""A stored dataset as an annotation set, its long lists read from the database as they are used."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.services.categories.effects import Effects
from app.services.exporting.part import Selection
from app.services.importing.rows import stated_split
from clsl_core.formats.coco.labels import LABELS_KEY
from clsl_core.formats.coco.records import is_id
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    JsonObject,
    Progress,
    SourceId,
)
from db.models import Annotation, Category, Dataset, Image

__all__ = ["StoredRows", "content_of"]

PAGE = 1_000
_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")

R = TypeVar("R")


class StoredRows(Sequence[R], Generic[R]):
    """Images or annotations of a dataset by position, read page by page.

    The session must stay open as long as this is read.

    Args:
        session: Where to read.
        table: Image or Annotation.
        wanted: Condition of the rows: of one dataset.
        columns: What is read of each row.
        make: Gives the record of a row's columns.
        progress: Told how many were read.
    """

    def __init__(
        self,
        session: Session,
        table: type[Image] | type[Annotation],
        wanted: ColumnElement[bool],
        columns: Sequence[Any],
        make: Callable[..., R],
        progress: Progress,
    ) -> None:
        self._session, self._table, self._wanted = session, table, wanted
        self._columns, self._make, self._progress = columns, make, progress
        counted = select(func.count()).select_from(table).where(wanted)
        self._count = session.scalar(counted) or 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[R]:
        query = select(self._table.id).where(self._wanted)
        ids = array("q", self._session.scalars(query.order_by(self._table.position)))
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE].tolist()
            chosen = select(self._table.id, *self._columns).where(self._table.id.in_(page))
            rows = {row[0]: row[1:] for row in self._session.execute(chosen)}
            for id_ in page:
                yield self._make(*rows[id_])
            what = f"writing {self._table.__tablename__}s"
            self._progress(min(start + PAGE, len(ids)), len(ids), what)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        return list(self)[index]


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
    image_ids = dict(_source_ids(session, Image, part.images))
    category_rows = session.scalars(
        select(Category).where(part.categories).order_by(Category.position)
    ).all()
    category_ids = {row.id: json.loads(row.source_id) for row in category_rows}
    header = dataset.header
    left_out: frozenset[SourceId] = frozenset()
    if effects.into:
        header = effects.header(header, {json.dumps(key): id_ for id_, key in image_ids.items()})
    if not part.whole:
        kept_images, kept = set(image_ids.values()), set(category_ids.values())
        of_dataset = Category.dataset_id == dataset.id
        left_out = frozenset(dict(_source_ids(session, Category, of_dataset)).values()) - kept
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

    columns = (Image.id, Image.file_name, Image.width, Image.height, Image.split, Image.record)
    annotation_columns = (Annotation.image_id, Annotation.category_id, Annotation.record)
    annotations = part.annotations(dataset.id)
    return AnnotationSet(
        format=dataset.format,
        header=header,
        images=StoredRows(session, Image, part.images, columns, image, progress),
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
            session, Annotation, annotations, annotation_columns, annotation, progress
        ),
        labels=[],
    )


def _source_ids(
    session: Session, table: type[Image] | type[Category], wanted: ColumnElement[bool]
) -> Iterator[tuple[int, SourceId]]:
    for id_, source_id in session.execute(select(table.id, table.source_id).where(wanted)):
        yield id_, json.loads(source_id)


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
        and is_id(label.get("image_id"))
        and is_id(label.get("category_id"))
        and label["image_id"] in images
        and label["category_id"] in categories
    ]
    return {**header, LABELS_KEY: kept}


def _without_categories(record: JsonObject, left_out: Collection[SourceId]) -> JsonObject:
    """An LVIS image without the categories that do not go along."""
    lists = {key: record[key] for key in _LISTS if isinstance(record.get(key), list)}
    return record | {
        key: [id_ for id_ in ids if not (is_id(id_) and id_ in left_out)]
        for key, ids in lists.items()
    }
