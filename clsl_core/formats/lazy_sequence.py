"""Sequences whose items are made on the way out, so that a million of them cost no memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, overload

__all__ = ["LazySequence", "OneAfterTheOther"]

T = TypeVar("T")


class LazySequence(Sequence[T], Generic[T]):
    """What a class with ``__len__`` and ``_at`` lacks to be a sequence."""

    @abstractmethod
    def _at(self, index: int) -> T:
        """The item at a place from 0 to the length."""

    def __iter__(self) -> Iterator[T]:
        return map(self._at, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        places = range(len(self))[index]
        return [self._at(i) for i in places] if isinstance(places, range) else self._at(places)


class OneAfterTheOther(LazySequence[T]):
    """Two sequences as one, neither copied."""

    def __init__(self, first: Sequence[T], second: Sequence[T]) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __iter__(self) -> Iterator[T]:
        yield from self._first
        yield from self._second

    def _at(self, index: int) -> T:
        first = len(self._first)
        return self._first[index] if index < first else self._second[index - first]
