"""The training loop of the baselines that are networks: AdamW, one cycle, EMA."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clsl_core.arrays import Ids
from clsl_core.features import FeatureView

__all__ = ["descend", "epochs_for", "in_batches", "standard"]

Loss = Callable[[Tensor, Ids], Tensor]
"""(tokens (B, P, d), their rows (B,)) -> scalar."""

_BATCH = 32
_SCORED = 128
_EPOCHS = 20


def descend(
    module: nn.Module,
    features: FeatureView,
    loss: Loss,
    *,
    epochs: int,
    rate: float,
    seed: int,
    ema: float = 0.999,
    at_epoch: Callable[[int, nn.Module], None] = lambda epoch, teacher: None,
) -> nn.Module:
    """Train and give back the moving average of the weights.

    Args:
        module: Trained in place.
        features: Of the images to learn from.
        loss: Of one batch.
        epochs: Passes over the images.
        rate: Peak learning rate.
        seed: Of the order of the images.
        ema: Decay of the average, smaller in the first steps.
        at_epoch: Called before each pass with its number and the average so far.
    """
    teacher = deepcopy(module).eval()
    rng = np.random.default_rng(seed)
    steps = math.ceil(len(features) / _BATCH)
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=1e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * steps)
    for epoch in range(epochs):
        at_epoch(epoch, teacher)
        module.train()
        order = rng.permutation(len(features))
        for step in range(steps):
            rows = order[step * _BATCH : (step + 1) * _BATCH]
            optimiser.zero_grad()
            loss(_read(features, rows, module), rows).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimiser.step()
            cycle.step()
            _follow(teacher, module, ema, epoch * steps + step)
    return teacher


def epochs_for(features: FeatureView, least_steps: int) -> int:
    """Twenty passes, or as many as make these steps: a few hundred images need more passes."""
    return max(_EPOCHS, math.ceil(least_steps / math.ceil(len(features) / _BATCH)))


@torch.no_grad()
def in_batches(
    score: Callable[[Tensor], Tensor], features: FeatureView, width: int, device: torch.device
) -> npt.NDArray[np.float32]:
    """(N, width) of ``score`` (B, P, d) -> (B, width), without holding all tokens."""
    out = np.empty((len(features), width), np.float32)
    for start in range(0, len(features), _SCORED):
        rows = np.arange(start, min(start + _SCORED, len(features)))
        tokens = torch.from_numpy(features.tokens(rows)).to(device).float()
        out[rows] = score(tokens).cpu().numpy()
    return out


def standard(features: FeatureView) -> tuple[Tensor, Tensor]:
    """Mean (d,) and overall scale () of a sample of tokens."""
    rows = np.arange(0, len(features), max(1, len(features) // 512))
    flat = torch.from_numpy(features.tokens(rows)).float().flatten(0, 1)
    return flat.mean(0), (flat - flat.mean(0)).std().clamp_min(1e-6)


def _read(features: FeatureView, rows: Ids, module: nn.Module) -> Tensor:
    device = next(module.parameters()).device
    return torch.from_numpy(features.tokens(rows)).to(device).float()


@torch.no_grad()
def _follow(teacher: nn.Module, module: nn.Module, decay: float, step: int) -> None:
    share = 1 - min(decay, (1 + step) / (10 + step))
    for own, other in zip(teacher.state_dict().values(), module.state_dict().values(), strict=True):
        if own.dtype.is_floating_point:
            own.lerp_(other, share)
        else:
            own.copy_(other)
