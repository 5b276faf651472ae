"""The labels of a file that was declared exhaustive, without holding all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import overload

from clsl_core.types import LabelRecord, LabelState, SourceId

__all__ = ["ExhaustiveLabels"]


class ExhaustiveLabels(Sequence[LabelRecord]):
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

    def __len__(self) -> int:
        return len(self._images) * len(self._categories)

    def __iter__(self) -> Iterator[LabelRecord]:
        for image in self._images:
            for category in self._categories:
                yield self._label(image, category)

    @overload
    def __getitem__(self, index: int) -> LabelRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LabelRecord]: ...
    def __getitem__(self, index: int | slice) -> LabelRecord | Sequence[LabelRecord]:
        positions = range(len(self))[index]
        if isinstance(positions, range):
            return [self._at(position) for position in positions]
        return self._at(positions)

    def _at(self, position: int) -> LabelRecord:
        row, column = divmod(position, len(self._categories))
        return self._label(self._images[row], self._categories[column])

    def _label(self, image: SourceId, category: SourceId) -> LabelRecord:
        stated = self._stated.get((image, category))
        return stated or LabelRecord(image, category, LabelState.ABSENT)
