"""A file that comes into a dataset which is there already, put into the dataset's terms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from app.services.importing.identity import (
    Match,
    Matched,
    PicturesThere,
    StoredCategory,
    StoredImage,
    Undecided,
    free_ids,
    match_categories,
    match_images,
)
from app.services.runtime.legible import legible
from clsl_core.errors import ConflictError
from clsl_core.formats.merging import NewIds, Terms, terms_of
from clsl_core.types import (
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    JsonObject,
    SourceId,
)
from db.models import Dataset
from db.queries import datasets, imported

__all__ = ["SecondFile", "UndecidedError", "adopt"]

TOLD = 10


class UndecidedError(ConflictError):
    """Ids and names of a file tell different things, and somebody must say which counts.

    Attributes:
        undecided: Both readings of each id.
    """

    def __init__(self, undecided: Sequence[Undecided]) -> None:
        self.undecided = tuple(undecided)
        told = [f"{one.kind} {one.source_id!r}: {_both(one)}" for one in undecided[:TOLD]]
        more = len(undecided) - len(told)
        lines = [*told, *([f"and {more:,} more"] if more else [])]
        super().__init__(
            "nothing was written: ids and names of this file tell different things. "
            + "; ".join(lines)
            + ". Say which counts: --match names where another thing has the old id, --match ids "
            "where the same thing has another name"
        )


def _both(one: Undecided) -> str:
    before, now = legible(one.before), legible(one.now)
    if one.kind == "picture":
        return (
            f"{before!r} and {now!r} are different pictures of one name (names or ids: {now!r} "
            "takes the place of the other; give them different names if they are two)"
        )
    return f"was {before!r} and is {now!r} (names: {now!r} is new; ids: {before!r} is called so)"


@dataclass(frozen=True, slots=True)
class SecondFile:
    """What a file is to the dataset that it comes into.

    Attributes:
        content: With the dataset's ids, under the header of both.
        terms: Of its format.
        ids: From the file's ids to the dataset's, where they differ.
        renamed: New ids, by the ones that stored images have now: their ids are their paths.
        speaks: Of which pairs the file says something, if only by leaving out their label.
        told: Pairs whose label the header tells, ids as text.
        redrawn: Images whose boxes the file tells, all of them.
    """

    content: AnnotationSet
    terms: Terms
    ids: NewIds
    renamed: Mapping[SourceId, SourceId]
    speaks: Any
    told: set[tuple[str, str]] = field(default_factory=set)
    redrawn: frozenset[SourceId] = frozenset()


def adopt(
    session: Session,
    dataset: Dataset,
    content: AnnotationSet,
    how: Match,
    pictures: PicturesThere,
) -> SecondFile:
    """Match a file with a dataset and put it into the dataset's terms; nothing is written.

    Args:
        session: Sees the dataset.
        dataset: The one that the file comes into, of the same format.
        content: What was read.
        how: What counts where ids and names disagree.
        pictures: What can be told of the pictures.

    Raises:
        UndecidedError: It cannot be told what is the same.
    """
    terms = terms_of(content.format)
    images, stored_images = _images(session, dataset.id, content, how, pictures)
    categories, stored_categories = _categories(session, dataset.id, content, how)
    if undecided := [*categories.undecided, *images.undecided]:
        raise UndecidedError(undecided)
    renamed: dict[SourceId, SourceId] = {}
    if terms.ids_are_paths:
        renamed = {old: new for new, old in images.known.items() if old != new}
        new_images: dict[SourceId, SourceId] = {}
    else:
        new_images = _new_ids(content.images, images, stored_images)
    new_categories = _new_ids(
        content.categories, categories, stored_categories, places=terms.ids_are_places
    )
    ids = NewIds(new_images, new_categories)
    own = terms.header(dataset.header, NewIds(renamed, {})) if renamed else dataset.header
    order = imported.count_sources(session, dataset.id)
    content = terms.united(own, terms.renumbered(content, ids), order)
    speaks, told = terms.speaks(content), terms.header_pairs(content.header)
    redrawn: frozenset[SourceId] = frozenset()
    if not terms.has_annotation_ids:
        redrawn = frozenset(x.source_id for x in content.images if terms.redraws(x.record))
        content = _joined(session, dataset.id, content, terms, renamed)
    return SecondFile(content, terms, ids, renamed, speaks, told, redrawn)


def _images(
    session: Session,
    dataset_id: int,
    content: AnnotationSet,
    how: Match,
    pictures: PicturesThere,
) -> tuple[Matched, list[SourceId]]:
    stored = [
        StoredImage(row, json.loads(key), name, fingerprint)
        for row, key, name, fingerprint in imported.pictures(session, dataset_id)
    ]
    matched = match_images(stored, content.images, how, pictures)
    return matched, [one.source_id for one in stored]


def _categories(
    session: Session, dataset_id: int, content: AnnotationSet, how: Match
) -> tuple[Matched, list[SourceId]]:
    stored = []
    for row in datasets.categories(session, dataset_id, hidden=True):
        named = row.record.get("name")
        names = dict.fromkeys((named if isinstance(named, str) else row.name, row.name))
        key: SourceId = json.loads(row.source_id)
        stored.append(StoredCategory(row.id, key, tuple(names), row.supercategory))
    matched = match_categories(stored, content.categories, how)
    return matched, [one.source_id for one in stored]


def _new_ids(
    found: Sequence[ImageRecord] | Sequence[CategoryRecord],
    matched: Matched,
    stored: Sequence[SourceId],
    *,
    places: bool = False,
) -> dict[SourceId, SourceId]:
    """From the file's ids to the dataset's, where they differ."""
    changed = {new: old for new, old in matched.known.items() if new != old}
    new = [one.source_id for one in found if one.source_id not in matched.known]
    return changed | dict(free_ids(new, stored, places=places))


def _joined(
    session: Session,
    dataset_id: int,
    content: AnnotationSet,
    terms: Terms,
    renamed: Mapping[SourceId, SourceId],
) -> AnnotationSet:
    """The set with what the dataset's records say besides."""
    records = {json.loads(key): one for key, one in imported.image_records(session, dataset_id)}
    before = {renamed.get(key, key): record for key, record in records.items()}
    spoken = {one.source_id for one in content.categories}

    def joined(old: JsonObject | None, record: JsonObject) -> JsonObject:
        new = terms.joined(old, record, spoken, content.header)
        return old if old == new else new  # keys in another order are no news

    images = [replace(x, record=joined(before.get(x.source_id), x.record)) for x in content.images]
    categories = list(content.categories)
    if any("rows" in one.record for one in categories):  # of a table that names them alone
        kept = {
            json.loads(row.source_id): row.record
            for row in datasets.categories(session, dataset_id, hidden=True)
        }
        categories = [
            replace(x, record=joined(kept.get(x.source_id), x.record)) for x in categories
        ]
    return replace(content, images=images, categories=categories)
