"""kNN vote: the share of positives among the known labels of the most similar pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.baselines.frequency import class_shares
from benchmarks.baselines.method import Predicted, Question, weak_negatives
from clsl_core.arrays import Floats, Ids, Labels
from clsl_core.backbones.spec import normalised
from clsl_core.recovery.neighbours import NeighbourIndex
from clsl_core.statistics.metrics import average_precision

__all__ = ["NeighbourVote"]

_COUNTS = (10, 30, 100)
_TEMPERATURES = (0.05, 0.2)
_PRIOR = 1.0  # neighbours' worth of belief in the category's share


@dataclass(frozen=True)
class NeighbourVote:
    """Votes by faiss on centred pooled features, each picture left out of its own vote.

    How many neighbours vote, and how fast a vote fades with distance, is chosen by average
    precision on the known labels, which leave-one-out votes have not seen.

    Attributes:
        unknown_as_negative: Count unknown entries as negative votes. None does so only where too
            few negatives are known.
    """

    unknown_as_negative: bool | None = None

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        pooled, labels = question.train.pooled(), question.labels
        weak = self.unknown_as_negative
        if weak is None:
            weak = weak_negatives(labels)
        centre = pooled.mean(0)
        own, others = normalised(pooled - centre), normalised(question.test.pooled() - centre)
        index = NeighbourIndex(own)
        near, rows = _without_itself(*index.search(own, max(_COUNTS) + 1))
        settings = [(k, t) for k in _COUNTS for t in _TEMPERATURES]
        votes = [_vote(near, rows, labels, k, t, weak) for k, t in settings]
        best = int(np.argmax([_quality(vote, labels, weak) for vote in votes]))
        k, t = settings[best]
        return Predicted(votes[best], _vote(*index.search(others, k), labels, k, t, weak))


def _without_itself(near: Floats, rows: Ids) -> tuple[Floats, Ids]:
    """Drop each picture from its own neighbours (or the last one, where it is not there)."""
    itself = rows == np.arange(len(rows))[:, None]
    itself[~itself.any(1), -1] = True
    shape = (len(rows), rows.shape[1] - 1)
    return near[~itself].reshape(shape), rows[~itself].reshape(shape)


def _vote(
    near: Floats, rows: Ids, labels: Labels, k: int, temperature: float, weak: bool
) -> Floats:
    """(n, C) scores from the first k neighbours, block by block."""
    shares = class_shares(labels, weak)
    out = np.empty((len(rows), labels.shape[1]), np.float32)
    for start in range(0, len(rows), 256):
        part = slice(start, start + 256)
        cosines = near[part, :k]
        weights = np.exp((cosines - cosines.max(1, keepdims=True, initial=-1)) / temperature)
        said = labels[rows[part, :k]]  # (n, k, C)
        positive = np.einsum("nk,nkc->nc", weights, (said > 0).astype(np.float32))
        counted = (
            weights.sum(1, keepdims=True)
            if weak
            else np.einsum("nk,nkc->nc", weights, (said != 0).astype(np.float32))
        )
        out[part] = (positive + _PRIOR * shares) / (counted + _PRIOR)
    return out


def _quality(scores: Floats, labels: Labels, weak: bool) -> float:
    """Average precision over the known entries, or over all with unknown as negative."""
    mask = np.ones(labels.shape, bool) if weak else labels != 0
    found = average_precision(labels[mask], scores[mask])
    return 0.0 if np.isnan(found) else found
