"""Logistic regressions, many at once.

``fit_linear`` fits one classifier for each category and each fold of images in one go;
``fit_pooled`` fits one small logistic regression with a deviation for each category that is
shrunk towards the pooled one, as stacking and calibration need. Both are convex, and are minimised
by ``optimise``.

Letters: N images, C categories, K folds, d features, M entries (image-category pairs), V inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import Tensor

from clsl_core.arrays import Doubles
from clsl_core.compute import Pieces
from clsl_core.recovery.optimise import minimise

__all__ = ["PooledLogistic", "fit_linear", "fit_pooled"]

_SINGLE = 3e-6  # what float32 sums of losses can tell apart, as a share of them
_CG_STEPS = 40
_INTERCEPT = 1e-2  # penalty of the intercept, in images


def fit_linear(  # noqa: PLR0913 - arrays that belong together
    features: Tensor,
    targets: Tensor,
    weights: Tensor,
    folds: Tensor,
    *,
    fold_count: int,
    l2: float,
    offset: Tensor | None = None,
    start: Tensor | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    """Fit K·C logistic regressions, those of fold k without the images of fold k.

    Args:
        features: (N, d) float32, standardised.
        targets: (N, C) float32 in [0, 1].
        weights: (N, C) float32 in [0, 1].
        folds: (N,) int64 in [0, fold_count).
        fold_count: K; with 1 nothing is left out.
        l2: Strength of the penalty on the weights (not on the intercept), in images.
        offset: (K, N, C) logits that the models of each fold are added to, zero by default.
        start: (K, d + 1, C) to start from, zero by default; that of fold k must know nothing of
            the images of fold k either.
        tick: Called at every step.

    Returns:
        (K, d + 1, C) weights, the intercept last.

    Raises:
        TrainingError: Memory does not suffice for one category at a time.
    """
    x = torch.cat([features, torch.ones_like(features[:, :1])], 1)  # (N, d + 1)
    count = targets.shape[1]
    beta = x.new_zeros(fold_count, x.shape[1], count) if start is None else start.clone()
    directions = _Directions.of(x)
    keep = [(folds != k).float().unsqueeze(1) if fold_count > 1 else 1.0 for k in range(fold_count)]

    def descend(part: slice) -> None:
        """Fit some of the categories."""
        for k, kept in enumerate(keep):
            away = 0.0 if offset is None else offset[k][:, part]
            objective = _Logistic(
                x, targets[:, part], weights[:, part] * kept, l2, directions, away
            )
            before = beta[k, :, part].T.double().cpu().numpy()
            found = minimise(objective, before, what="linear models", tolerance=_SINGLE, tick=tick)
            beta[k, :, part] = torch.from_numpy(found.x.T).to(beta)

    Pieces(count, "fitting linear models", "category").run(count, descend)
    return beta


@dataclass(frozen=True)
class _Directions:
    """XᵀX = axes · diag(lengths) · axesᵀ, which serves as a preconditioner for every category."""

    axes: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, x: Tensor) -> _Directions:
        """Of inputs (N, d + 1)."""
        lengths, axes = torch.linalg.eigh((x.T @ x).double())
        return cls(axes.to(x.dtype), lengths.clamp_min(0).to(x.dtype))


class _Logistic:
    """The penalised log losses of some categories, as ``optimise.Objective``.

    Args:
        x: (N, d + 1).
        y: (N, G) in [0, 1].
        w: (N, G).
        l2: Penalty of all but the intercept.
        directions: Of x.
        offset: (N, G) logits that x·weights is added to.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        w: Tensor,
        l2: float,
        directions: _Directions,
        offset: Tensor | float,
    ) -> None:
        self.offset = offset
        self.x, self.y, self.w, self.l2, self.directions = x, y, w, l2, directions
        self.penalty = torch.full((x.shape[1], 1), l2, device=x.device)
        self.penalty[-1] = _INTERCEPT

    def look(self, x: Doubles) -> tuple[Doubles, Doubles]:
        """See Objective."""
        beta = self._tensor(x)
        z = self.offset + self.x @ beta  # (N, G)
        loss = self.w * (torch.nn.functional.softplus(z) - self.y * z)
        values = loss.sum(0, dtype=torch.float64) + 0.5 * (self.penalty * beta.square()).sum(
            0, dtype=torch.float64
        )
        slopes = self.x.T @ (self.w * (torch.sigmoid(z) - self.y)) + self.penalty * beta
        return values.cpu().numpy(), slopes.T.double().cpu().numpy()

    def direction(self, x: Doubles, slopes: Doubles) -> Doubles:
        """See Objective: by preconditioned conjugate gradients, which need no (d, d, G)."""
        p = torch.sigmoid(self.offset + self.x @ self._tensor(x))
        curvature = self.w * p * (1 - p)  # (N, G)
        scale = curvature.mean(0) * self.directions.lengths.unsqueeze(1) + self.l2 + 1e-6

        def curve(v: Tensor) -> Tensor:
            return self.x.T @ (curvature * (self.x @ v)) + self.penalty * v

        def ease(r: Tensor) -> Tensor:
            axes = self.directions.axes
            return axes @ ((axes.T @ r) / scale)

        return _conjugate(curve, ease, self._tensor(slopes)).T.double().cpu().numpy()

    def _tensor(self, x: Doubles) -> Tensor:
        return torch.from_numpy(x.T).to(self.x)


