"""What is stored already of a file that comes again, read as a stream: it may be a million rows.

And what an import takes back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Executable, Text, bindparam, delete, func, select, type_coerce
from sqlalchemy.orm import Session

from clsl_core.types import JsonObject, LabelSource, LabelState
from db.models import Annotation, Category, Image, Label, SourceFile

BATCH = 5_000
"""Rows that are held at once beside what is made of them."""
PAGE = 500
"""Ids in one statement."""


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


def pictures(session: Session, dataset_id: int) -> Iterator[tuple[int, str, str, str | None]]:
    """Id, the file's own id as JSON, file name and fingerprint of every image, in order."""
    query = select(Image.id, Image.source_id, Image.file_name, Image.fingerprint)
    query = query.where(Image.dataset_id == dataset_id).order_by(Image.position)
    for row in _stream(session, query):
        yield row[0], row[1], row[2], row[3]


def keys(
    session: Session, table: type[Image] | type[Category], dataset_id: int
) -> Iterator[tuple[str, int]]:
    """The file's own id as JSON, and ours, of each image or category of a dataset."""
    query = select(table.source_id, table.id).where(table.dataset_id == dataset_id)
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


def image_records(session: Session, dataset_id: int) -> Iterator[tuple[str, JsonObject]]:
    """The file's own id as JSON, and the record, of every image."""
    query = select(Image.source_id, Image.record).where(Image.dataset_id == dataset_id)
    for row in _stream(session, query):
        yield row[0], row[1]


def sources(session: Session, dataset_id: int) -> Sequence[SourceFile]:
    """The files of a dataset, in the order in which they came."""
    query = select(SourceFile).where(SourceFile.dataset_id == dataset_id).order_by(SourceFile.id)
    return session.scalars(query).all()


def count_sources(session: Session, dataset_id: int) -> int:
    """How many files a dataset came from."""
    query = select(func.count()).where(SourceFile.dataset_id == dataset_id)
    return session.scalar(query) or 0


def drawn(session: Session, dataset_id: int) -> Iterator[tuple[int, int | None, int | None, str]]:
    """Id, image, category and record (as it is stored) of every annotation, in order."""
    query = select(
        Annotation.id,
        Annotation.image_id,
        Annotation.category_id,
        type_coerce(Annotation.record, Text),
    )
    query = query.where(Annotation.dataset_id == dataset_id).order_by(Annotation.position)
    for row in _stream(session, query):
        yield row[0], row[1], row[2], row[3]


def annotations_with_source(
    session: Session, dataset_id: int
) -> Iterator[tuple[int, int | None, str, str | None]]:
    """Id, image, record (as it is stored) and the file's own id of every annotation, in order."""
    query = select(
        Annotation.id,
        Annotation.image_id,
        type_coerce(Annotation.record, Text),
        Annotation.source_id,
    )
    query = query.where(Annotation.dataset_id == dataset_id).order_by(Annotation.position)
    for row in _stream(session, query):
        yield row[0], row[1], row[2], row[3]


def next_position(session: Session, dataset_id: int) -> int:
    """The place of the next annotation."""
    query = select(func.max(Annotation.position)).where(Annotation.dataset_id == dataset_id)
    last = session.scalar(query)
    return 0 if last is None else last + 1


def annotated_pairs(
    session: Session, image_ids: Collection[int], without: Collection[int]
) -> set[tuple[int | None, int | None]]:
    """The pairs of image and category that annotations name, some annotations left out."""
    found: set[tuple[int | None, int | None]] = set()
    for some in _pages(list(image_ids)):
        query = select(Annotation.id, Annotation.image_id, Annotation.category_id)
        for id_, image_id, category_id in session.execute(
            query.where(Annotation.image_id.in_(some))
        ):
            if id_ not in without:
                found.add((image_id, category_id))
    return found


def predicted_pairs(session: Session, category_ids: Collection[int]) -> set[tuple[int, int]]:
    """The pairs whose label came as a prediction that was declared final."""
    query = select(Label.image_id, Label.category_id, Label.provenance).where(
        Label.category_id.in_(list(category_ids)), Label.provenance.is_not(None)
    )
    return {(row[0], row[1]) for row in _stream(session, query) if "score" in (row[2] or {})}


def delete_labels(session: Session, pairs: Sequence[tuple[int, int]]) -> None:
    """Take back what files said of pairs; never what a person did."""
    one = delete(Label).where(
        Label.image_id == bindparam("image"),
        Label.category_id == bindparam("category"),
        Label.source == LabelSource.IMPORT,
    )
    rows = [{"image": image_id, "category": category_id} for image_id, category_id in pairs]
    if rows:
        session.connection().execute(one, rows)


def delete_annotations(session: Session, ids: Sequence[int]) -> None:
    """Remove annotations."""
    for some in _pages(ids):
        session.execute(
            delete(Annotation).where(Annotation.id.in_(some)),
            execution_options={"synchronize_session": False},
        )


def label_counts(
    session: Session, *, image_id: int | None = None, category_id: int | None = None
) -> tuple[int, int]:
    """How many labels an image or a category has, and how many of them people gave."""
    wanted = Label.category_id == category_id if image_id is None else Label.image_id == image_id
    query = select(func.count(), func.count(Label.decision_id)).where(wanted)
    labels, decided = session.execute(query).one()
    return labels, decided


def names_of_pair(session: Session, image_id: int, category_id: int) -> tuple[str, str]:
    """The file name of an image and the name of a category."""
    image = session.scalar(select(Image.file_name).where(Image.id == image_id))
    category = session.scalar(select(Category.name).where(Category.id == category_id))
    return image or "", category or ""


def _stream(session: Session, query: Executable) -> Iterator[Any]:
    return iter(session.execute(query, execution_options={"yield_per": BATCH}))


def _pages(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), PAGE):
        yield ids[start : start + PAGE]
