"""What is stored already of a file that comes again, read as a stream: it may be a million rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Executable, Text, select, type_coerce
from sqlalchemy.orm import Session

from clsl_core.types import LabelSource, LabelState
from db.models import Annotation, Category, Image, Label

BATCH = 5_000
"""Rows that are held at once beside what is made of them."""


class StoredImage(NamedTuple):
    """An image as it is stored; ``key`` is the file's own id as JSON."""

    id: int
    key: str
    record: dict[str, Any]
    reason: str | None
    file_name: str


def images(session: Session, dataset_id: int) -> Iterator[StoredImage]:
    """All images of a dataset."""
    query = select(Image.id, Image.source_id, Image.record, Image.reason, Image.file_name)
    for row in _stream(session, query.where(Image.dataset_id == dataset_id)):
        yield StoredImage(*row)


def keys(
    session: Session, table: type[Image] | type[Category], dataset_id: int
) -> Iterator[tuple[str, int]]:
    """The file's own id as JSON, and ours, of each image or category of a dataset."""
    query = select(table.source_id, table.id).where(table.dataset_id == dataset_id)
    yield from _stream(session, query)


def annotation_texts(session: Session, dataset_id: int) -> Iterator[tuple[int, str]]:
    """Id and record of each annotation in source order; the record as its text stands."""
    query = select(Annotation.id, type_coerce(Annotation.record, Text))
    query = query.where(Annotation.dataset_id == dataset_id).order_by(Annotation.position)
    yield from _stream(session, query)


def labels(
    session: Session, category_ids: Collection[int]
) -> Iterator[tuple[int, int, LabelState, LabelSource]]:
    """Every label of some categories: ids of image and category, state, source."""
    query = select(Label.image_id, Label.category_id, Label.state, Label.source)
    for row in _stream(session, query.where(Label.category_id.in_(list(category_ids)))):
        yield row[0], row[1], row[2], row[3]


def names(
    session: Session, dataset_id: int, image_key: str, category_key: str
) -> tuple[str | None, str | None]:
    """File name and category name of a pair that is named by the file's own ids as JSON."""
    image = select(Image.file_name).where(
        Image.dataset_id == dataset_id, Image.source_id == image_key
    )
    category = select(Category.name).where(
        Category.dataset_id == dataset_id, Category.source_id == category_key
    )
    return session.scalar(image), session.scalar(category)


def _stream(session: Session, query: Executable) -> Iterator[Any]:
    return iter(session.execute(query, execution_options={"yield_per": BATCH}))
