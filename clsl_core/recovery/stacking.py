"""Stacking: how much each model counts, learned on labels that the models have not seen.

A logistic regression on the models' logits, its weights pooled over all categories, with a
deviation for each category that is shrunk towards the pooled weights: a category with few known
labels is weighed like all others (partial pooling).

    fit_stacking        weighs the base models
    fit_head_stacking   weighs the ensemble against the head
    fit_pooled          the regression itself; calibration is one, too

Sources: stacked generalization (Wolpert 1992), with weights that depend on what is stacked
(Ting and Witten 1999, "Issues in stacked generalization": logits, and a linear model on top);
partial pooling (Gelman and Hill 2007, chapter 12). Convex, and minimised by ``optimise``.

Letters: N images, C categories, M entries (image-category pairs), V models stacked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from clsl_core.arrays import Doubles, Floats
from clsl_core.recovery.optimise import minimise
from clsl_core.recovery.positive_unlabelled import Entries, RecoveryConfig

__all__ = ["PooledLogistic", "fit_head_stacking", "fit_pooled", "fit_stacking"]


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


def fit_stacking(
    logits: Floats, entries: Entries, config: RecoveryConfig, start: Floats | None = None
) -> PooledLogistic:
    """Weigh models by their logits on ``entries``, which they have not seen.

    Args:
        logits: (V, N, C) of the models.
        entries: What to fit on.
        config: Ridge and shrinkage.
        start: (V + 1,) the weights that the pooled ones are pulled towards, zero by default.
    """
    return fit_pooled(
        logits[:, entries.rows, entries.columns].T,
        entries.truth,
        entries.weights,
        entries.columns,
        logits.shape[2],
        ridge=config.ridge,
        shrinkage=config.shrinkage,
        start=start,
    )


def fit_head_stacking(
    ensemble_logits: Floats, head: Floats, entries: Entries, config: RecoveryConfig
) -> PooledLogistic:
    """Weigh the ensemble against the head.

    Where the head moves more than the ensemble it is brought to its spread before it is weighed:
    one weight for all then does not drown the ensemble of a rare category, which hardly moves. A
    head that held-out labels speak against counts nothing.

    Args:
        ensemble_logits: (N, C) of the ensemble, without knowing the truth of ``entries``.
        head: (N, C) logits of the head, likewise.
        entries: What to fit on; with none the ensemble stays as it is.
        config: Ridge and shrinkage.

    Returns:
        Weights of [ensemble, head, 1].
    """
    scale = np.minimum(ensemble_logits.std(0) / np.maximum(head.std(0), 1e-6), 1.0)
    shift = ensemble_logits.mean(0) - scale * head.mean(0)
    start = np.array([1.0, 0.0, 0.0], np.float32)
    fitted = fit_stacking(np.stack([ensemble_logits, scale * head + shift]), entries, config, start)
    weights = fitted.weights
    share = np.maximum(weights[:, 1], 0.0)
    return PooledLogistic.of(
        np.stack([weights[:, 0], share * scale, weights[:, 2] + share * shift], 1)
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
