"""A structured semantic prior on the head's scores, after SCPNet (arXiv 2303.13283).

Categories with alike words are asked for together more often than chance. For every unknown
entry the evidence for the categories nearest in words, from their labels where these are known
and from the head's own scores elsewhere, moves the entry's score a little, and the head is asked
to agree with the moved score. Each category's mean over the batch is taken away first, so that a
rare category does not become common by having a common neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from clsl_core.recovery.head.losses import weighted_mean
from clsl_core.recovery.label_graph import similar_categories

__all__ = ["Structure", "structure_loss"]

_CERTAIN = 3.0  # logit of a known label as evidence
_NEIGHBOURS, _TEMPERATURE, _FULL = 4, 0.1, 0.5


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
