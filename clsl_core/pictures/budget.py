"""How many pixels are decoded at the same time: what one picture takes, a hundred must not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

__all__ = ["DECODING", "PixelBudget"]


class PixelBudget:
    """Lets those go on who together have few enough pixels; one that has more goes on alone.

    Args:
        most: Pixels at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._changed = Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for so many, and hold it inside the block."""
        wanted = min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._taken + wanted <= self._most)
            self._taken += wanted
        try:
            yield
        finally:
            with self._changed:
                self._taken -= wanted
                self._changed.notify_all()


DECODING = PixelBudget(50_000_000)
"""Of this process: at 4 to 8 bytes a pixel, 400 MB."""
