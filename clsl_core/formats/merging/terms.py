"""What every format must tell so that a second file can be put beside a first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, overload

from clsl_core.formats import sidecar
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    JsonObject,
    LabelRecord,
    SourceId,
)

__all__ = ["NewIds", "Speaks", "Terms"]

R = TypeVar("R")

Speaks = Callable[[SourceId, SourceId], bool]
"""Whether a file says something of a pair, if only by leaving out its label."""


@dataclass(frozen=True, slots=True)
class NewIds:
    """Ids of a file that are others in the dataset; those that are the same are not in it."""

    images: Mapping[SourceId, SourceId]
    categories: Mapping[SourceId, SourceId]

    def __bool__(self) -> bool:
        return bool(self.images or self.categories)

    def image(self, id_: Any) -> Any:
        """What an image is called in the dataset; anything that is no id of one stays."""
        return self.images.get(id_, id_) if isinstance(id_, int | str) else id_

    def category(self, id_: Any) -> Any:
        """What a category is called in the dataset; anything that is no id of one stays."""
        return self.categories.get(id_, id_) if isinstance(id_, int | str) else id_


class Terms:
    """One format. This one says nothing of its records: they are not united.

    Attributes:
        unites: Whether the records of several files go out together as they came.
        ids_are_paths: An image is called by its file name.
        ids_are_places: A category is called by its place in a list of the header.
        has_annotation_ids: Annotations are records of their own, with ids.
    """

    unites = False
    ids_are_paths = False
    ids_are_places = False
    has_annotation_ids = False

    def renumbered(self, content: AnnotationSet, ids: NewIds) -> AnnotationSet:
        """The set with other ids, wherever they stand in it."""
        if not ids:
            return content

        def image(one: ImageRecord) -> ImageRecord:
            record = self.image_record(one.record, ids)
            return replace(one, source_id=ids.image(one.source_id), record=record)

        def category(one: CategoryRecord) -> CategoryRecord:
            record = self.category_record(one.record, ids)
            return replace(one, source_id=ids.category(one.source_id), record=record)

        def annotation(one: AnnotationRecord) -> AnnotationRecord:
            return AnnotationRecord(
                one.source_id,
                ids.image(one.image_id),
                ids.category(one.category_id),
                self.annotation_record(one.record, ids),
            )

        def label(one: LabelRecord) -> LabelRecord:
            pair = ids.image(one.image_id), ids.category(one.category_id)
            return replace(one, image_id=pair[0], category_id=pair[1])

        return AnnotationSet(
            content.format,
            self.header(content.header, ids),
            Changed(content.images, image),
            [category(one) for one in content.categories],
            Changed(content.annotations, annotation),
            Changed(content.labels, label),
            [label(one) for one in content.proposals],
        )

    def image_record(self, record: JsonObject, ids: NewIds) -> JsonObject:
        """An image's record with other ids."""
        del ids
        return record

    def category_record(self, record: JsonObject, ids: NewIds) -> JsonObject:
        """A category's record with other ids."""
        del ids
        return record

    def annotation_record(self, record: JsonObject, ids: NewIds) -> JsonObject:
        """An annotation's record with other ids."""
        del ids
        return record

    def header(self, header: JsonObject, ids: NewIds) -> JsonObject:
        """A header with other ids: the provenance that lies beside a file, whatever the format."""
        rows = header.get(sidecar.HEADER_KEY)
        if not isinstance(rows, list):
            return header
        return {**header, sidecar.HEADER_KEY: provenance_with(rows, ids)}

    def united(self, own: JsonObject, content: AnnotationSet, order: int) -> AnnotationSet:
        """The set with the header of both, and its records as that header means them.

        Args:
            own: The header of the dataset.
            content: What comes to it, with the dataset's ids.
            order: How many files came before.
        """
        del order
        return replace(content, header=union_of(own, content.header))

    def joined(
        self,
        before: JsonObject | None,
        after: JsonObject,
        spoken: Collection[SourceId],
        header: JsonObject,
    ) -> JsonObject:
        """The record of an image or category that two files have.

        Args:
            before: What is stored; None for a new one.
            after: What ``united`` gave.
            spoken: The categories that the newer file names.
            header: That of both.
        """
        del before, spoken, header
        return after

    def speaks(self, content: AnnotationSet) -> Speaks:
        """Of which pairs a file says something, if only by leaving out their label."""
        images = {image.source_id for image in content.images}
        categories = {category.source_id for category in content.categories}
        return lambda image, category: image in images and category in categories

    def redraws(self, record: JsonObject) -> bool:
        """Whether an image's record tells all boxes of the image."""
        del record
        return True

    def header_pairs(self, header: JsonObject) -> set[tuple[str, str]]:
        """The pairs whose label a header tells, ids as text."""
        return {
            (str(row["image"]), str(row["category"])) for row in header.get(sidecar.HEADER_KEY, ())
        }


class Changed(Sequence[R], Generic[R]):
    """A sequence whose members are changed on the way out, none of it held."""

    def __init__(self, source: Sequence[R], change: Callable[[R], R]) -> None:
        self._source, self._change = source, change

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[R]:
        return map(self._change, self._source)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        if isinstance(index, slice):
            return [self._change(one) for one in self._source[index]]
        return self._change(self._source[index])


def union_of(own: JsonObject, other: JsonObject) -> JsonObject:
    """Two headers: of what both have the newer, but all rows of provenance."""
    rows = united_provenance(own.get(sidecar.HEADER_KEY), other.get(sidecar.HEADER_KEY))
    return {**own, **other, **({sidecar.HEADER_KEY: rows} if rows else {})}


def united_provenance(one: object, other: object) -> list[JsonObject]:
    """The rows of both, one for each pair: the newer."""
    both = [*(one if isinstance(one, list) else ()), *(other if isinstance(other, list) else ())]
    return list({(row["image"], row["category"]): row for row in both}.values())


def provenance_with(rows: Sequence[Any], ids: NewIds) -> list[Any]:
    """Rows as in the sidecar with other ids, which are text there."""
    images = {str(key): str(value) for key, value in ids.images.items()}
    categories = {str(key): str(value) for key, value in ids.categories.items()}

    def changed(row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        image, category = str(row.get("image")), str(row.get("category"))
        new = {"image": images.get(image, image), "category": categories.get(category, category)}
        return {**row, **new}

    return [changed(row) for row in rows]
