"""The small head an image tower is trained through, and thrown away afterwards."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from clsl_core.arrays import Floats

__all__ = ["TowerHead"]


class TowerHead(nn.Module):
    """Scores categories from tokens and the pooled embedding.

    Args:
        vectors: (C, d) where the category vectors start.
        priors: (C,) share of positives the bias starts from, in (0, 1).
    """

    def __init__(self, vectors: Floats, priors: Floats) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.from_numpy(vectors.copy()))
        self.scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.b = nn.Parameter(torch.logit(torch.from_numpy(priors)))

    def forward(self, tokens: Tensor, pooled: Tensor) -> Tensor:
        """Unit tokens (B, P, d) and vectors (B, d) -> logits (B, C)."""
        V = nn.functional.normalize(self.vectors, dim=-1)  # (C, d)
        r = self.scale.exp() * (tokens @ V.T)  # (B, P, C)
        patches = (r.softmax(1) * r).sum(1)  # (B, C)
        return 0.5 * (patches + self.scale.exp() * (pooled @ V.T)) + self.b
