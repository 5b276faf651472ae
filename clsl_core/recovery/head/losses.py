"""What the heads are trained to do. All functions take logits z (B, C) and return a scalar.

Sources: ASL (arXiv 2009.14119); ROLE's expected positives (arXiv 2106.09708); Large Loss Matters
(arXiv 2206.03740) and SPLC (arXiv 2112.07368) for unknowns that are probably missed positives.

Two more are off by default. ``blending_loss`` mixes what two pictures hold of the same category
(SARB, arXiv 2203.02172), so that a category whose positives are few is seen in more surroundings:
for an entry another picture of the batch is drawn that is known to show the category, and the two
pictures' representations are mixed, and their labels alike. A picture's representation of a
category is its patches pooled by the category's own attention; the last layer of the head is linear
in it, so mixing representations is mixing scores, and no further pass is needed. ``structure_loss``
is a structured semantic prior (SCPNet, arXiv 2303.13283): categories with alike words go together
more often than chance, so the evidence for the nearest ones moves an unknown entry's score a
little, and the head is asked to agree. Each category's mean over the batch is taken away first, so
that a rare category does not become common by having a common neighbour.

Known entries and unknown entries each enter as a *mean*, so that their balance does not depend
on how few labels are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from clsl_core.recovery.label_graph import similar_categories

__all__ = [
    "LossConfig",
    "Structure",
    "asymmetric_loss",
    "blending_loss",
    "draw_partners",
    "expected_positives_loss",
    "ranking_loss",
    "recovery_loss",
    "reject_large_losses",
    "structure_loss",
    "weighted_mean",
]

_CERTAIN = 3.0  # logit of a known label as evidence
_NEIGHBOURS, _TEMPERATURE, _FULL = 4, 0.1, 0.5


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


def blending_loss(
    logits: Tensor,
    labels: Tensor,
    targets: Tensor,
    weights: Tensor,
    config: LossConfig,
    generator: torch.Generator,
) -> Tensor:
    """Mean ASL of blended entries against blended labels.

    Args:
        logits: (B, C).
        labels: (B, C) in {-1, 0, +1}.
        targets: (B, C) recovered ỹ in [0, 1], used where labels are 0.
        weights: (B, C) w ≥ 0 of the unknown entries; known ones count 1.
        config: ``blending_alpha`` shapes the mixture: Beta(a, a), one draw for each category.
        generator: Draws the partners and the mixtures.

    Returns:
        A scalar; 0 where no category has a known positive in the batch.
    """
    partners, there = draw_partners(labels, generator)
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        alpha = torch.full((labels.shape[1],), config.blending_alpha)
        share = torch.distributions.Beta(alpha, alpha).sample().to(logits.device)  # (C,)
    own = torch.where(labels != 0, (labels > 0).to(logits.dtype), targets)
    blended = share * logits + (1 - share) * logits.gather(0, partners)  # (B, C)
    wanted = share * own + (1 - share)
    counted = torch.where(labels != 0, torch.ones_like(weights), weights) * there
    return weighted_mean(asymmetric_loss(blended, wanted, config), counted)


def draw_partners(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each entry a picture of the batch that is known to show the category.

    Args:
        labels: (B, C) in {-1, 0, +1}.
        generator: On the CPU.

    Returns:
        ``partners`` (B, C) int64 rows of the batch, and ``there`` (B, C) float, 0 where none was
        found: the category has no known positive, or chance gave the picture itself.
    """
    B = len(labels)
    positive = (labels > 0).float().T.cpu()  # (C, B)
    some = positive.any(1, keepdim=True)
    odds = torch.where(some, positive, torch.ones_like(positive))
    partners = torch.multinomial(odds, B, replacement=True, generator=generator).T  # (B, C)
    there = some.T & (partners != torch.arange(B).unsqueeze(1))
    return partners.to(labels.device), there.float().to(labels.device)


@dataclass(frozen=True)
class Structure:
    """For each category the nearest others in words: ``index``, ``weight`` (C, k)."""

    index: Tensor
    weight: Tensor

    @classmethod
    def of(cls, vectors: npt.NDArray[np.float32], device: torch.device | str) -> Structure | None:
        """From category vectors (C, E); None where there is one category only."""
        if len(vectors) < 2:
            return None
        index, weight = similar_categories(vectors, _NEIGHBOURS, _TEMPERATURE, _FULL)
        return cls(torch.from_numpy(index).to(device), torch.from_numpy(weight).to(device))


def structure_loss(logits: Tensor, labels: Tensor, structure: Structure, strength: float) -> Tensor:
    """Cross-entropy of unknown entries against their own score moved by their neighbours.

    Args:
        logits: (B, C).
        labels: (B, C) in {-1, 0, +1}.
        structure: Who the neighbours are.
        strength: Logits an entry moves for each logit of its neighbours' weighted evidence.

    Returns:
        A scalar; its gradient is 0 where the neighbours have nothing to say.
    """
    with torch.no_grad():
        evidence = torch.where(labels != 0, _CERTAIN * labels, logits.clamp(-_CERTAIN, _CERTAIN))
        evidence = evidence - evidence.mean(0)  # (B, C)
        said = (evidence[:, structure.index] * structure.weight).sum(2)  # (B, C, k) -> (B, C)
        wanted = torch.sigmoid(logits + strength * said)
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return weighted_mean(losses, (labels == 0).to(logits.dtype))
