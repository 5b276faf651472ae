"""What an export reads: a part of a dataset as conditions, its rows, and its labels of now."""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, exists, func, not_, or_, select
from sqlalchemy.orm import Session, aliased

from clsl_core.types import LabelSource, LabelState, SourceId
from db.models import Annotation, Annotator, Category, Decision, Image, Label, Proposal

Table = type[Image] | type[Annotation]
Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Selection:
    """A part of a dataset as conditions.

    Attributes:
        dataset_id: Of which dataset.
        images: On ``Image``.
        categories: On ``Category``.
        drawn: Ids of the categories whose annotations go along: these, and what is part of them.
        whole: It is all of the dataset.
    """

    dataset_id: int
    images: Condition
    categories: Condition
    drawn: tuple[int, ...]
    whole: bool

    @property
    def annotations(self) -> Condition:
        """On ``Annotation``; of a part, those that point nowhere stay behind."""
        own = Annotation.dataset_id == self.dataset_id
        if self.whole:
            return own
        return and_(
            own,
            Annotation.image_id.in_(select(Image.id).where(self.images)),
            Annotation.category_id.in_(self.drawn),
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which images go in.

    Attributes:
        split: Of this split; None for any.
        prefix: Whose file name begins so; None for any.
        among: Labels of these categories count for the two below; None for all categories.
        reviewed: Somebody here gave a label.
        complete: So many labels are known; None where that does not matter.
    """

    split: str | None = None
    prefix: str | None = None
    among: Collection[int] | None = None
    reviewed: bool = False
    complete: int | None = None


def selection(
    dataset_id: int,
    wanted: Wanted,
    category_ids: Collection[int],
    drawn: Collection[int],
    *,
    whole: bool,
) -> Selection:
    """A part of a dataset: which images, of which categories."""
    images: list[Condition] = [Image.dataset_id == dataset_id]
    if wanted.split is not None:
        images.append(Image.split == wanted.split)
    if wanted.prefix is not None:
        images.append(func.substr(Image.file_name, 1, len(wanted.prefix)) == wanted.prefix)
    label = aliased(Label)  # whoever uses the condition may have labels of its own
    here = [label.image_id == Image.id]
    if wanted.among is not None:
        here.append(label.category_id.in_(wanted.among))
    if wanted.reviewed:
        images.append(exists().where(*here, label.decision_id.is_not(None)))
    if wanted.complete is not None:
        count = select(func.count()).select_from(label).where(*here)
        images.append(count.correlate(Image).scalar_subquery() == wanted.complete)
    categories = Category.id.in_(category_ids)
    return Selection(dataset_id, and_(*images), categories, tuple(drawn), whole)


class Sizes(NamedTuple):
    """How much there is of each."""

    images: int
    categories: int
    annotations: int


def sizes(session: Session, part: Selection) -> Sizes:
    """How many images, categories and annotations a part has."""
    return Sizes(
        count(session, Image, part.images),
        session.scalar(select(func.count()).select_from(Category).where(part.categories)) or 0,
        count(session, Annotation, part.annotations),
    )


def count(session: Session, table: Table, wanted: Condition) -> int:
    """How many rows are wanted."""
    return session.scalar(select(func.count()).select_from(table).where(wanted)) or 0


def ids_in_order(session: Session, table: Table, wanted: Condition) -> array[int]:
    """The ids of the wanted rows, in source order: 8 bytes each."""
    query = select(table.id).where(wanted).order_by(table.position)
    return array("q", session.scalars(query))


def images_of(session: Session, ids: Collection[int]) -> dict[int, tuple[Any, ...]]:
    """By id: the id, file name, width, height, split and record."""
    query = select(Image.id, Image.file_name, Image.width, Image.height, Image.split, Image.record)
    return {row[0]: tuple(row) for row in session.execute(query.where(Image.id.in_(ids)))}


def annotations_of(session: Session, ids: Collection[int]) -> dict[int, tuple[Any, ...]]:
    """By id: the ids of image and category, and the record."""
    query = select(
        Annotation.id, Annotation.image_id, Annotation.category_id, Annotation.record
    ).where(Annotation.id.in_(ids))
    return {row[0]: tuple(row[1:]) for row in session.execute(query)}


def categories(session: Session, part: Selection) -> Sequence[Category]:
    """The categories of a part, in source order."""
    query = select(Category).where(part.categories)
    return session.scalars(query.order_by(Category.position)).all()


def image_places(session: Session, part: Selection) -> dict[int, tuple[int, str]]:
    """By the id of each image of a part: its position, and the file's own id as JSON."""
    query = select(Image.id, Image.position, Image.source_id).where(part.images)
    return {id_: (position, key) for id_, position, key in session.execute(query)}


def category_places(session: Session, part: Selection) -> dict[int, tuple[int, str]]:
    """By the id of each category of a part: its position, and the file's own id as JSON."""
    query = select(Category.id, Category.position, Category.source_id).where(part.categories)
    return {id_: (position, key) for id_, position, key in session.execute(query)}


def category_keys(session: Session, dataset_id: int) -> set[SourceId]:
    """The file's own ids of all categories of a dataset, the merged ones too."""
    query = select(Category.source_id).where(Category.dataset_id == dataset_id)
    return {json.loads(key) for key in session.scalars(query)}


class Given(NamedTuple):
    """A label that somebody gave here; ``image`` and ``category`` are the file's ids as JSON."""

    image: str
    category: str
    state: LabelState
    source: LabelSource
    moment: datetime
    annotator: str
    run_id: int | None
    score: float | None


def given_here(
    session: Session, part: Selection, sources: Collection[LabelSource]
) -> Iterator[Given]:
    """The labels of some sources that people gave here, by image and category."""
    query = (
        _labels(
            part,
            Image.source_id,
            Category.source_id,
            Label.state,
            Label.source,
            Decision.created_at,
            Annotator.name,
            Proposal.model_run_id,
            Proposal.score,
        )
        .join(Decision, Decision.id == Label.decision_id)
        .join(Annotator, Annotator.id == Decision.annotator_id)
        .outerjoin(Proposal, Proposal.id == Decision.proposal_id)
        .where(Label.source.in_(sources))
    )
    for row in session.execute(query):
        yield Given(*row)


class Known(NamedTuple):
    """A label with what was imported beside it; the ids are the file's, as JSON."""

    image: str
    category: str
    state: LabelState
    source: LabelSource
    provenance: dict[str, Any] | None


def every(session: Session, part: Selection, sources: Collection[LabelSource]) -> Iterator[Known]:
    """All labels but those given here that are of no wanted source, by image and category."""
    wanted = or_(Label.decision_id.is_(None), Label.source.in_(sources))
    for row in session.execute(_known(part).where(wanted)):
        yield Known(*row)


def imported_of(
    session: Session, part: Selection, category_ids: Collection[int]
) -> Iterator[Known]:
    """What came with the file and is known of some categories, by image and category."""
    wanted = (Category.id.in_(category_ids), Label.decision_id.is_(None))
    for row in session.execute(_known(part).where(*wanted)):
        yield Known(*row)


def imported(session: Session, part: Selection, *, undrawn: bool) -> Iterator[Known]:
    """What came with files, by image and category.

    Args:
        session: Reads.
        part: Of which part.
        undrawn: Leave out what an annotation says and nothing else is known of.
    """
    query = _known(part).where(Label.decision_id.is_(None))
    if undrawn:
        drawn = exists().where(
            Annotation.image_id == Label.image_id, Annotation.category_id == Label.category_id
        )
        bare = and_(Label.state == LabelState.PRESENT, Label.provenance.is_(None))
        query = query.where(not_(and_(bare, drawn)))
    for row in session.execute(query):
        yield Known(*row)


def given_counts(
    session: Session, part: Selection, sources: Collection[LabelSource]
) -> list[tuple[LabelSource, LabelState, int]]:
    """How many labels of some sources people gave here, PRESENT first."""
    query = _counts(part).where(Label.decision_id.is_not(None), Label.source.in_(sources))
    rows = session.execute(query.order_by(Label.source, Label.state.desc()))
    return [(source, state, number) for source, state, number in rows]


def imported_present(session: Session, part: Selection) -> int:
    """How many labels came as present."""
    wanted = (Label.state == LabelState.PRESENT, Label.source == LabelSource.IMPORT)
    return sum(number for _, _, number in session.execute(_counts(part).where(*wanted)))


def newest(
    session: Session, part: Selection, sources: Collection[LabelSource], limit: int
) -> list[tuple[str, str, LabelState, LabelSource, str, datetime]]:
    """The newest labels given here: names of file and category, state, source, by whom, when."""
    query = (
        select(
            Image.file_name,
            Category.name,
            Label.state,
            Label.source,
            Annotator.name,
            Decision.created_at,
        )
        .join(Label, Label.decision_id == Decision.id)
        .join(Image, Image.id == Label.image_id)
        .join(Category, Category.id == Label.category_id)
        .join(Annotator, Annotator.id == Decision.annotator_id)
        .where(part.images, part.categories, Label.source.in_(sources))
        .order_by(Decision.id.desc())
        .limit(limit)
    )
    return [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in session.execute(query)]


def _known(part: Selection) -> Select[Any]:
    return _labels(
        part, Image.source_id, Category.source_id, Label.state, Label.source, Label.provenance
    )


def _labels(part: Selection, *columns: Any) -> Select[Any]:
    """Labels of a part in the order of its images and categories."""
    return (
        select(*columns)
        .select_from(Label)
        .join(Image, Image.id == Label.image_id)
        .join(Category, Category.id == Label.category_id)
        .where(part.images, part.categories)
        .order_by(Image.position, Category.position)
    )


def _counts(part: Selection) -> Select[LabelSource, LabelState, int]:
    query = select(Label.source, Label.state, func.count()).join(
        Category, Category.id == Label.category_id
    )
    if not part.whole:
        query = query.join(Image, Image.id == Label.image_id).where(part.images)
    return query.where(part.categories).group_by(Label.source, Label.state)
