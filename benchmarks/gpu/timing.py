"""How long work takes on a device whose work goes on after the call returns."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

__all__ = ["median_seconds"]


def median_seconds(
    work: Callable[[], object], device: torch.device, repeats: int, warm_up: int = 1
) -> float:
    """Median over ``repeats`` calls, by events on a card and by the clock elsewhere.

    Args:
        work: Does the same at each call.
        device: Where it works.
        repeats: Calls that count, at least one.
        warm_up: Calls before them that do not.
    """
    timer = _by_events if device.type == "cuda" else _by_clock
    times = [timer(work) for _ in range(warm_up + repeats)]
    return float(np.median(times[warm_up:]))


def _by_clock(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _by_events(work: Callable[[], object]) -> float:
    start, end = (_event() for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000.0


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
