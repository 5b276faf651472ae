"""A linear head on patch tokens with softmax pooling: PositiveCoOp's vision-only baseline.

Each patch is scored by one linear map; an image's score is the softmax-weighted mean of its
patches' scores. Source: PositiveCoOp (arXiv 2409.08381), whose point is how far this goes without
any text.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.baselines.descent import descend, epochs_for, in_batches, standard
from benchmarks.baselines.method import Predicted, Question, weak_negatives
from clsl_core.compute import half_the_threads
from clsl_core.features import FeatureView
from clsl_core.recovery.head.losses import LossConfig, asymmetric_loss, weighted_mean

__all__ = ["TokenHead"]


class TokenHead:
    """Trained with ASL on known entries; on all of them where too few negatives are known."""

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        with half_the_threads():
            return self._fit_predict(question)

    def _fit_predict(self, question: Question) -> Predicted:
        torch.manual_seed(question.seed)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        labels = torch.from_numpy(question.labels).to(device)
        weak = weak_negatives(question.labels)
        head = _Head(question.train, labels.shape[1]).to(device)
        config = LossConfig()

        def loss(tokens: Tensor, rows: np.ndarray) -> Tensor:
            wanted = labels[torch.from_numpy(rows).to(device)]
            counted = torch.ones_like(wanted) if weak else (wanted != 0)
            losses = asymmetric_loss(head(tokens), (wanted > 0).float(), config)
            return weighted_mean(losses, counted.float())

        best = descend(
            head,
            question.train,
            loss,
            epochs=epochs_for(question.train, 300),
            rate=1e-2,
            seed=question.seed,
        )
        train, test = (
            in_batches(lambda x: best(x).sigmoid(), part, labels.shape[1], device)
            for part in (question.train, question.test)
        )
        return Predicted(train, test)


class _Head(nn.Module):
    mean: Tensor
    scale: Tensor

    def __init__(self, features: FeatureView, categories: int) -> None:
        super().__init__()
        mean, scale = standard(features)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.linear = nn.Linear(features.dim, categories)
        nn.init.zeros_(self.linear.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, P, d) -> logits (B, C)."""
        R = self.linear((tokens - self.mean) / self.scale)  # (B, P, C)
        out: Tensor = (R.softmax(1) * R).sum(1)
        return out
