"""Multiple-instance linear models: each patch is scored, and the best patches decide.

An image is a bag of patches; what is known of the bag is not known of any of them
(multiple-instance learning: Dietterich et al. 1997).

A patch's score is a linear map R = X·W of its token; an image's logit is the mean of its patches'
scores, weighted by their own softmax, Σ_p softmax_p(R)·R + b. What is small in the picture counts
that way, which the mean token drowns. Source: PositiveCoOp's vision-only baseline
(arXiv 2409.08381), here with a penalty on the weights and a milder softmax.

Letters: N images, P patches, C categories, K folds, d token width, B images of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from clsl_core.arrays import Floats, Ids
from clsl_core.compute import Pieces
from clsl_core.features import FeatureView
from clsl_core.recovery.optimise import count_fit

__all__ = ["PatchConfig", "PatchModels", "fit_patches", "patch_logits"]

_ELEMENTS = 6_000_000  # patch scores held at once
_READ = 64  # images whose tokens are scored at once
_CHECKED = 512  # images on which a fit is held against its start


@dataclass(frozen=True)
class PatchConfig:
    """How the models are fitted.

    Attributes:
        steps: Of Adam, for each fold.
        batch_size: Images in a step, fewer where there are many categories.
        learning_rate: At the first step; it falls to nothing.
        l2: Strength of the penalty on the weights, in images.
        sharpness: Of the softmax over patches: 0 is their mean, large values the best one alone.
        folds: K, of images.
    """

    steps: int = 120
    batch_size: int = 256
    learning_rate: float = 0.05
    l2: float = 1.0
    sharpness: float = 0.7
    folds: int = 3


@dataclass(frozen=True)
class PatchModels:
    """Fitted models: ``weights`` (K, d, C) and ``bias`` (K, C), float32."""

    weights: Floats
    bias: Floats


def fit_patches(  # noqa: PLR0913 - arrays that belong together
    features: FeatureView,
    centre: Floats,
    scale: Floats,
    targets: Floats,
    weights: Floats,
    config: PatchConfig,
    *,
    folds: Ids | None,
    seed: int,
    device: str,
    offset: Floats | None = None,
    tick: Callable[[], None] = lambda: None,
) -> PatchModels:
    """Fit the models, the one of fold k without the images of fold k.

    Args:
        features: Of N images.
        centre: (d,), scale: (d,), by which tokens are standardised.
        scale: See above.
        targets: (N, C) in [0, 1].
        weights: (N, C) how much an entry counts.
        config: See ``PatchConfig``.
        folds: (N,) in [0, K), or None for one model of all images.
        seed: Of the order of the images.
        device: Of torch.
        offset: (K, N, C) logits that the models of each fold are added to, zero by default.
        tick: Called at every step.
    """
    count = 1 if folds is None else config.folds
    found = []
    for k in range(count):
        rows = np.flatnonzero((weights != 0).any(1) & (True if folds is None else folds != k))
        if not len(rows):
            rows = np.arange(len(features))
        draw = np.random.default_rng([seed, k])
        away = None if offset is None else offset[k]
        data = _Data(features, centre, scale, targets, weights, rows, away)
        found.append(_fit(data, config, draw, device, tick))
    return PatchModels(np.stack([w for w, _ in found]), np.stack([b for _, b in found]))


@dataclass(frozen=True)
class _Data:
    """What one model is fitted to."""

    features: FeatureView
    centre: Floats
    scale: Floats
    targets: Floats
    weights: Floats
    rows: Ids
    offset: Floats | None


def _fit(
    data: _Data,
    config: PatchConfig,
    draw: np.random.Generator,
    device: str,
    tick: Callable[[], None],
) -> tuple[Floats, Floats]:
    """Fit one model, in smaller steps once memory ran out."""
    patches = data.features.grid[0] * data.features.grid[1]
    categories = data.targets.shape[1]
    wished = int(np.clip(_ELEMENTS // (patches * categories), 8, config.batch_size))
    pieces = Pieces(min(wished, len(data.rows)), "fitting patch models")
    found: list[tuple[Floats, Floats]] = []

    def fit(size: int) -> None:
        found.append(_descend(data, config, size, draw, device, tick))

    while not pieces.fits(partial(fit, pieces.size), pieces.size):
        pass
    return found[0]


def _descend(
    data: _Data,
    config: PatchConfig,
    size: int,
    draw: np.random.Generator,
    device: str,
    tick: Callable[[], None],
) -> tuple[Floats, Floats]:
    """Weights (d, C) and bias (C,) after steps of ``size`` images."""
    categories = data.targets.shape[1]
    counted = data.weights[data.rows].sum(0)
    present = (data.weights * data.targets)[data.rows].sum(0)
    rate = (present + 0.5) / (counted + 1.0)
    bias = torch.tensor(np.log(rate / (1 - rate)), dtype=torch.float32, device=device)
    first = bias.clone()
    bias.requires_grad_(True)
    w = torch.zeros(data.features.dim, categories, device=device, requires_grad=True)
    optimiser = torch.optim.Adam([w, bias], lr=config.learning_rate)
    order = _Order(data.rows, size, draw)
    centre, scale = (torch.from_numpy(part).to(device) for part in (data.centre, data.scale))
    whole = _batch(data, data.rows, device) if size == len(data.rows) else None
    for step in range(config.steps):
        tick()
        optimiser.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.steps)
        x, y, m, away = whole or _batch(data, order.next(), device)
        z = away + _pool(x, w / scale.unsqueeze(1), (centre / scale) @ w, bias, config.sharpness)
        losses = torch.nn.functional.binary_cross_entropy_with_logits(z, y, m, reduction="sum")
        loss = losses * (len(data.rows) / len(x)) + 0.5 * config.l2 * w.square().sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return _checked(data, config, w, first, bias)


def _checked(
    data: _Data, config: PatchConfig, w: Tensor, first: Tensor, bias: Tensor
) -> tuple[Floats, Floats]:
    """The weights and biases of each category, at their start where that is better.

    The objective is not convex, and minimised by a fixed number of stochastic steps: what can be
    asked is that it ended below its start, on up to ``_CHECKED`` of the images.
    """
    rows = data.rows[:: max(1, len(data.rows) // _CHECKED)]
    start = _objective(data, config, rows, torch.zeros_like(w), first)
    end = _objective(data, config, rows, w.detach(), bias.detach())
    lower = torch.isfinite(end) & (end <= start * (1 + 1e-4) + 1e-4)
    count_fit("patch models", lower.cpu().numpy())
    kept = torch.where(lower, w.detach(), torch.zeros_like(w))
    return kept.cpu().numpy(), torch.where(lower, bias.detach(), first).cpu().numpy()


@torch.no_grad()
def _objective(data: _Data, config: PatchConfig, rows: Ids, w: Tensor, bias: Tensor) -> Tensor:
    """Penalised log loss (C,) of the images ``rows``, scaled up to all."""
    centre, scale = (torch.from_numpy(part).to(w.device) for part in (data.centre, data.scale))
    losses = torch.empty(len(rows), len(bias), device=w.device)
    patches = data.features.grid[0] * data.features.grid[1]
    size = int(np.clip(_ELEMENTS // (patches * len(bias)), 1, _READ))

    def judge(part: slice) -> None:
        x, y, m, away = _batch(data, rows[part], str(w.device))
        z = away + _pool(x, w / scale.unsqueeze(1), (centre / scale) @ w, bias, config.sharpness)
        losses[part] = torch.nn.functional.binary_cross_entropy_with_logits(
            z, y, m, reduction="none"
        )

    Pieces(size, "judging patch models").run(len(rows), judge)
    return losses.sum(0) * (len(data.rows) / len(rows)) + 0.5 * config.l2 * w.square().sum(0)


class _Order:
    """Rows in random order, again and again, without a last small batch."""

    def __init__(self, rows: Ids, size: int, draw: np.random.Generator) -> None:
        self._rows, self._size, self._draw = rows, size, draw
        self._queue = rows[:0]

    def next(self) -> Ids:
        """The next ``size`` rows."""
        if len(self._queue) < self._size:
            self._queue = self._draw.permutation(self._rows)
        taken, self._queue = self._queue[: self._size], self._queue[self._size :]
        return np.sort(taken)


def _batch(data: _Data, rows: Ids, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens (B, P, d), targets, weights and offset (B, C) of some images."""
    x = torch.from_numpy(data.features.tokens(rows)).to(device).float()
    y, m = (torch.from_numpy(part[rows]).to(device) for part in (data.targets, data.weights))
    away = torch.zeros_like(y) if data.offset is None else torch.from_numpy(data.offset[rows])
    return x, y, m, away.to(device)