def _conjugate(
    curve: Callable[[Tensor], Tensor], ease: Callable[[Tensor], Tensor], goal: Tensor
) -> Tensor:
    """Solve curve(v) = goal for each column, roughly: (V, G) (Nocedal and Wright, 5.3)."""
    v, r = torch.zeros_like(goal), goal.clone()
    z = ease(r)
    p, rz = z, (r * z).sum(0)
    enough = 1e-2 * rz.clamp_min(0)
    for _ in range(_CG_STEPS):
        bent = curve(p)
        size = rz / (p * bent).sum(0).clamp_min(1e-30)
        size = torch.where(rz > enough, size, torch.zeros_like(size))
        v, r = v + size * p, r - size * bent
        z = ease(r)
        new = (r * z).sum(0)
        if not bool((new > enough).any()):
            break
        p, rz = z + (new / rz.clamp_min(1e-30)) * p, new
    return v


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


def fit_pooled(  # noqa: PLR0913 - arrays that belong together
    inputs: npt.NDArray[np.float32],
    truth: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float32],
    categories: npt.NDArray[np.int64],
    category_count: int,
    *,
    ridge: float,
    shrinkage: float,
    start: npt.NDArray[np.float32] | None = None,
    what: str = "stacking",
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
        what: Names the fit in the log and the counts.
    """
    x = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], 1).astype(np.float64)
    centre = np.zeros(x.shape[1]) if start is None else start.astype(np.float64)
    scale = np.append(np.maximum(x[:, :-1].std(0), 1e-3) if len(x) else np.ones(x.shape[1] - 1), 1)
    x = x / scale
    y, w = truth.astype(np.float64), weights.astype(np.float64)
    pull = np.append(np.full(x.shape[1] - 1, ridge), 1e-3 if start is None else ridge)
    one, still = np.zeros(len(x), np.int64), np.zeros(len(x))
    together = _Grouped(x, y, w, one, still, pull, (centre * scale)[None])
    pooled = minimise(together, together.centre, what=what).x[0]
    spread = np.full(x.shape[1], shrinkage)
    zero = np.zeros((category_count, x.shape[1]))
    apart = _Grouped(x, y, w, categories, x @ pooled, spread, zero)
    deviations = minimise(apart, zero, what=f"{what} by category").x
    return PooledLogistic(
        (pooled / scale).astype(np.float32), (deviations / scale).astype(np.float32)
    )


class _Grouped:
    """Each group's log loss + ½ Σ pull·(weights - centre)², as ``optimise.Objective``.

    Args:
        x: (M, V).
        y: (M,) in [0, 1].
        w: (M,).
        groups: (M,) in [0, G).
        offset: (M,) logits to which x·weights is added.
        pull: (V,) above 0.
        centre: (G, V).
    """

    def __init__(
        self,
        x: Doubles,
        y: Doubles,
        w: Doubles,
        groups: npt.NDArray[np.int64],
        offset: Doubles,
        pull: Doubles,
        centre: Doubles,
    ) -> None:
        order = np.argsort(groups, kind="stable")
        self.x, self.y, self.w, self.groups = x[order], y[order], w[order], groups[order]
        self.offset, self.pull, self.centre = offset[order], pull, centre
        self.present, self.starts = np.unique(self.groups, return_index=True)

    def look(self, x: Doubles) -> tuple[Doubles, Doubles]:
        """See Objective."""
        away = x - self.centre
        values, slopes = 0.5 * (self.pull * away * away).sum(1), self.pull * away
        if len(self.present):
            z = self._logits(x)
            loss = self.w * (np.logaddexp(0, z) - self.y * z)
            values[self.present] += np.add.reduceat(loss, self.starts)
            force = self.w * (expit(z) - self.y)
            slopes[self.present] += np.add.reduceat(self.x * force[:, None], self.starts)
        return values, slopes

    def direction(self, x: Doubles, slopes: Doubles) -> Doubles:
        """See Objective."""
        out: Doubles = slopes / self.pull
        if len(self.present):
            p = expit(self._logits(x))
            bends = np.split(self.w * p * (1 - p), self.starts[1:])
            parts = np.split(self.x, self.starts[1:])
            curvature = np.stack(
                [(part * bend[:, None]).T @ part for part, bend in zip(parts, bends, strict=True)]
            )
            solved = np.linalg.solve(curvature + np.diag(self.pull), slopes[self.present, :, None])
            out[self.present] = solved[:, :, 0]
        return out

    def _logits(self, x: Doubles) -> Doubles:
        out: Doubles = self.offset + np.einsum("mv,mv->m", self.x, x[self.groups])
        return out
