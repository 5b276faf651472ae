"""How good scores are, by every definition in use. Higher is better throughout.

The literature reports an *interpolated* average precision (precision made to fall with recall,
PASCAL VOC), which is never lower than the plain one; both are given, the first by area (since
VOC2010) and at 11 points (VOC2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from clsl_core.arrays import Floats, Labels, Mask
from clsl_core.statistics.metrics import (
    average_precision,
    category_f1,
    interpolated_average_precision,
    overall_f1,
)

__all__ = ["Judged", "best_threshold", "judge", "ranks"]


@dataclass(frozen=True)
class Judged:
    """Measures of one set of entries.

    Attributes:
        map: Mean over categories of the non-interpolated average precision.
        map_area: The same, interpolated, by area.
        map_11: The same, interpolated, at 11 points.
        cf1, of1: F1 by category and overall, of the entries scored above 0.5.
        of1_best: The largest overall F1 of any one threshold; what better thresholds could give.
        categories: How many categories are in the means.
        positives: How many judged entries are positive.
    """

    map: float
    map_area: float
    map_11: float
    cf1: float
    of1: float
    of1_best: float
    categories: int
    positives: int


def judge(
    truth: Labels, scores: Floats, judged: Mask, min_positives: int, raw: Floats | None = None
) -> Judged:
    """Measure scores.

    Args:
        truth: (N, C) in {-1, 0, +1}; 0 is not judged.
        scores: (N, C), compared within a category only.
        judged: (N, C) entries that count.
        min_positives: Categories with fewer judged positives are left out of the means over
            categories.
        raw: (N, C) in [0, 1] for the F1 measures; ``scores`` by default.
    """
    mask = judged & (truth != 0)
    counted = ((truth > 0) & mask).sum(0) >= max(min_positives, 1)
    pairs = [(truth[mask[:, c], c], scores[mask[:, c], c]) for c in np.flatnonzero(counted)]
    values = scores if raw is None else raw
    chosen = values > 0.5
    return Judged(
        map=_mean([average_precision(*pair) for pair in pairs]),
        map_area=_mean([interpolated_average_precision(*pair) for pair in pairs]),
        map_11=_mean([interpolated_average_precision(*pair, 11) for pair in pairs]),
        cf1=category_f1(truth[:, counted], chosen[:, counted], mask[:, counted]),
        of1=overall_f1(truth, chosen, mask),
        of1_best=best_threshold(truth[mask] > 0, values[mask]),
        categories=int(counted.sum()),
        positives=int(((truth > 0) & mask).sum()),
    )


def best_threshold(truth: Mask, scores: Floats) -> float:
    """The largest F1 that one threshold gives, 0 without a positive."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    if not len(hits) or not hits[-1]:
        return 0.0
    last = np.append(np.diff(scores[order]) != 0, True)
    picks = np.arange(1, len(order) + 1)
    return float(np.max((2 * hits / (picks + hits[-1]))[last]))


def ranks(scores: Floats) -> Floats:
    """Each column's scores (N, C) as average ranks in (0, 1], so that models become comparable."""
    if not len(scores):
        return scores
    return np.asarray(rankdata(scores, axis=0) / len(scores), np.float32)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
