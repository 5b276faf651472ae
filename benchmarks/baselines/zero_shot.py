"""Scores from category names alone, where their vectors are text of the tokens' space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.baselines.descent import in_batches
from benchmarks.baselines.method import Floats, NotApplicable, Predicted, Question
from clsl_core.backbones.choice import normalised
from clsl_core.features import FeatureView
from clsl_core.recovery.head.clsl import ModelConfig, patch_text_logits

__all__ = ["ZeroShot"]


@dataclass(frozen=True)
class ZeroShot:
    """No label is used.

    Attributes:
        patches: Score each patch and take the best one; else the pooled vector.
    """

    patches: bool

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        vectors = question.categories.vectors
        if vectors is None or not question.categories.text:
            raise NotApplicable("the category vectors are no text of the tokens' space")
        score = _patchwise if self.patches else _global
        return Predicted(score(question.train, vectors), score(question.test, vectors))


def _global(features: FeatureView, vectors: Floats) -> Floats:
    """Softmax over categories of the pooled vector's similarities."""
    cosines = normalised(features.pooled()) @ normalised(vectors).T
    scaled = (cosines - cosines.max(1, keepdims=True)) / ModelConfig().text_temperature
    shares = np.exp(scaled)
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def _patchwise(features: FeatureView, vectors: Floats) -> Floats:
    """The best patch's share of the category among all of them."""
    words = torch.from_numpy(vectors)
    nothing = words[:0]

    def score(tokens: Tensor) -> Tensor:
        temperature = ModelConfig().text_temperature
        return patch_text_logits(tokens, words, nothing, temperature).sigmoid()

    return in_batches(score, features, len(vectors), torch.device("cpu"))
