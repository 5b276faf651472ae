"""Intervals and tail chances of counts, shared by the audits and the diagrams.

Source of the interval: Wilson 1927 (J. Am. Stat. Assoc. 22).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, ndtri

from clsl_core.arrays import Doubles

__all__ = ["hypergeometric_cdf", "spend", "wilson"]

Counts = npt.NDArray[np.integer[Any]] | int
Numbers = npt.NDArray[np.floating[Any]] | npt.NDArray[np.integer[Any]] | float


def wilson(
    successes: Numbers, trials: Numbers, confidence: float = 0.95
) -> tuple[Doubles, Doubles]:
    """Wilson's score interval of a share, with close to nominal coverage on average.

    Args:
        successes: Number of successes, 0 .. trials; need not be whole (weighted counts).
        trials: Number of trials; 0 gives the interval from 0 to 1.
        confidence: Two-sided, in (0, 1).

    Returns:
        Lower and upper ends in [0, 1], of the broadcast shape.
    """
    z2 = float(ndtri(0.5 + confidence / 2)) ** 2
    n = np.asarray(trials, np.float64)
    share = np.asarray(successes, np.float64) / np.maximum(n, 1e-12)
    centre = (share * n + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (share * (1 - share) * n + z2 / 4)) / (n + z2)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def hypergeometric_cdf(found: int, marked: Counts, drawn: Counts, population: Counts) -> Doubles:
    """Chance that at most ``found`` of n things drawn from N without replacement are marked.

    Args:
        found: x >= 0, small: the sum has x + 1 terms.
        marked: W of the N, 0 .. N.
        drawn: n, 0 .. N.
        population: N; may be in the millions.

    Returns:
        Values in [0, 1], of the broadcast shape of the last three.
    """
    W, n, N = np.broadcast_arrays(marked, drawn, population)
    x = np.arange(found + 1).reshape(-1, *[1] * W.ndim)
    log = _log_choose(W, x) + _log_choose(N - W, n - x) - _log_choose(N, n)
    total = np.exp(log).sum(0)
    return np.asarray(np.minimum(total, 1.0), np.float64)


def spend(error: float, look: int) -> float:
    """The part of ``error`` that the look-th look at the data may use: 1/2, 1/6, 1/12 … of it.

    The parts add up to ``error`` over any number of looks, so one may look again after each batch
    of verdicts and all looks together are still wrong with at most that chance.

    Args:
        error: In (0, 1).
        look: 1, 2, ….
    """
    return error / (look * (look + 1))


def _log_choose(n: npt.NDArray[Any], k: npt.NDArray[Any]) -> Doubles:
    """Of n >= 0; -inf where k lies outside 0 .. n, as gammaln is inf at 0, -1, …."""
    return np.asarray(gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0), np.float64)
