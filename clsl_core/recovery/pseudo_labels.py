"""Pseudo-labels: what the head is taught of entries that nobody has labelled.

The logits of the ensemble and the head's own teacher become soft labels, sharpened for each image
and gated for each category: what lies past a gate counts in full, what lies between them little.

Sources: learning from one's own confident predictions (Lee 2013, "Pseudo-Label"); thresholds for
each category, read off known labels, rather than one for all, so that rare categories get theirs
(idea of FlexMatch, arXiv 2110.08263).

Letters: N images, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clsl_core.arrays import Floats, Labels, Mask, sigmoid
from clsl_core.recovery.positive_unlabelled import RecoveryConfig

__all__ = ["Targets", "recovered_targets", "sharpen", "thresholds"]


@dataclass(frozen=True)
class Targets:
    """ỹ in [0, 1] and w ≥ 0 of all entries, (N, C); they matter where labels are unknown."""

    values: Floats
    weights: Floats


def sharpen(logits: Floats) -> Floats:
    """σ(z · max(1, max z)) with the maximum over an image's categories.

    The factor is at least 1: with max z alone, an image whose logits are all negative would have
    every unknown label turned positive.

    Args:
        logits: (N, C).
    """
    factor = np.maximum(1.0, logits.max(1, keepdims=True))
    return sigmoid(logits * factor)


def thresholds(
    scores: Floats, labels: Labels, unknown_weight: float, config: RecoveryConfig
) -> tuple[Floats, Floats]:
    """Category-wise gates (upper, lower), (C,) each, from scores of known labels.

    Above ``upper`` lie the better half of the known positives; below ``lower`` the clearer half
    of the known negatives (of the unknown entries where those stand for negatives). Categories
    with few labels take the pooled gate.
    """
    negatives = (labels < 0) | ((labels == 0) & (unknown_weight > 0))
    upper = _gates(scores, labels > 0, config.gate, config)
    lower = _gates(scores, negatives, 1.0 - config.gate, config)
    return np.maximum(upper, lower), np.minimum(upper, lower)


def _gates(scores: Floats, chosen: Mask, quantile: float, config: RecoveryConfig) -> Floats:
    pooled = float(np.quantile(scores[chosen], quantile)) if chosen.any() else 0.5
    out = np.empty(scores.shape[1], np.float32)
    for c in range(scores.shape[1]):
        own = scores[chosen[:, c], c]
        trust = len(own) / (len(own) + config.gate_shrinkage)
        out[c] = (trust * np.quantile(own, quantile) if len(own) else 0.0) + (1 - trust) * pooled
    return out


def recovered_targets(
    logits: Floats,
    labels: Labels,
    unknown_weight: float,
    weak_negative: float,
    config: RecoveryConfig,
) -> Targets:
    """ỹ and w from the logits (N, C) of the ensemble and the head.

    Past its category's upper gate an unknown entry is a positive, past the lower one a negative,
    in between it keeps its soft target at little weight. Where unknown entries stand for
    negatives, absence counts with ``weak_negative`` only.
    """
    scores = sharpen(logits)
    upper, lower = thresholds(scores, labels, unknown_weight, config)
    present, absent = scores >= upper, scores <= lower
    values = np.where(present, np.maximum(scores, 0.5), scores)
    absence = weak_negative if unknown_weight else 1.0
    weights = np.where(present, 1.0, np.where(absent, absence, config.undecided * absence))
    return Targets(values.astype(np.float32), weights.astype(np.float32))
