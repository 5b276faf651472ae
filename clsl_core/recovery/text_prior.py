"""What category names alone say about pictures, where patches and words share a space.

    S[p, c] = cos(x_p, t_c) / T - ½ log Σ_w exp(cos(x_p, t_w) / T)     w: categories, background
    z[c]    = mean of the best tenth of S[·, c] over patches, brought to mean 0 and spread 1

Words compete at each patch, but only half: a full softmax says "which of these", and is silent
where several are there. The temperature T is how far a patch's cosines spread over the words, read
off the tokens: a fixed one saturates wherever the space spreads wider than the model it was meant
for, and a saturated score can neither be weighed nor learned from. Nothing is cut off.

Sources: scores of patches against words and background words (MaskCLIP, arXiv 2112.01071; the best
patches decide: TagCLIP, arXiv 2312.12828).

Letters: B pictures, P patches, C categories, K background words, d token width.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clsl_core.types import JsonObject

__all__ = ["TextPrior", "best_patches", "cosines_with_words", "word_evidence"]

_BEST = 10  # one patch of so many decides
_USUAL = 0.1  # temperature before any token was seen
_CERTAIN = 0.999  # share of one word among all from which on a patch is saturated


class TextPrior(nn.Module):
    """Text vectors, and how scores against them spread.

    Args:
        vectors: (C, d) text embeddings of the categories.
        background: (K, d) of words that are no category; without them the mean category vector
            stands for "something".
        temperature: T; 0 reads it off the tokens.
    """

    words: Tensor
    others: Tensor
    temperature: Tensor
    centre: Tensor
    spread: Tensor
    saturated: Tensor

    def __init__(
        self,
        vectors: npt.NDArray[np.float32],
        background: npt.NDArray[np.float32] | None = None,
        temperature: float = 0.0,
    ) -> None:
        super().__init__()
        # Copies: the head holds the same vectors, and what shares memory cannot be saved.
        words = torch.tensor(np.asarray(vectors, np.float32))
        given = background is not None and len(background) > 0
        others = torch.tensor(np.asarray(background, np.float32)) if given else words[:0].clone()
        self.register_buffer("words", words)
        self.register_buffer("others", others)
        self._fixed = temperature > 0
        self.register_buffer("temperature", torch.tensor(temperature or _USUAL))
        self.register_buffer("centre", torch.tensor(0.0))
        self.register_buffer("spread", torch.tensor(1.0))
        self.register_buffer("saturated", torch.tensor(0.0))

    @torch.no_grad()
    def standardise(self, tokens: Tensor) -> None:
        """Read temperature, centre and spread off a sample of tokens (B, P, d)."""
        cosines = cosines_with_words(tokens, self.words, self.others)
        if not self._fixed:
            self.temperature.copy_(cosines.std(-1, correction=0).mean().clamp_min(1e-4))
        certain = (cosines / self.temperature).softmax(-1).amax(-1) > _CERTAIN
        self.saturated.copy_(certain.float().mean())
        z = best_patches(word_evidence(tokens, self.words, self.others, float(self.temperature)))
        self.centre.copy_(z.mean())
        self.spread.copy_(z.std(correction=0).clamp_min(1e-6))

    def to_json(self) -> JsonObject:
        """Temperature, and the share of patches that one word takes whole, as JSON values."""
        return {
            "temperature": float(self.temperature),
            "saturated_patches": float(self.saturated),
        }

    def evidence(self, tokens: Tensor, words: Tensor | None = None) -> Tensor:
        """What each patch says for each category: (B, P, d) -> (B, P, C).

        Args:
            tokens: (B, P, d).
            words: (C, d) in place of the prior's own, on the same scale; gradients run through.
        """
        words = self.words if words is None else words
        found = word_evidence(tokens, words, self.others, float(self.temperature))
        return (found - self.centre) / self.spread

    def forward(self, tokens: Tensor, words: Tensor | None = None) -> Tensor:
        """Scores (B, C) of tokens (B, P, d), in spreads away from the mean; see ``evidence``."""
        return best_patches(self.evidence(tokens, words))


def word_evidence(tokens: Tensor, words: Tensor, others: Tensor, temperature: float) -> Tensor:
    """S (B, P, C) of tokens (B, P, d), words (C, d) and background words (K, d)."""
    scaled = cosines_with_words(tokens, words, others) / temperature  # (B, P, C + K)
    return scaled[..., : len(words)] - 0.5 * scaled.logsumexp(-1, keepdim=True)


def best_patches(evidence: Tensor) -> Tensor:
    """Mean of the best tenth of the patches, one at least: (B, P, C) -> (B, C)."""
    count = max(1, round(evidence.shape[1] / _BEST))
    return evidence.topk(count, 1).values.mean(1)


def cosines_with_words(tokens: Tensor, words: Tensor, others: Tensor) -> Tensor:
    """Cosines (B, P, C + K) of tokens (B, P, d) and words, background words last."""
    unit = nn.functional.normalize
    known = unit(words.float(), dim=-1)
    something = others.float() if len(others) else known.mean(0, keepdim=True)
    # In bfloat16 a cosine is off by up to 0.002, which is much beside how far cosines spread.
    with torch.autocast(tokens.device.type, enabled=False):
        return unit(tokens.float(), dim=-1) @ torch.cat([known, unit(something, dim=-1)]).T
