"""How much anybody may send: requests a second, by a bucket that fills again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BURST_SECONDS = 5.0
MOST_BUCKETS = 10_000


class RateLimit:
    """A bucket for each caller: full it holds BURST_SECONDS of requests.

    Args:
        per_second: How fast a bucket fills; 0 sets no limit.
        clock: Seconds that never go back.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._full = max(1.0, per_second * BURST_SECONDS)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, caller: str) -> float:
        """Take one request out of a caller's bucket.

        Returns:
            0 when it may go on, else after how many seconds there is room again.
        """
        if not self._rate:
            return 0.0
        moment = self._clock()
        with self._lock:
            left, since = self._buckets.pop(caller, (self._full, moment))
            left = min(self._full, left + (moment - since) * self._rate)
            allowed = left >= 1.0
            self._buckets[caller] = (left - 1.0 if allowed else left, moment)
            if len(self._buckets) > MOST_BUCKETS:  # the longest unused goes: it is full again
                self._buckets.pop(next(iter(self._buckets)))
        return 0.0 if allowed else (1.0 - left) / self._rate
