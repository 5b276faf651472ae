"""The records of a long list that stay in their file: places in memory, content on the disk."""

from __future__ import annotations

import json
import os
import weakref
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from clsl_core.errors import FormatError
from clsl_core.formats.lazy_sequence import LazySequence

__all__ = ["LazyRecords", "RecordStore"]

_BLOCK = 2**20
_LIMIT = 2**62
"""Whole numbers from here on do not fit the columns; their records are held in memory."""

R = TypeVar("R")


class RecordStore(LazySequence[Any]):
    """The values of one list of a JSON file, read from it again whenever they are wanted.

    The file stays open, so that it may be renamed or deleted meanwhile; when it is written over
    in place, reading ends in an error.

    Args:
        path: The file.
        keys: The ids that are wanted of each record without reading it again.
    """

    def __init__(self, path: Path, keys: Sequence[str] = ()) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._handle)
        self._name = path.name
        self._state = self._now()
        self._starts = array("q")
        self._lengths = array("q")
        self._kept: dict[int, Any] = {}
        self._ids = {key: array("q") for key in keys}

    def append(self, value: Any, start: int, length: int, *, as_it_stands: bool) -> None:
        """Note the next value.

        Args:
            value: The value, as parsed.
            start: Its first byte in the file.
            length: Its bytes.
            as_it_stands: Whether parsing the same bytes again gives the same value. It is held
                in memory when not, and when one of its ids is no plain number.
        """
        index = len(self._starts)
        self._starts.append(start)
        self._lengths.append(length)
        plain = as_it_stands
        for key, column in self._ids.items():
            number = value.get(key) if type(value) is dict else None
            if type(number) is int and -_LIMIT < number < _LIMIT:
                column.append(number)
            else:
                column.append(0)
                plain = False
        if not plain:
            self._kept[index] = value

    def extend(self, values: list[Any], starts: list[int], lengths: list[int]) -> bool:
        """Note objects whose ids are all plain numbers; False, and nothing noted, when one is not.

        Args:
            values: The next values, each as parsing its bytes again gives it.
            starts: The first byte of each in the file.
            lengths: The bytes of each.
        """
        ids = {key: [value.get(key) for value in values] for key in self._ids}
        for numbers in ids.values():
            if (
                set(map(type, numbers)) != {int}
                or max(numbers) >= _LIMIT
                or min(numbers) <= -_LIMIT
            ):
                return False
        for key, numbers in ids.items():
            self._ids[key].extend(numbers)
        self._starts.extend(starts)
        self._lengths.extend(lengths)
        return True

    @property
    def kept(self) -> dict[int, Any]:
        """The values held in memory, by their place in the list."""
        return self._kept

    def column(self, key: str) -> npt.NDArray[np.int64]:
        """(N,) the ids under a key; 0 where the value is ``kept``."""
        return np.frombuffer(self._ids[key], np.int64) if self._starts else np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._starts)

    def _at(self, index: int) -> Any:
        if index in self._kept:
            return self._kept[index]
        return json.loads(os.pread(self._handle, self._lengths[index], self._starts[index]))

    def __iter__(self) -> Iterator[Any]:
        for index, text in enumerate(self.texts()):
            yield self._kept[index] if index in self._kept else json.loads(text)

    def texts(self) -> Iterator[str]:
        """The JSON of each value, letter by letter as in the file.

        Raises:
            FormatError: When the file was written over since it was opened.
        """
        block, begin = b"", 0
        for start, length in zip(self._starts, self._lengths, strict=True):
            if start < begin or start + length > begin + len(block):
                block = os.pread(self._handle, max(length, _BLOCK), start)
                begin = start
                if self._now() != self._state:
                    raise FormatError(f"{self._name} changed while it was read: start again")
            yield block[start - begin : start - begin + length].decode()
        if self._now() != self._state:
            raise FormatError(f"{self._name} changed while it was read: start again")

    def _now(self) -> tuple[int, int]:
        state = os.fstat(self._handle)
        return state.st_size, state.st_mtime_ns


class LazyRecords(LazySequence[R]):
    """Records that are made on the way out of stored values.

    Args:
        store: The values.
        make: Gives the record of the value at a place.
    """

    def __init__(self, store: RecordStore, make: Callable[[int, Any], R]) -> None:
        self.store = store
        self._make = make

    def mapped(self, change: Callable[[R], R]) -> LazyRecords[R]:
        """The same records, each changed on its way out."""
        make = self._make
        return LazyRecords(self.store, lambda index, value: change(make(index, value)))

    def __len__(self) -> int:
        return len(self.store)

    def __iter__(self) -> Iterator[R]:
        for index, value in enumerate(self.store):
            yield self._make(index, value)

    def _at(self, index: int) -> R:
        return self._make(index, self.store[index])
