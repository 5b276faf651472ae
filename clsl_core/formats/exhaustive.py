"""The labels of a file that was declared exhaustive, without holding all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from clsl_core.formats.lazy_sequence import LazySequence
from clsl_core.types import LabelRecord, LabelState, SourceId

__all__ = ["ExhaustiveLabels"]


class ExhaustiveLabels(LazySequence[LabelRecord]):
    """One label for every image × category, image by image: the stated one, or ABSENT.

    Labels are made on the way out, so a hundred thousand images of a thousand categories cost
    the memory of the stated labels only.
    """

    def __init__(
        self,
        image_ids: Collection[SourceId],
        category_ids: Collection[SourceId],
        stated: Mapping[tuple[SourceId, SourceId], LabelRecord],
    ) -> None:
        self._images = tuple(image_ids)
        self._categories = tuple(category_ids)
        self._stated = stated

    def with_stated(
        self, more: Mapping[tuple[SourceId, SourceId], LabelRecord]
    ) -> ExhaustiveLabels:
        """The same with more labels stated, where none is yet."""
        return ExhaustiveLabels(self._images, self._categories, {**more, **self._stated})

    def __len__(self) -> int:
        return len(self._images) * len(self._categories)

    def __iter__(self) -> Iterator[LabelRecord]:
        for image in self._images:
            for category in self._categories:
                yield self._label(image, category)

    def _at(self, index: int) -> LabelRecord:
        row, column = divmod(index, len(self._categories))
        return self._label(self._images[row], self._categories[column])

    def _label(self, image: SourceId, category: SourceId) -> LabelRecord:
        stated = self._stated.get((image, category))
        return stated or LabelRecord(image, category, LabelState.ABSENT)
