"""Minimising many separate smooth convex objectives at once, and saying how it ended.

Newton's method with a backtracking line search (Nocedal and Wright 2006, algorithms 3.1 and 7.1):
no step is taken that does not lower the objective, so saturated or separable inputs cannot make a
fit run away. A fit ends when what a further step could gain is next to nothing. One that does not
get there is an event: it is kept at its start, logged, and counted for whoever listens
(``counting_fits``), so that no run is built on numbers that no optimum stands behind.

Letters: G objectives (a category each, say), V variables of each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Doubles

__all__ = ["FitCount", "Objective", "Outcome", "count_fit", "counting_fits", "minimise"]

log = logging.getLogger(__name__)


_SUFFICIENT = 1e-4  # share of the promised decrease that a step must bring (Armijo)
_HALVINGS = 40


class Objective(Protocol):
    """G objectives of V variables each."""

    def look(self, x: Doubles) -> tuple[Doubles, Doubles]:
        """Values (G,) and slopes (G, V) at x (G, V)."""
        ...

    def direction(self, x: Doubles, slopes: Doubles) -> Doubles:
        """About the inverse curvature at x times the slopes: (G, V), to be subtracted."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a minimisation ended.

    Attributes:
        x: (G, V), the optimum, or the start where none was reached.
        start: (G,) objective at the start.
        end: (G,) at ``x``; never above ``start``.
        converged: (G,) whether a further step could gain hardly anything.
    """

    x: Doubles
    start: Doubles
    end: Doubles
    converged: npt.NDArray[np.bool_]


@dataclass
class FitCount:
    """How many objectives were minimised, and how many of them were kept at their start."""

    fitted: int = 0
    kept_at_start: int = 0


_listening: ContextVar[dict[str, FitCount] | None] = ContextVar("fits", default=None)


@contextmanager
def counting_fits() -> Iterator[dict[str, FitCount]]:
    """Count the fits made meanwhile, by what they are fits of."""
    counts: dict[str, FitCount] = {}
    token = _listening.set(counts)
    try:
        yield counts
    finally:
        _listening.reset(token)


def count_fit(what: str, converged: npt.NDArray[np.bool_]) -> None:
    """Tell whoever listens, and the log, how fits of something ended; (G,)."""
    failed = int((~converged).sum())
    counts = _listening.get()
    if counts is not None:
        count = counts.setdefault(what, FitCount())
        count.fitted += len(converged)
        count.kept_at_start += failed
    if failed:
        log.warning("%s: %d of %d fits did not converge; kept at their start",
                    what, failed, len(converged))  # fmt: skip


def minimise(
    objective: Objective,
    start: Doubles,
    *,
    what: str,
    steps: int = 60,
    tolerance: float = 1e-9,
    tick: Callable[[], None] = lambda: None,
) -> Outcome:
    """Minimise each of the G objectives.

    Args:
        objective: Convex and smooth, finite at the start.
        start: (G, V).
        what: Names the fit in the log and the counts.
        steps: At most so many.
        tolerance: A fit has converged when the next step promises to gain less than this, as a
            share of the objective (of 1 where that is smaller).
        tick: Called at every step.
    """
    x = start.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        first, slopes = objective.look(x)
        values, converged = first, np.zeros(len(x), bool)
        for _ in range(steps if x.size else 0):
            tick()
            towards = _downhill(objective.direction(x, slopes), slopes)
            promised = (slopes * towards).sum(1)
            converged = promised <= tolerance * np.maximum(np.abs(values), 1.0)
            if converged.all():
                break
            moved, x, values, slopes = _step(objective, x, values, slopes, towards, ~converged)
            if not moved.any():
                break
    if not x.size:
        converged = np.ones(len(x), bool)
    converged &= np.isfinite(values) & (values <= first) & np.isfinite(x).all(1)
    count_fit(what, converged)
    return Outcome(
        np.where(converged[:, None], x, start), first, np.where(converged, values, first), converged
    )


def _downhill(towards: Doubles, slopes: Doubles) -> Doubles:
    """The directions, and the slope itself where a direction leads nowhere or uphill."""
    usable = np.isfinite(towards).all(1) & ((towards * slopes).sum(1) > 0)
    return np.where(usable[:, None], towards, slopes)


def _step(
    objective: Objective,
    x: Doubles,
    values: Doubles,
    slopes: Doubles,
    towards: Doubles,
    wanted: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], Doubles, Doubles, Doubles]:
    """Who moved, x, values and slopes after one step of each objective that wants one."""
    promised = (slopes * towards).sum(1)
    size, open_ = np.ones(len(x)), wanted.copy()
    x, values, slopes = x.copy(), values.copy(), slopes.copy()
    for _ in range(_HALVINGS):
        trial = np.where(open_[:, None], x - size[:, None] * towards, x)
        value, slope = objective.look(trial)
        fits = open_ & (value <= values - _SUFFICIENT * size * promised)
        x[fits], values[fits], slopes[fits] = trial[fits], value[fits], slope[fits]
        open_ &= ~fits
        if not open_.any():
            break
        size[open_] *= 0.5
    return wanted & ~open_, x, values, slopes
