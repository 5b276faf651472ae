"""A stored dataset as an annotation set, its long lists read from the database as they are used."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services.category_effects import Effects
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    Progress,
    SourceId,
)
from db.models import Annotation, Category, Dataset, Image
from db.queries import datasets

__all__ = ["StoredRows", "content_of"]

PAGE = 1_000

R = TypeVar("R")


class StoredRows(Sequence[R], Generic[R]):
    """The images or annotations of a dataset by position, read page by page.

    The session must stay open as long as this is read.

    Args:
        session: Where to read.
        table: Image or Annotation.
        dataset_id: Of which dataset.
        columns: What is read of each row.
        make: Gives the record of a row's columns.
        progress: Told how many were read.
    """

    def __init__(
        self,
        session: Session,
        table: type[Image] | type[Annotation],
        dataset_id: int,
        columns: Sequence[Any],
        make: Callable[..., R],
        progress: Progress,
    ) -> None:
        self._session, self._table, self._dataset_id = session, table, dataset_id
        self._columns, self._make, self._progress = columns, make, progress
        counted = select(func.count()).select_from(table).where(table.dataset_id == dataset_id)
        self._count = session.scalar(counted) or 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[R]:
        query = select(self._table.id).where(self._table.dataset_id == self._dataset_id)
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
    session: Session, dataset: Dataset, progress: Progress, effects: Effects
) -> AnnotationSet:
    """A dataset without its labels, as its file was but for what was done to its categories.

    Args:
        session: Must stay open as long as the set is used.
        dataset: Which one.
        progress: Told of records while the lists are read.
        effects: What was done to its categories.
    """

    def source_ids(table: type[Image] | type[Category]) -> dict[int, SourceId]:
        query = select(table.id, table.source_id).where(table.dataset_id == dataset.id)
        return {id_: json.loads(source_id) for id_, source_id in session.execute(query)}

    images, categories = source_ids(Image), source_ids(Category)
    category_rows = datasets.categories(session, dataset.id)
    header = dataset.header
    if effects.into:
        header = effects.header(header, {json.dumps(key): id_ for id_, key in images.items()})

    def image(id_: int, file_name: str, width: int, height: int, record: Any) -> ImageRecord:
        if effects.into and dataset.format == "lvis":
            record = effects.image(id_, record)
        return ImageRecord(images[id_], file_name, width, height, record)

    def annotation(image_id: int | None, category_id: int | None, record: Any) -> AnnotationRecord:
        return AnnotationRecord(
            record.get("id"),
            images.get(image_id or 0),
            categories.get(effects.into.get(category_id or 0, category_id or 0)),
            effects.annotation(category_id, record),
        )

    image_columns = (Image.id, Image.file_name, Image.width, Image.height, Image.record)
    annotation_columns = (Annotation.image_id, Annotation.category_id, Annotation.record)
    return AnnotationSet(
        format=dataset.format,
        header=header,
        images=StoredRows(session, Image, dataset.id, image_columns, image, progress),
        categories=[
            CategoryRecord(
                categories[row.id],
                row.name,
                row.supercategory,
                effects.category(row.id, row.record),
            )
            for row in category_rows
        ],
        annotations=StoredRows(
            session, Annotation, dataset.id, annotation_columns, annotation, progress
        ),
        labels=[],
    )
