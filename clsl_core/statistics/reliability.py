"""Do stated probabilities come true: reliability diagram and expected calibration error.

Sources: DeGroot and Fienberg 1983 (the diagram); Naeini et al. 2015 and Guo et al. 2017, eq. 3
(the error); Kish 1965 (how many unweighted entries a weighted sample is worth).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Mask, Values
from clsl_core.errors import InputError
from clsl_core.statistics.intervals import wilson

__all__ = ["ReliabilityBin", "expected_calibration_error", "reliability_bins"]


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar of the diagram.

    Attributes:
        low, high: The bin holds stated probabilities in [low, high), the last one also 1.
        count: Entries in it, at least 1.
        weight: Share of the total weight in it, in (0, 1].
        stated: Mean stated probability.
        share: Share of positives, in [0, 1]; a reliable map has share = stated.
        share_low, share_high: Wilson interval of the share.
    """

    low: float
    high: float
    count: int
    weight: float
    stated: float
    share: float
    share_low: float
    share_high: float


def reliability_bins(
    probabilities: Values,
    truth: Mask,
    bins: int = 10,
    weights: Values | None = None,
    confidence: float = 0.95,
) -> tuple[ReliabilityBin, ...]:
    """The reliability diagram over equal-width bins; empty bins are left out.

    With weights, the interval uses Kish's effective number of entries (Σw)² / Σw² of the bin.

    Args:
        probabilities: (M,) stated, in [0, 1].
        truth: (M,) whether the entry is positive.
        bins: Number of bins, at least 1.
        weights: (M,) > 0, e.g. one over the chance of having been checked; 1 by default.
        confidence: Of the intervals, two-sided.

    Returns:
        At most ``bins`` bars, lowest probabilities first.

    Raises:
        InputError: Lengths differ, a probability lies outside [0, 1] or a weight is not positive.
    """
    w = _checked_weights(probabilities, truth, weights)
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    diagram = []
    for b in np.unique(place):
        inside = place == b
        part = w[inside]
        share = float(np.average(truth[inside], weights=part))
        effective = float(part.sum() ** 2 / np.sum(part**2))
        low, high = wilson(share * effective, effective, confidence)
        diagram.append(
            ReliabilityBin(
                low=float(b / bins),
                high=float((b + 1) / bins),
                count=int(inside.sum()),
                weight=float(part.sum() / w.sum()),
                stated=float(np.average(probabilities[inside], weights=part)),
                share=share,
                share_low=float(low),
                share_high=float(high),
            )
        )
    return tuple(diagram)


def expected_calibration_error(
    probabilities: Values, truth: Mask, bins: int = 10, weights: Values | None = None
) -> float:
    """Mean gap between stated probability and share of positives, over equal-width bins.

    Lower is better, 0 is perfect. A few entries in each bin alone make it larger than 0 (about
    0.4 / √(entries in a bin)), so compare it only between samples of about the same size.

    Args:
        probabilities: (M,) stated, in [0, 1].
        truth: (M,) whether the entry is positive.
        bins: Number of bins, at least 1.
        weights: (M,) > 0; 1 by default.

    Returns:
        A value in [0, 1]; nan without entries.

    Raises:
        InputError: As for ``reliability_bins``.
    """
    diagram = reliability_bins(probabilities, truth, bins, weights)
    if not diagram:
        return float("nan")
    return float(sum(bar.weight * abs(bar.stated - bar.share) for bar in diagram))


def _checked_weights(
    probabilities: Values, truth: Mask, weights: Values | None
) -> npt.NDArray[np.float64]:
    w = np.ones(len(truth)) if weights is None else np.asarray(weights, np.float64)
    if not len(probabilities) == len(truth) == len(w):
        raise InputError(
            "probabilities, truth and weights must be equally long, got "
            f"{len(probabilities)}, {len(truth)} and {len(w)}."
        )
    if not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise InputError("a probability lies outside 0 to 1; give calibrated probabilities.")
    if not np.all((w > 0) & np.isfinite(w)):
        raise InputError("a weight is not a positive number; leave out entries that do not count.")
    return w
