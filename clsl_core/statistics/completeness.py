"""How many positives are still missing: a small random audit, an estimate with an interval.

The unknown pairs of a category are cut into strata by score, a few of each stratum are drawn at
random (``stratified_sample.draw_sample``) and checked by people. Letters, for stratum h: N_h
pairs, n_h of them checked, x_h of the checked ones positive.

*Estimate* (Cochran 1977, ch. 5): M = Σ_h N_h x_h / n_h, unbiased whatever the scores are
worth. Good scores make the interval narrow, bad ones make it wide, neither makes it wrong.

*Interval*. What remains unchecked in a stratum is N_h - n_h pairs; the number of positives among
them follows a beta-binomial law with parameters (x_h, n_h - x_h), scaled so that its mean and
variance are the unbiased ones of that stratum, finite-population correction included. The
total's law is the sum over strata (by seeded simulation). A stratum in which nothing was found
adds nothing to that, so for the upper end one positive more is assumed in the stratum where a
single positive weighs most (largest N_h / n_h), and for the lower end one negative more in the
heaviest stratum that has a positive. For one stratum this *is* the exact interval of Clopper and
Pearson for drawing without replacement; for many rare strata it is the argument of Fay and Feuer
(1997, Stat. Med. 16) for weighted sums of Poisson counts. Joining exact intervals of the strata
instead, by adding them up or by their squares, is far too wide over many empty strata, or misses
too often below; the test beside this module measures the coverage of what is done here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Doubles, Ids
from clsl_core.errors import InputError
from clsl_core.statistics.intervals import spend
from clsl_core.statistics.stratified_sample import Sample

__all__ = [
    "Cells",
    "CompletenessConfig",
    "Missing",
    "RecallCurve",
    "StopAdvice",
    "count_cells",
    "estimate_missing",
    "recall_curve",
    "stop_advice",
]


@dataclass(frozen=True)
class CompletenessConfig:
    """How sure to be and when to stop.

    Attributes:
        confidence: Of the two-sided interval and of the stop rule.
        goal: Share of the positives that must be found before stopping is advised.
        draws: Simulated totals behind an interval.
        seed: Of these.
    """

    confidence: float = 0.95
    goal: float = 0.95
    draws: int = 4000
    seed: int = 0


@dataclass(frozen=True)
class Cells:
    """Counts of H strata, of one category or of several together.

    Attributes:
        pairs: (H,) int64 N_h, unknown when the sample was drawn.
        checked: (H,) int64 n_h, drawn and answered.
        found: (H,) int64 x_h, positives among these.
    """

    pairs: Ids
    checked: Ids
    found: Ids

    @classmethod
    def joined(cls, parts: list[Cells]) -> Cells:
        """The strata of several categories side by side: their sum is what gets estimated."""
        return cls(
            np.concatenate([part.pairs for part in parts]),
            np.concatenate([part.checked for part in parts]),
            np.concatenate([part.found for part in parts]),
        )


@dataclass(frozen=True)
class Missing:
    """Positives not found yet.

    Attributes:
        missing: The estimate; unbiased.
        low, high: Two-sided interval of it at ``CompletenessConfig.confidence``.
        most: One-sided upper bound for the stop rule, valid over repeated looks.
        pairs, checked, found: Sums over the strata.
    """

    missing: float
    low: float
    high: float
    most: float
    pairs: int
    checked: int
    found: int


@dataclass(frozen=True)
class RecallCurve:
    """Share of all positives found, after each verdict.

    Attributes:
        verdicts: (T+1,) int64 0 .. T.
        share: (T+1,) in [0, 1], with the estimate of the missing ones in the denominator.
        low, high: (T+1,) the same with the interval's ends.
    """

    verdicts: Ids
    share: Doubles
    low: Doubles
    high: Doubles


@dataclass(frozen=True)
class StopAdvice:
    """Is it time to stop?

    Attributes:
        stop: Whether the goal is reached with confidence.
        share: Estimated share of the positives that are found.
        share_low: Its lower confidence bound.
        reason: Plain words with the numbers.
    """

    stop: bool
    share: float
    share_low: float
    reason: str


def count_cells(sample: Sample, verdicts: npt.NDArray[np.int8]) -> Cells:
    """Count the answers to a sample by stratum.

    Args:
        sample: As drawn.
        verdicts: (N,) of all pairs: +1 PRESENT, -1 ABSENT, 0 not answered. Only the sampled pairs
            are looked at; a sampled pair without an answer counts as not drawn, which is fair as
            long as people do not pass over the hard ones.

    Returns:
        One entry for each stratum.
    """
    answered = sample.chosen[verdicts[sample.chosen] != 0]
    count = int(sample.strata.max(initial=-1)) + 1
    positive = answered[verdicts[answered] > 0]
    return Cells(
        np.bincount(sample.strata, minlength=count),
        np.bincount(sample.strata[answered], minlength=count),
        np.bincount(sample.strata[positive], minlength=count),
    )


def estimate_missing(
    cells: Cells, config: CompletenessConfig, also_found: int = 0, look: int = 1
) -> Missing:
    """Estimate how many positives are missing still, after those the audit itself found.

    Args:
        cells: Of one category, or joined ones for all categories together.
        config: Confidence and simulation.
        also_found: Positives that people found among the same pairs outside the sample, since it
            was drawn.
        look: 1 for the first time the stop rule is asked for this category, 2 for the second, …;
            ``most`` gets safer with each, see ``intervals.spend``.

    Returns:
        The estimate; 0 with a certain interval when every pair was checked.

    Raises:
        InputError: A stratum has no answered pair yet, so nothing can be said about it.
    """
    if np.any(cells.checked < np.minimum(cells.pairs, 1)):
        empty = int(np.sum((cells.checked == 0) & (cells.pairs > 0)))
        raise InputError(f"{empty} strata have no checked pair yet; answer the whole sample first.")
    error = 1 - config.confidence
    lower, upper = _totals(cells, config)
    known = int(cells.found.sum()) + also_found
    total = float(np.sum(cells.pairs * cells.found / np.maximum(cells.checked, 1)))
    ends = (
        float(np.quantile(lower, error / 2, method="lower")),
        float(np.quantile(upper, 1 - error / 2, method="higher")),
        float(np.quantile(upper, 1 - spend(error, look), method="higher")),
    )
    missing, low, high, most = (max(0.0, end - known) for end in (total, *ends))
    return Missing(
        missing=missing,
        low=low,
        high=high,
        most=most,
        pairs=int(cells.pairs.sum()),
        checked=int(cells.checked.sum()),
        found=int(cells.found.sum()),
    )


def recall_curve(
    hits: npt.NDArray[np.bool_], already: int, missing: tuple[float, float, float]
) -> RecallCurve:
    """The share of all positives found, against verdicts given.

    Args:
        hits: (T,) in order of time: whether the verdict found a positive.
        already: Positives known before the first of these verdicts.
        missing: Estimate, low and high end of what is missing after the last of them.

    Returns:
        T + 1 points; 1 throughout where there is nothing to find.
    """
    found = already + np.append(0, np.cumsum(hits))
    estimate, low, high = (
        found / (found[-1] + part) if found[-1] + part > 0 else np.ones(len(found))
        for part in missing
    )
    return RecallCurve(np.arange(len(found)), estimate, low=high, high=low)


def stop_advice(found: int, missing: Missing, config: CompletenessConfig) -> StopAdvice:
    """Say whether enough positives are found, with confidence.

    Args:
        found: All positives known now of the same category or categories: imported ones, those
            people accepted, those of the audit.
        missing: The estimate.
        config: Goal and confidence.
    """
    share = found / (found + missing.missing) if found + missing.missing > 0 else 1.0
    low = found / (found + missing.most) if found + missing.most > 0 else 1.0
    stop = low >= config.goal
    text = (
        f"{found:,} positives are found and about {missing.missing:,.0f} are missing (with "
        f"{100 * config.confidence:g} % confidence at most {missing.most:,.0f}), so at least "
        f"{_floored_percent(low)} % are found. The goal is {100 * config.goal:g} %: "
    )
    return StopAdvice(stop, share, low, text + ("stop here." if stop else "go on."))


def _floored_percent(share: float) -> str:
    return f"{np.floor(1000 * share) / 10:g}"


def _totals(cells: Cells, config: CompletenessConfig) -> tuple[Doubles, Doubles]:
    """(draws,) simulated totals for the lower and for the upper end."""
    weight = np.where(cells.pairs > cells.checked, cells.pairs / np.maximum(cells.checked, 1), 0.0)
    certain = np.full(config.draws, float(cells.found.sum()))
    if not weight.any():
        return certain, certain
    rng = np.random.default_rng(config.seed)
    top = int(np.argmax(weight))
    has_positive = np.where(cells.found > 0, weight, 0.0)
    bottom = int(np.argmax(has_positive)) if has_positive.any() else -1
    lower, upper = certain.copy(), certain.copy()
    for h in np.flatnonzero(weight):
        left = int(cells.pairs[h] - cells.checked[h])
        x, n = int(cells.found[h]), int(cells.checked[h])
        central = _beta_binomial(rng, left, *_scaled(x, n, left), config.draws)
        upper += _beta_binomial(rng, left, x + 1, n - x, config.draws) if h == top else central
        lower += _beta_binomial(rng, left, x, n - x + 1, config.draws) if h == bottom else central
    return lower, upper


def _scaled(x: int, n: int, left: int) -> tuple[float, float]:
    """Beta parameters with mean x / n that give the unbiased variance of the stratum's total.

    The beta-binomial variance L p q (s + L) / (s + 1) of the L = N - n unchecked pairs must be
    L N p q / (n - 1) (Cochran 1977, ch. 5, with the correction for a finite population).
    """
    strength = max((left * (n - 1) - (left + n)) / (left + 1), 0.5)
    return strength * x / n, strength * (n - x) / n


def _beta_binomial(rng: np.random.Generator, left: int, a: float, b: float, draws: int) -> Doubles:
    if a == 0 or b == 0:
        return np.full(draws, float(left) if b == 0 else 0.0)
    return rng.binomial(left, rng.beta(a, b, draws)).astype(np.float64)
