"""What the heads are trained to do. All functions take logits z (B, C) and return a scalar.

Sources: ASL (arXiv 2009.14119); ROLE's expected positives (arXiv 2106.09708); Large Loss Matters
(arXiv 2206.03740) and SPLC (arXiv 2112.07368) for unknowns that are probably missed positives.

Known entries and unknown entries each enter as a *mean*, so that their balance does not depend
on how few labels are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "LossConfig",
    "asymmetric_loss",
    "expected_positives_loss",
    "ranking_loss",
    "recovery_loss",
    "reject_large_losses",
    "weighted_mean",
]


@dataclass(frozen=True)
class LossConfig:
    """Weights of the parts of the loss.

    Attributes:
        gamma_positive, gamma_negative: Focusing of ASL.
        recovered: λ at full strength: weight of the unknown entries beside the known ones.
        auxiliary: Weight of head z0 beside z1.
        weak_negative: Weight of an unknown entry nobody vouches for, as a negative, when known
            negatives are scarce.
        large_loss: Share of the unknown entries rejected as probable missed positives by the end
            of training.
        flip_above: A rejected unknown whose teacher probability exceeds this becomes a positive.
        expected_positives: Weight of the regulariser on the number of positives.
        ranking: Weight of "known positives above unknowns".
        rivals: Unknown entries each known positive is compared with.
        blending: Weight of representations blended between pictures; off at 0.
        blending_alpha: Shapes their mixture, Beta(a, a).
        structure: Weight of agreement with categories alike in words; off at 0.
        structure_strength: How far these move a score.
    """

    gamma_positive: float = 0.0
    gamma_negative: float = 2.0
    recovered: float = 1.0
    auxiliary: float = 0.5
    weak_negative: float = 0.3
    large_loss: float = 0.02
    flip_above: float = 0.95
    expected_positives: float = 0.05
    ranking: float = 0.5
    rivals: int = 8
    blending: float = 0.0
    blending_alpha: float = 1.0
    structure: float = 0.0
    structure_strength: float = 0.5


def asymmetric_loss(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    """ASL of every entry, its focusing weights detached, for targets in [0, 1] (soft allowed).

    Returns:
        (B, C), not reduced.
    """
    with torch.no_grad():
        p = torch.sigmoid(logits)
        focus_positive = (1 - p).pow(config.gamma_positive) * targets
        focus_negative = p.pow(config.gamma_negative) * (1 - targets)
    positive = -functional.logsigmoid(logits) * focus_positive
    negative = -functional.logsigmoid(-logits) * focus_negative
    return positive + negative


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Σ w·v / Σ w, or 0 where no weight is."""
    return (values * weights).sum() / weights.sum().clamp_min(1e-6)


def recovery_loss(
    logits: Tensor,
    labels: Tensor,
    targets: Tensor,
    weights: Tensor,
    strength: float,
    config: LossConfig,
) -> Tensor:
    """Mean ASL over known entries + ``strength`` · weighted mean ASL over unknown ones.

    Args:
        logits: (B, C) of one head.
        labels: (B, C) in {-1, 0, +1}.
        targets: (B, C) recovered ỹ in [0, 1], used where labels are 0.
        weights: (B, C) w ≥ 0 of the unknown entries.
        strength: λ(t).
        config: γ and so on.
    """
    known = (labels != 0).to(logits.dtype)
    wanted = torch.where(labels != 0, (labels > 0).to(logits.dtype), targets)
    losses = asymmetric_loss(logits, wanted, config)
    return weighted_mean(losses, known) + strength * weighted_mean(losses, weights * (1 - known))


@torch.no_grad()
def reject_large_losses(
    probabilities: Tensor,
    labels: Tensor,
    targets: Tensor,
    weights: Tensor,
    share: float,
    flip_above: float,
) -> tuple[Tensor, Tensor]:
    """Drop or flip the unknown entries that look most like missed positives.

    Among unknown entries with a target below 0.5, the ``share`` with the largest loss as a
    negative (that is, the highest teacher probability) gets weight 0, or target 1 when the
    probability exceeds ``flip_above``.

    Returns:
        New targets and weights, (B, C) each.
    """
    weak = (labels == 0) & (targets < 0.5)
    count = int(share * int(weak.sum()))
    if count == 0:
        return targets, weights
    floor = torch.topk(probabilities[weak], count).values[-1]
    rejected = weak & (probabilities >= floor)
    flipped = rejected & (probabilities > flip_above)
    weights = torch.where(rejected & ~flipped, torch.zeros_like(weights), weights)
    return torch.where(flipped, torch.ones_like(targets), targets), weights


def expected_positives_loss(logits: Tensor, labels: Tensor, priors: Tensor) -> Tensor:
    """Pull the expected number of positives in a batch towards what the priors say.

    Known entries count as what they are. The squared difference of shares is divided by the
    prior, so that rare categories are not drowned by common ones.

    Args:
        logits: (B, C).
        labels: (B, C) in {-1, 0, +1}.
        priors: (C,) estimated share of positives, in (0, 1).
    """
    p = torch.where(labels != 0, (labels > 0).to(logits.dtype), torch.sigmoid(logits))
    return ((p.mean(0) - priors).square() / priors).mean()


def ranking_loss(
    logits: Tensor, labels: Tensor, targets: Tensor, rivals: int, generator: torch.Generator
) -> Tensor:
    """Rank each known positive above ``rivals`` unknown entries of its category in the batch.

    An unknown entry counts by 1 - ỹ, so that recovered positives are not pushed down.
    """
    rows, columns = torch.nonzero(labels > 0, as_tuple=True)
    if not len(rows) or len(logits) < 2:
        return logits.sum() * 0.0
    picks = torch.randint(len(logits), (len(rows), rivals), generator=generator).to(logits.device)
    others = columns.unsqueeze(1)
    weights = (labels[picks, others] == 0) * (1 - targets[picks, others])  # (positives, rivals)
    gaps = logits[picks, others] - logits[rows, columns].unsqueeze(1)
    return weighted_mean(functional.softplus(gaps), weights)
