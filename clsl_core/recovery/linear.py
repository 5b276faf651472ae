"""Logistic regressions, many at once.

``fit_linear`` fits one classifier for each category and each fold of images in one go;
``fit_pooled`` fits one small logistic regression with a deviation for each category that is
shrunk towards the pooled one, as blending and calibration need.

Letters: N images, C categories, K folds, d features, M entries (image-category pairs), V inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clsl_core.compute import Pieces

__all__ = ["PooledLogistic", "fit_linear", "fit_pooled"]

_NEWTON_STEPS = 12
_MAX_LOGIT = 30.0


def fit_linear(
    features: Tensor,
    targets: Tensor,
    weights: Tensor,
    folds: Tensor,
    *,
    fold_count: int,
    l2: float,
    steps: int = 40,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    """Fit K·C logistic regressions, those of fold k without the images of fold k.

    Each step solves with one curvature matrix that bounds the Hessians of all of them (Böhning
    1992), accelerated by momentum: one factorisation of (d + 1, d + 1) serves every category.

    Args:
        features: (N, d) float32, standardised.
        targets: (N, C) float32 in [0, 1].
        weights: (N, C) float32 in [0, 1].
        folds: (N,) int64 in [0, fold_count).
        fold_count: K; with 1 nothing is left out.
        l2: Strength of the penalty on the weights (not on the intercept), in images.
        steps: Of the solver.
        tick: Called at every step.

    Returns:
        (K, d + 1, C) weights, the intercept last.

    Raises:
        TrainingError: Memory does not suffice for one category at a time.
    """
    x = torch.cat([features, torch.ones_like(features[:, :1])], 1)  # (N, d + 1)
    penalty = torch.full((x.shape[1],), l2, device=x.device)
    penalty[-1] = 1e-2
    solve = torch.linalg.cholesky(0.25 * (x.T @ x) + torch.diag(penalty))
    beta = x.new_zeros(fold_count, x.shape[1], targets.shape[1])
    keep = [(folds != k).float().unsqueeze(1) if fold_count > 1 else 1.0 for k in range(fold_count)]

    def descend(part: slice) -> None:
        """Fit some of the categories."""
        for k in range(fold_count):
            w, y = weights[:, part] * keep[k], targets[:, part]
            here = before = torch.zeros_like(beta[k, :, part])
            for step in range(steps):
                tick()
                ahead = here + step / (step + 3.0) * (here - before)
                slope = x.T @ (w * (torch.sigmoid(x @ ahead) - y)) + penalty.unsqueeze(1) * ahead
                before, here = here, ahead - torch.cholesky_solve(slope, solve)
            beta[k, :, part] = here

    count = targets.shape[1]
    Pieces(count, "fitting linear models", "category").run(count, descend)
    return beta


@dataclass(frozen=True)
class PooledLogistic:
    """Logit = x · (pooled + deviation of the entry's category), the intercept last.

    Attributes:
        pooled: (V + 1,) float32.
        deviations: (C, V + 1) float32, zero for categories with little to learn from.
    """

    pooled: npt.NDArray[np.float32]
    deviations: npt.NDArray[np.float32]

    @classmethod
    def of(cls, weights: npt.NDArray[np.float32]) -> PooledLogistic:
        """The map with these weights (C, V + 1); what is pooled is their mean."""
        pooled = weights.mean(0)
        return cls(pooled.astype(np.float32), (weights - pooled).astype(np.float32))

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """(C, V + 1) weights of each category."""
        return self.pooled + self.deviations

    def apply(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits (N, C) of inputs (V, N, C)."""
        weights = self.weights
        out = np.broadcast_to(weights[:, -1], inputs.shape[1:]).astype(np.float32)
        for v, values in enumerate(inputs):
            out += values * weights[:, v]
        return out


def fit_pooled(
    inputs: npt.NDArray[np.float32],
    truth: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float32],
    categories: npt.NDArray[np.int64],
    category_count: int,
    *,
    ridge: float,
    shrinkage: float,
    start: npt.NDArray[np.float32] | None = None,
) -> PooledLogistic:
    """Fit the pooled weights, then each category's deviation from them.

    Args:
        inputs: (M, V) of the entries.
        truth: (M,) whether the entry is positive.
        weights: (M,) how much it counts.
        categories: (M,) its category.
        category_count: C.
        ridge: Pull of the pooled weights (not of the intercept) towards ``start``.
        shrinkage: Pull of a category's weights towards the pooled ones.
        start: (V + 1,), zero by default.
    """
    x = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], 1).astype(np.float64)
    centre = np.zeros(x.shape[1]) if start is None else start.astype(np.float64)
    scale = np.append(np.maximum(x[:, :-1].std(0), 1e-3) if len(x) else np.ones(x.shape[1] - 1), 1)
    x = x / scale
    y, w = truth.astype(np.float64), weights.astype(np.float64)
    pull = np.append(np.full(x.shape[1] - 1, ridge), 1e-3 if start is None else ridge)
    one = np.zeros(len(x), np.int64)
    pooled = _newton(x, y, w, one, np.zeros(len(x)), pull, (centre * scale)[None])[0]
    offset = x @ pooled
    spread = np.full(x.shape[1], shrinkage)
    zero = np.zeros((category_count, x.shape[1]))
    deviations = _newton(x, y, w, categories, offset, spread, zero)
    return PooledLogistic(
        (pooled / scale).astype(np.float32), (deviations / scale).astype(np.float32)
    )


def _newton(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    w: npt.NDArray[np.float64],
    groups: npt.NDArray[np.int64],
    offset: npt.NDArray[np.float64],
    pull: npt.NDArray[np.float64],
    centre: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Weights (G, V) minimising each group's log loss + ½ Σ pull·(weights - centre)²."""
    beta = centre.copy()
    order = np.argsort(groups, kind="stable")
    x, y, w, groups, offset = x[order], y[order], w[order], groups[order], offset[order]
    present, starts = np.unique(groups, return_index=True)
    for _ in range(_NEWTON_STEPS if len(present) else 0):
        z = offset + np.einsum("mv,mv->m", x, beta[groups])
        p = 1 / (1 + np.exp(-np.clip(z, -_MAX_LOGIT, _MAX_LOGIT)))
        slope = np.add.reduceat(x * (w * (p - y))[:, None], starts) + pull * (
            beta[present] - centre[present]
        )
        curvature = np.stack(
            [
                (part * weight[:, None]).T @ part
                for part, weight in zip(
                    np.split(x, starts[1:]), np.split(w * p * (1 - p), starts[1:]), strict=True
                )
            ]
        ) + np.diag(pull)
        step = np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
        beta[present] -= np.clip(step, -2.0, 2.0)
    return beta
