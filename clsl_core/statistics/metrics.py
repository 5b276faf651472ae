"""Measures of a multi-label ranking: pure functions on arrays, higher is better throughout.

Entries that are not to be judged are left out by a boolean mask ``judged``; categories without a
positive among the judged entries have no average precision and are left out of the mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Mask, Values

__all__ = [
    "average_precision",
    "category_f1",
    "interpolated_average_precision",
    "mean_average_precision",
    "overall_f1",
    "precision_at",
    "recall_at",
]

Truth = npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]]


def average_precision(truth: Truth, scores: Values) -> float:
    """Non-interpolated average precision: the mean precision at the rank of each positive.

    Equal scores count as one threshold, so the order of the input does not matter.

    Args:
        truth: (n,) positives are > 0.
        scores: (n,) finite.

    Returns:
        A value in (0, 1], or nan without a positive.
    """
    precision, recall = _precision_recall(truth, scores)
    if not len(recall):
        return float("nan")
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def interpolated_average_precision(
    truth: Truth, scores: Values, points: int | None = None
) -> float:
    """PASCAL VOC average precision: precision made to fall with recall.

    Args:
        truth: (n,) positives are > 0.
        scores: (n,) finite.
        points: 11 for the measure used until VOC2009 (mean at recall 0, 0.1, … 1); None for the
            area under the interpolated curve used since VOC2010.

    Returns:
        A value in (0, 1], or nan without a positive.
    """
    precision, recall = _precision_recall(truth, scores)
    if not len(recall):
        return float("nan")
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if points is None:
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    wanted = np.linspace(0.0, 1.0, points)
    places = np.searchsorted(recall, wanted - 1e-12)
    return float(np.mean(envelope[np.minimum(places, len(envelope) - 1)]))


def mean_average_precision(
    truth: Truth,
    scores: Values,
    judged: Mask | None = None,
    *,
    interpolated: bool = False,
    min_positives: int = 1,
) -> float:
    """Mean over categories of the average precision; nan when no category has positives.

    Args:
        truth: (N, C) positives are > 0.
        scores: (N, C).
        judged: (N, C) entries that count; all by default.
        interpolated: Use the PASCAL VOC area instead.
        min_positives: Categories with fewer judged positives are left out.
    """
    measure = interpolated_average_precision if interpolated else average_precision
    mask = np.ones(truth.shape, bool) if judged is None else judged
    values = [
        measure(truth[mask[:, c], c], scores[mask[:, c], c])
        for c in range(truth.shape[1])
        if np.sum(truth[mask[:, c], c] > 0) >= min_positives
    ]
    return float(np.mean(values)) if values else float("nan")


def overall_f1(truth: Truth, chosen: Mask, judged: Mask | None = None) -> float:
    """OF1: F1 of all entries together; ``chosen`` (N, C) marks the proposed positives."""
    hits, picks, positives = (float(np.sum(part)) for part in _counts(truth, chosen, judged))
    return _harmonic(hits / max(picks, 1.0), hits / max(positives, 1.0))


def category_f1(truth: Truth, chosen: Mask, judged: Mask | None = None) -> float:
    """CF1: F1 of the precision and the recall averaged over categories with positives."""
    hits, picks, positives = _counts(truth, chosen, judged)
    counted = positives > 0
    if not counted.any():
        return 0.0
    precision = np.mean(hits[counted] / np.maximum(picks[counted], 1))
    recall = np.mean(hits[counted] / positives[counted])
    return _harmonic(float(precision), float(recall))


def precision_at(truth: Truth, scores: Values, k: int, judged: Mask | None = None) -> float:
    """Share of positives among the k judged entries with the highest scores (ties: first wins)."""
    top = _top(truth, scores, k, judged)
    return float(np.mean(top)) if len(top) else 0.0


def recall_at(truth: Truth, scores: Values, k: int, judged: Mask | None = None) -> float:
    """Share of the judged positives found among the k judged entries with the highest scores."""
    mask = np.ones(truth.shape, bool) if judged is None else judged
    positives = np.sum((truth > 0) & mask)
    return float(np.sum(_top(truth, scores, k, judged)) / max(int(positives), 1))


def _precision_recall(truth: Truth, scores: Values) -> tuple[Values, Values]:
    """Precision and recall at each distinct score, best first; empty without a positive."""
    order = np.argsort(-scores, kind="stable")
    positives = np.cumsum(truth[order] > 0)
    if not len(positives) or positives[-1] == 0:
        return np.zeros(0), np.zeros(0)
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    ranks = np.arange(1, len(order) + 1)[last_of_ties]
    found = positives[last_of_ties]
    return found / ranks, found / found[-1]


def _counts(
    truth: Truth, chosen: Mask, judged: Mask | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each category: hits, proposed positives, true positives, among the judged."""
    mask = np.ones(truth.shape, bool) if judged is None else judged
    positive, picked = (truth > 0) & mask, chosen & mask
    return (positive & picked).sum(0), picked.sum(0), positive.sum(0)


def _harmonic(precision: float, recall: float) -> float:
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def _top(truth: Truth, scores: Values, k: int, judged: Mask | None) -> Mask:
    mask = np.ones(truth.shape, bool) if judged is None else judged
    order = np.argsort(-scores[mask], kind="stable")[:k]
    top: Mask = (truth[mask] > 0)[order]
    return top