def _pool(x: Tensor, w: Tensor, away: Tensor, bias: Tensor, sharpness: float) -> Tensor:
    """Tokens (B, P, d) -> logits (B, C); x·w - away is the score of the standardised token."""
    R = x @ w - away  # (B, P, C)
    return (torch.softmax(sharpness * R, 1) * R).sum(1) + bias


@torch.no_grad()
def patch_logits(
    models: PatchModels,
    features: FeatureView,
    rows: Ids,
    centre: Floats,
    scale: Floats,
    config: PatchConfig,
    *,
    device: str,
    tick: Callable[[], None] = lambda: None,
) -> Floats:
    """Logits (K, n, C) of the images ``rows``; see ``fit_patches`` for the other arguments."""
    count, _, categories = models.weights.shape
    bias = torch.from_numpy(models.bias).to(device)
    w = torch.from_numpy(models.weights / scale[:, None]).to(device)
    away = torch.from_numpy(np.einsum("d,kdc->kc", centre / scale, models.weights)).to(device)
    out = np.empty((count, len(rows), categories), np.float32)
    patches = features.grid[0] * features.grid[1]
    size = int(np.clip(_ELEMENTS // (patches * categories), 1, _READ))

    def score(part: slice) -> None:
        tick()
        x = torch.from_numpy(features.tokens(rows[part])).to(device).float()
        for k in range(count):
            out[k, part] = _pool(x, w[k], away[k], bias[k], config.sharpness).cpu().numpy()

    Pieces(size, "scoring patches").run(len(rows), score)
    return out
