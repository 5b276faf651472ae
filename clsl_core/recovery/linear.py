"""Penalised logistic regressions, many at once: one for each category and each fold of images.

The objective is convex, and is minimised by ``optimise``.

Letters: N images, C categories, K folds, d features, G = K·C models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from clsl_core.arrays import Doubles
from clsl_core.compute import Pieces
from clsl_core.recovery.optimise import minimise

__all__ = ["fit_linear"]

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
