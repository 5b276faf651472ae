"""Baselines that look at no picture: random scores, and how often each category is known."""

from __future__ import annotations

import numpy as np

from benchmarks.baselines.method import Predicted, Question, weak_negatives
from clsl_core.arrays import Floats, Labels

__all__ = ["CategoryFrequency", "RandomScores", "class_shares"]


class RandomScores:
    """Uniform random scores: what chance gives."""

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        rng = np.random.default_rng(question.seed)
        shapes = [(len(part), question.labels.shape[1]) for part in (question.train, question.test)]
        train, test = (rng.random(shape, np.float32) for shape in shapes)
        return Predicted(train, test)


class CategoryFrequency:
    """Every image gets the category's known share of positives."""

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        shares = class_shares(question.labels)
        train, test = (
            np.broadcast_to(shares, (len(part), len(shares))).copy()
            for part in (question.train, question.test)
        )
        return Predicted(train, test)


def class_shares(labels: Labels, unknown_as_negative: bool | None = None) -> Floats:
    """(C,) share of positives among known entries, or among all with unknown as negative.

    None counts unknown entries only where too few negatives are known.
    """
    weak = weak_negatives(labels) if unknown_as_negative is None else unknown_as_negative
    positive = (labels > 0).sum(0)
    counted = np.full(labels.shape[1], len(labels)) if weak else (labels != 0).sum(0)
    return np.asarray((positive + 0.1) / (counted + 1.0), np.float32)
