"""How good logits are on entries that were held out."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from clsl_core.recovery.positive_unlabelled import Entries
from clsl_core.statistics.metrics import average_precision

__all__ = ["log_loss", "pooled_ap", "rank_quality"]

Floats = npt.NDArray[np.float32]


def log_loss(logits: Floats, entries: Entries) -> float:
    """Weighted mean log loss of logits (N, C) on the entries."""
    z = logits[entries.rows, entries.columns]
    losses = np.logaddexp(0, np.where(entries.truth, -z, z))
    return float(np.sum(losses * entries.weights) / max(float(entries.weights.sum()), 1e-6))


def pooled_ap(scores: Floats, entries: Entries) -> float:
    """Average precision over the entries of all categories together; 0 without a positive."""
    found = average_precision(entries.truth, scores[entries.rows, entries.columns])
    return 0.0 if math.isnan(found) else found


def rank_quality(scores: Floats, entries: Entries) -> float:
    """Mean share of a category's other entries that its positives outrank; 0 without any.

    Steadier on a few held-out positives than average precision, and blind to how categories
    compare, which is the blend's business.
    """
    values = scores[entries.rows, entries.columns]
    shares = []
    for c in np.unique(entries.columns[entries.truth]):
        own = entries.columns == c
        others = np.sort(values[own & ~entries.truth])
        if len(others):
            shares.append(np.searchsorted(others, values[own & entries.truth]) / len(others))
    return float(np.mean(np.concatenate(shares))) if shares else 0.0
