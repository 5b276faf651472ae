"""How far a training is, passed on now and then."""

from __future__ import annotations

import time

from clsl_core.types import Progress

__all__ = ["Ticker"]


class Ticker:
    """Passes progress on, at most five times a second; what that raises stops the training."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.done, self.total, self.what = 0, 1, "preparing"
        self._last = 0.0

    def __call__(self) -> None:
        """Say that the work goes on."""
        now = time.monotonic()
        if now - self._last >= 0.2:
            self._last = now
            self.progress(self.done, self.total, self.what)

    def at(self, done: int, total: int, what: str) -> None:
        """Say how far the work is."""
        self.done, self.total, self.what = done, total, what
        self()
