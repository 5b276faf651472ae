"""Instant update: what a handful of new verdicts says about a category, without a retraining.

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

__all__ = ["MOST_VERDICTS", "with_verdicts"]

Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.int64]

MOST_VERDICTS = 500
"""Later verdicts count; whoever has given more since the last training should train again."""

_STEPS = 12  # of Newton's method; it converges in about six
_LEAST_CURVATURE = 1e-4


def with_verdicts(
    logits: Floats,
    vectors: Floats,
    places: Ids,
    present: npt.NDArray[np.bool_],
    *,
    spread: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Logits (N,) of one category once the verdicts are taken in.

    Args:
        logits: (N,) of the last training.
        vectors: (N, d) pooled features as the views compare them: mean squared length 1.
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
    offset: Floats, asked: Floats, truth: npt.NDArray[np.float64], spread: float
) -> npt.NDArray[np.float64]:
    """(n,) how hard each verdict pulls at the weights, by Newton's method."""
    kernel = spread * (asked @ asked.T).astype(np.float64)
    forces: npt.NDArray[np.float64] = np.zeros(len(truth))
    for _ in range(_STEPS):
        moved = kernel @ forces
        p = 1.0 / (1.0 + np.exp(-np.clip(offset + moved, -30, 30)))
        curvature = np.maximum(p * (1 - p), _LEAST_CURVATURE)
        goal = moved + (truth - p) / curvature
        forces = np.asarray(np.linalg.solve(kernel + np.diag(1 / curvature), goal), np.float64)
    return forces
