"""A random sample of pairs, stratified by score, for people to check.

Strata hold equal shares of the cumulated √(p(1-p)) over the scores p (Dalenius and Hodges 1959,
J. Am. Stat. Assoc. 54): where the model is sure, many pairs share a stratum. The sample is
divided as Neyman's optimum asks, n_h in proportion to N_h √(p_h(1-p_h)), in whole numbers by the
priorities of Wright (2012, Am. Stat. 66), never fewer than a minimum in each stratum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clsl_core.arrays import Doubles, Ids, Values
from clsl_core.errors import InputError

__all__ = ["Sample", "SampleConfig", "draw_sample"]


@dataclass(frozen=True)
class SampleConfig:
    """How to draw.

    Attributes:
        strata: Most strata.
        minimum: Fewest pairs drawn from a stratum (all of it, if it is smaller). Samples too
            small for that in all strata get fewer strata.
        floor: Scores are taken to be at least this far from 0 and 1 when the sample is planned,
            so that a model too sure of itself cannot keep a stratum from being looked at.
    """

    strata: int = 5
    minimum: int = 10
    floor: float = 0.01


@dataclass(frozen=True)
class Sample:
    """A plan: which pairs people should check.

    Attributes:
        strata: (N,) int64 stratum of each pair, 0 holds the lowest scores.
        chosen: (n,) int64 positions of the pairs to check, in the order to ask: any first part
            of it is spread over the strata as the whole is.
    """

    strata: Ids
    chosen: Ids


def draw_sample(scores: Values, size: int, config: SampleConfig, seed: int) -> Sample:
    """Choose which pairs to check.

    Give all pairs still unknown of one category, or of all categories for a pooled estimate only
    (which needs far fewer verdicts). Scores must not depend on the answers; keep the sample as it
    is when a later run scores anew. A larger ``size`` with the same scores and seed holds the
    smaller sample, once there is room for the full number of strata.

    Args:
        scores: (N,) score or probability of being PRESENT, in [0, 1].
        size: Pairs to draw; all of them if N is smaller.
        config: Number of strata and their minimum.
        seed: Of the choice.

    Returns:
        The strata and the pairs to ask, without repetition.

    Raises:
        InputError: A score lies outside [0, 1], or ``size`` is not positive.
    """
    if size < 1 or not np.all((scores >= 0) & (scores <= 1)):
        raise InputError(f"expected scores in 0 to 1 and a positive size, got size {size}.")
    p = np.clip(np.asarray(scores, np.float64), config.floor, 1 - config.floor)
    spread = np.sqrt(p * (1 - p))
    room = min(size, len(p)) // config.minimum
    strata = _stratify(scores, spread, max(1, min(config.strata, room)))
    taken = _allocate(strata, p, size, config.minimum)
    lots = np.random.default_rng(seed).random(len(p))
    return Sample(strata, _take(strata, lots, taken))


def _stratify(scores: Values, spread: Doubles, count: int) -> Ids:
    """Equal shares of the cumulated spread, lowest scores first; every stratum has a pair."""
    order = np.argsort(scores, kind="stable")
    before = np.cumsum(spread[order]) - spread[order] / 2
    strata = np.zeros(len(scores), np.int64)
    strata[order] = np.minimum((before / max(spread.sum(), 1e-12) * count).astype(int), count - 1)
    return np.unique(strata, return_inverse=True)[1].astype(np.int64)


def _allocate(strata: Ids, p: Doubles, size: int, minimum: int) -> Ids:
    """(H,) pairs to draw: the minimum, then the largest of Wright's N_h S_h / √(k (k+1)).

    S_h = √(p_h (1 - p_h)) with p_h the mean of the stratum's p (N,).
    """
    pairs = np.bincount(strata)
    share = np.bincount(strata, p) / np.maximum(pairs, 1)
    taken = np.minimum(pairs, min(minimum, size))
    left = min(size, int(pairs.sum())) - int(taken.sum())
    if left <= 0:
        return taken
    next_pair = taken[:, None] + np.arange(left)  # (H, left): k pairs drawn before this one
    steps = np.sqrt(np.maximum(next_pair, 1.0) * (next_pair + 1.0))
    priority = (pairs * np.sqrt(share * (1 - share)))[:, None] / steps
    priority[next_pair >= pairs[:, None]] = -1.0
    first = np.argsort(-priority.ravel(), kind="stable")[:left]
    return taken + np.bincount(first // left, minlength=len(pairs))


def _take(strata: Ids, lots: Doubles, taken: Ids) -> Ids:
    """The first ``taken`` (H,) pairs of each stratum by lot, mixed evenly over the strata."""
    places, when = [], []
    for h, count in enumerate(taken):
        members = np.flatnonzero(strata == h)
        places.append(members[np.argsort(lots[members], kind="stable")][:count])
        when.append((np.arange(count) + 0.5) / max(int(count), 1))
    order = np.argsort(np.concatenate(when), kind="stable") if when else np.zeros(0, np.int64)
    return np.concatenate([*places, np.zeros(0, np.int64)])[order].astype(np.int64)
