"""The equal-weight rank blend: no training of its own, and hard to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.baselines.logistic import LogisticPerCategory
from benchmarks.baselines.method import Method, Predicted, Question
from benchmarks.baselines.released import Released
from benchmarks.baselines.vote import NeighbourVote
from benchmarks.evaluation import ranks
from clsl_core.arrays import Floats

__all__ = ["RankBlend", "blend"]


def _parts() -> tuple[Method, ...]:
    return (NeighbourVote(), LogisticPerCategory(), Released())


@dataclass(frozen=True)
class RankBlend:
    """Mean rank within each category of the kNN vote, logistic regression and released head.

    So that categories stay comparable, the blended order takes over the parts' mean scores: the
    image ranked r-th in a category gets the r-th largest mean score.

    Attributes:
        parts: What is blended.
    """

    parts: Sequence[Method] = field(default_factory=_parts)

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        return blend([part.fit_predict(question) for part in self.parts])


def blend(parts: Sequence[Predicted]) -> Predicted:
    """One prediction from several of the same images."""
    return Predicted(_blend([part.train for part in parts]), _blend([part.test for part in parts]))


def _blend(scores: Sequence[Floats]) -> Floats:
    mean = np.mean(scores, 0)
    order = np.mean([ranks(one) for one in scores], 0)
    out = np.empty_like(mean)
    places = np.argsort(order, 0, kind="stable")
    np.put_along_axis(out, places, np.sort(mean, 0), 0)
    return np.asarray(out, np.float32)
