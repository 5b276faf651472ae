"""Online update: what a handful of new verdicts says about a category, without a retraining.

A linear model is added to the logits the last training left, fitted to the verdicts given since.
The old logits are its offset, so that a verdict which the model expected teaches nothing and a
surprising one moves the images that look alike, up or down. It is logistic regression with a
Gaussian prior on the weights (the Laplace approximation of a Gaussian process with a linear
kernel; Rasmussen and Williams 2006, algorithm 3.1), solved between the verdicts and therefore
cheap: n verdicts cost n³, and one product with the N images.

Letters: N images, n verdicts, d width.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from clsl_core.arrays import Doubles, Ids, Values
from clsl_core.recovery.optimise import minimise

__all__ = ["MOST_VERDICTS", "with_verdicts"]

MOST_VERDICTS = 500
"""Later verdicts count; whoever has given more since the last training should train again."""


def with_verdicts(
    logits: Values,
    vectors: Values,
    places: Ids,
    present: npt.NDArray[np.bool_],
    *,
    spread: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Logits (N,) of one category once the verdicts are taken in.

    Args:
        logits: (N,) of the last training.
        vectors: (N, d) pooled features as the base models compare them: mean squared length 1.
        places: (n,) images with a verdict, the latest last; the last MOST_VERDICTS count.
        present: (n,) what was said.
        spread: Prior variance of the weights: how far a verdict reaches.
    """
    places, present = places[-MOST_VERDICTS:], present[-MOST_VERDICTS:]
    before = np.asarray(logits, np.float32)
    if not len(places):
        return before
    asked = np.asarray(vectors[places], np.float32)
    forces = _forces(before[places], asked, present.astype(np.float64), spread)
    weights = spread * (asked.T @ forces)
    return np.asarray(before + np.asarray(vectors @ weights.astype(vectors.dtype)), np.float32)


def _forces(
    offset: Values, asked: Values, truth: npt.NDArray[np.float64], spread: float
) -> npt.NDArray[np.float64]:
    """(n,) how hard each verdict pulls at the weights, by minimising."""
    surprise = _Surprise(offset.astype(np.float64), asked.astype(np.float64), truth, spread)
    found: Doubles = minimise(surprise, np.zeros((1, len(truth))), what="online update").x[0]
    return found


class _Surprise:
    """Log loss of the verdicts + the weights' prior, in the forces a: weights = spread · Xᵀ·a."""

    def __init__(self, offset: Doubles, asked: Doubles, truth: Doubles, spread: float) -> None:
        self.offset, self.truth = offset, truth
        self.kernel = spread * (asked @ asked.T)

    def look(self, x: Doubles) -> tuple[Doubles, Doubles]:
        """See Objective."""
        moved = self.kernel @ x[0]
        z = self.offset + moved
        value = (np.logaddexp(0, z) - self.truth * z).sum() + 0.5 * x[0] @ moved
        return np.array([value]), (self.kernel @ (expit(z) - self.truth + x[0]))[None]

    def direction(self, x: Doubles, slopes: Doubles) -> Doubles:
        """See Objective; solved without dividing by the kernel, which may be singular."""
        p = expit(self.offset + self.kernel @ x[0])
        curvature = p * (1 - p)
        goal = p - self.truth + x[0]  # slopes = kernel · goal
        bent = np.eye(len(p)) + curvature[:, None] * self.kernel
        return np.asarray(np.linalg.solve(bent, goal), np.float64)[None]
