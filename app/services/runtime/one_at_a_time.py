"""Of several threads that want the same thing made, one makes it while the others wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["OneAtATime"]


class OneAtATime:
    """A lock for each thing, which is there as long as somebody wants it."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._locks: dict[Hashable, Lock] = {}
        self._wanted: Counter[Hashable] = Counter()

    @contextmanager
    def take(self, thing: Hashable) -> Iterator[None]:
        """Wait for those who are at the same thing; inside the block nobody else is."""
        with self._guard:
            lock = self._locks.setdefault(thing, Lock())
            self._wanted[thing] += 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                self._wanted[thing] -= 1
                if not self._wanted[thing]:
                    del self._wanted[thing], self._locks[thing]
