"""Blending what two pictures hold of the same category (SARB, arXiv 2203.02172).

For an entry (picture, category) another picture of the batch is drawn that is known to show the
category; the two pictures' representations of the category are mixed, and their labels alike. So
a category whose positives are few is seen in more surroundings.

A picture's representation of a category is its patches pooled by the category's own attention.
The last layer of the head is linear in it, so mixing representations is mixing their scores, and
no further pass through the head is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clsl_core.recovery.head.losses import LossConfig, asymmetric_loss, weighted_mean

__all__ = ["blending_loss", "draw_partners"]


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
