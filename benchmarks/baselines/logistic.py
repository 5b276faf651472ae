"""A logistic regression for each category on pooled features, through scikit-learn."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from benchmarks.baselines.frequency import class_shares
from benchmarks.baselines.method import NotApplicable, Predicted, Question, weak_negatives
from clsl_core.arrays import Floats, Labels

__all__ = ["LogisticPerCategory"]

_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)  # C of scikit-learn, inverse of the penalty
_FOLDS = 3  # for choosing the strength
_CROSS_FOLDS = 5  # for scoring entries that were learned as negatives
_CHOOSE_FROM = 4000  # images


@dataclass(frozen=True)
class LogisticPerCategory:
    """One regression for each category; the penalty is chosen by log loss on left-out images.

    Attributes:
        unknown_as_negative: Learn unknown entries as negatives; each image is then scored by
            models that left it out. None does so only where too few negatives are known.
    """

    unknown_as_negative: bool | None = None

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        labels, weak = question.labels, self.unknown_as_negative
        if weak is None:
            weak = weak_negatives(labels)
        if not weak and not (labels < 0).any():
            raise NotApplicable("no negative is known: a regression on known entries has one class")
        x, test = _scaled(question.train.pooled(), question.test.pooled())
        used = np.ones(labels.shape, bool) if weak else labels != 0
        rng = np.random.default_rng(question.seed)
        strength = _choose(x, labels, used, rng)
        return Predicted(
            _left_out(x, labels, used, strength, rng)
            if weak
            else _fit(x, labels, used, strength, x),
            _fit(x, labels, used, strength, test),
        )


def _scaled(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Centred, and scaled so that a vector has length 1 on average."""
    centre = train.mean(0)
    scale = float((train - centre).std()) * train.shape[1] ** 0.5
    return (train - centre) / max(scale, 1e-6), (test - centre) / max(scale, 1e-6)


def _choose(
    x: Floats, labels: Labels, used: npt.NDArray[np.bool_], rng: np.random.Generator
) -> float:
    """The strength with the least log loss on left-out images, all categories together."""
    rows = rng.permutation(len(x))[:_CHOOSE_FROM]
    x, labels, used = x[rows], labels[rows], used[rows]
    folds = rng.integers(0, _FOLDS, len(x))
    losses = []
    for strength in _STRENGTHS:
        scores = np.empty(labels.shape, np.float32)
        for fold in range(_FOLDS):
            here = folds == fold
            scores[here] = _fit(x[~here], labels[~here], used[~here], strength, x[here])
        p = np.clip(scores[used], 1e-4, 1 - 1e-4)
        losses.append(-float(np.mean(np.where(labels[used] > 0, np.log(p), np.log1p(-p)))))
    return _STRENGTHS[int(np.argmin(losses))]


def _left_out(
    x: Floats,
    labels: Labels,
    used: npt.NDArray[np.bool_],
    strength: float,
    rng: np.random.Generator,
) -> Floats:
    folds = rng.permutation(np.arange(len(x)) % _CROSS_FOLDS)
    out = np.empty(labels.shape, np.float32)
    for fold in range(_CROSS_FOLDS):
        here = folds == fold
        out[here] = _fit(x[~here], labels[~here], used[~here], strength, x[here])
    return out


def _fit(
    x: Floats, labels: Labels, used: npt.NDArray[np.bool_], strength: float, wanted: Floats
) -> Floats:
    """Scores (n, C) of the ``wanted`` features; a category with one class gets its share."""
    out = np.broadcast_to(
        class_shares(labels, bool(used.all())), (len(wanted), labels.shape[1])
    ).copy()
    if not len(wanted):
        return out
    for c in range(labels.shape[1]):
        rows = used[:, c]
        truth = labels[rows, c] > 0
        if truth.any() and not truth.all():
            model = LogisticRegression(C=strength, max_iter=300)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(x[rows], truth)
            out[:, c] = model.predict_proba(wanted)[:, 1]
    return out
