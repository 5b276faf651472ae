"""What every method of a comparison gets and gives. All of them see the same inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from benchmarks.tokens import Categories
from clsl_core.arrays import Floats, Labels
from clsl_core.errors import ClslError
from clsl_core.features import FeatureView

__all__ = ["Method", "NotApplicable", "Predicted", "Question", "weak_negatives"]


class NotApplicable(ClslError):  # noqa: N818 - a fact about the inputs, not a fault
    """A method has nothing to work with in these inputs; the message says what is missing."""


@dataclass(frozen=True)
class Question:
    """One problem to solve.

    Attributes:
        train: Features of the N images with some known labels.
        labels: (N, C) int8 in {-1, 0, +1}.
        test: Features of M other images; M may be 0.
        categories: Names and vectors of the C categories.
        seed: Of everything random.
    """

    train: FeatureView
    labels: Labels
    test: FeatureView
    categories: Categories
    seed: int


@dataclass(frozen=True)
class Predicted:
    """Scores in [0, 1], comparable between categories: ``train`` (N, C) and ``test`` (M, C)."""

    train: Floats
    test: Floats


class Method(Protocol):
    """Learns from known labels and scores all images."""

    def fit_predict(self, question: Question) -> Predicted:
        """Solve one problem.

        Raises:
            NotApplicable: These inputs give the method nothing to work with.
        """


def weak_negatives(labels: Labels) -> bool:
    """Whether unknown entries must stand for negatives, as fewer are known than positives."""
    return int((labels < 0).sum()) < int((labels > 0).sum())
