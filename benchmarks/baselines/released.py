"""CLSL as its authors' program does it, written anew, its three faults included.

A yardstick, not a recommendation. What differs from ``clsl_core``:

    normalisation  BatchNorm over the B·C label features, so small batches disturb each other
    attention      a further A × A linear map between tanh and w, which only costs time
    fault (a)      known entries enter the loss as a *sum* over the batch, recovered ones as a
                   *mean*: with few labels recovery is a fraction of a percent of the loss
    fault (b)      sharpening by σ(z · max z): where all logits of an image are negative every
                   unknown label turns positive
    fault (c)      only the auxiliary head z0 learns from recovered labels, the scores are z1's

Choices this program leaves open on other features than its own: all widths are the tokens'; the
attention's is a quarter of that (twice in the original), as its cost grows with the square. The
original picks the epoch by test labels; here it is the last.

Letters: B batch, C categories, P patches, d token width, E vector width, A attention width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.baselines.descent import descend, epochs_for, in_batches, standard
from benchmarks.baselines.method import Predicted, Question
from clsl_core.arrays import Labels
from clsl_core.compute import half_the_threads
from clsl_core.features import FeatureView
from clsl_core.recovery.head.losses import LossConfig, asymmetric_loss

__all__ = ["Released", "ReleasedHead", "ReleasedLoss", "sharpen"]

_WARM_UP = 0.15  # share of the epochs without recovery
_RATE = 1e-3


class Released:
    """The released method on frozen tokens."""

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        with half_the_threads():
            return self._fit_predict(question)

    def _fit_predict(self, question: Question) -> Predicted:
        torch.manual_seed(question.seed)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        count = question.labels.shape[1]
        vectors = question.categories.vectors
        given = None if vectors is None else torch.from_numpy(vectors)
        width = question.train.dim
        head = ReleasedHead(question.train.grid, width, count, given, max(8, width // 4))
        mean, scale = standard(question.train)
        head.mean.copy_(mean)
        head.scale.copy_(scale)
        head.to(device)
        loss = ReleasedLoss(head, question.train, question.labels, device)
        teacher = descend(
            head,
            question.train,
            loss,
            epochs=loss.epochs,
            rate=_RATE,
            seed=question.seed,
            at_epoch=loss.begin,
        )
        train, test = (
            in_batches(lambda x: teacher(x).z1.sigmoid(), part, count, device)
            for part in (question.train, question.test)
        )
        return Predicted(train, test)


class _Output(NamedTuple):
    z1: Tensor
    z0: Tensor


class ReleasedHead(nn.Module):
    """Encoder, image-conditioned label features, bilinear attention, two heads.

    Args:
        grid: Rows and columns of patches.
        width: d.
        categories: C.
        vectors: (C, E), or None to learn them.
        attention: A.
    """

    mean: Tensor
    scale: Tensor
    positions: Tensor

    def __init__(
        self,
        grid: tuple[int, int],
        width: int,
        categories: int,
        vectors: Tensor | None,
        attention: int,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("positions", _waves(grid, width))
        start = torch.randn(categories, width) if vectors is None else vectors.clone()
        self.vectors = nn.Parameter(start, requires_grad=vectors is None)
        heads = math.gcd(8, width)
        self.attend = nn.MultiheadAttention(width, heads, dropout=0.1, batch_first=True)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(4 * width, width)
        )
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.join = nn.Linear(start.shape[1] + width, width)
        self.join_norm = nn.BatchNorm1d(width)
        self.join_out = nn.Linear(width, width)
        self.U, self.W = nn.Linear(width, attention), nn.Linear(width, attention)
        self.between = nn.Linear(attention, attention)
        self.w = nn.Linear(attention, 1)
        self.classify = nn.Sequential(
            nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(0.1), nn.Linear(width, categories)
        )
        self.auxiliary = nn.Linear(width, categories)

    def forward(self, tokens: Tensor) -> _Output:
        """(B, P, d) -> z1 and z0, (B, C) each."""
        X = self._encode((tokens - self.mean) / self.scale)  # (B, P, d)
        V = self._label_features(X)  # (B, C, d)
        S = self._attention(X, V)  # (B, P, C)
        F = S.softmax(-1) @ V  # (B, P, d)
        R = self.classify(torch.cat([F, X], -1))  # (B, P, C)
        return _Output((R.softmax(1) * R).sum(1), self.auxiliary(X).amax(1))

    def _encode(self, X: Tensor) -> Tensor:
        placed = X + self.positions
        X = self.norm1(X + self.attend(placed, placed, X, need_weights=False)[0])
        out: Tensor = self.norm2(X + self.feed(X))
        return out

    def _label_features(self, X: Tensor) -> Tensor:
        B, C = len(X), len(self.vectors)
        T = self.vectors.unsqueeze(0).expand(B, -1, -1)  # (B, C, E)
        image = X.mean(1, keepdim=True).expand(-1, C, -1)  # (B, C, d)
        V = self.join(torch.cat([T, image], -1)).flatten(0, 1)  # (B·C, d)
        out: Tensor = self.join_out(self.join_norm(V).relu()).view(B, C, -1)  # (B, C, d)
        return out

    def _attention(self, X: Tensor, V: Tensor) -> Tensor:
        joined = torch.tanh(self.U(X).unsqueeze(2) * self.W(V).unsqueeze(1))  # (B, P, C, A)
        out: Tensor = self.w(self.between(joined)).squeeze(-1)  # (B, P, C)
        return out


class ReleasedLoss:
    """The loss and the recovery of labels between epochs.

    Args:
        head: The one that learns.
        features: Of the N images.
        labels: (N, C) in {-1, 0, +1}.
        device: Of torch.
    """

    def __init__(
        self, head: ReleasedHead, features: FeatureView, labels: Labels, device: torch.device
    ) -> None:
        self.head, self.features, self.device = head, features, device
        self.labels = torch.from_numpy(labels).to(device)
        self.recovered = torch.zeros(labels.shape, device=device)
        self.epochs = epochs_for(features, 150)
        self.recovering = False

    def begin(self, epoch: int, teacher: nn.Module) -> None:
        """Before an epoch: recover what scores above the mean of its category's known positives."""
        self.recovering = epoch >= _WARM_UP * self.epochs
        if not self.recovering:
            return
        scores = torch.from_numpy(
            in_batches(
                lambda x: sharpen(teacher(x).z1), self.features, self.labels.shape[1], self.device
            )
        ).to(self.device)
        positive = (self.labels > 0).float()
        total = positive.sum(0)
        means = (scores * positive).sum(0) / total.clamp_min(1)
        self.recovered = (scores > torch.where(total > 0, means, 1.0)).float()

    def __call__(self, tokens: Tensor, rows: np.ndarray) -> Tensor:
        """The loss of one batch."""
        known, recovered = self.terms(tokens, rows)
        return known + recovered

    def terms(self, tokens: Tensor, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """The known term (a sum) and the recovered term (a mean, of z0 alone)."""
        places, config = torch.from_numpy(rows).to(self.device), LossConfig()
        labels = self.labels[places]
        z = self.head(tokens)
        known, truth = (labels != 0).float(), (labels > 0).float()
        losses = asymmetric_loss(z.z1, truth, config) + asymmetric_loss(z.z0, truth, config)
        sum_of_known = (losses * known).sum()
        if not self.recovering:
            return sum_of_known, sum_of_known.new_zeros(())
        guesses = asymmetric_loss(z.z0, self.recovered[places], config)
        unknown = 1 - known
        return sum_of_known, (guesses * unknown).sum() / unknown.sum().clamp_min(1)


def sharpen(logits: Tensor) -> Tensor:
    """σ(z · max z) over an image's categories: positive for all where all z are negative."""
    return torch.sigmoid(logits * logits.amax(1, keepdim=True))


def _waves(grid: tuple[int, int], width: int) -> Tensor:
    """Sine positions (P, width), a half for rows and a half for columns."""
    table = torch.zeros(grid[0] * grid[1], width)
    half = width // 2
    speeds = 10000 ** (-torch.arange(0, half, 2) / max(half, 1))
    y, x = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    for offset, axis in ((0, y), (half, x)):
        angles = axis.flatten().unsqueeze(1) * speeds  # (P, width / 4)
        table[:, offset : offset + half : 2] = angles.sin()[:, : (half + 1) // 2]
        table[:, offset + 1 : offset + half : 2] = angles.cos()[:, : half // 2]
    return table
