"""Scores from category names alone, where their vectors are text of the tokens' space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.baselines.descent import in_batches
from benchmarks.baselines.method import NotApplicable, Predicted, Question
from clsl_core.arrays import Floats
from clsl_core.backbones.spec import normalised
from clsl_core.features import FeatureView
from clsl_core.recovery.text_prior import TextPrior

__all__ = ["ZeroShot"]

_SAMPLE = 512


@dataclass(frozen=True)
class ZeroShot:
    """No label is used.

    Attributes:
        patches: Score each patch and take the best ones, as the program does; else the pooled
            vector's cosines.
    """

    patches: bool

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        vectors = question.categories.vectors
        if vectors is None or not question.categories.text:
            raise NotApplicable("the category vectors are no text of the tokens' space")
        if not self.patches:
            return Predicted(_global(question.train, vectors), _global(question.test, vectors))
        prior = TextPrior(vectors)
        prior.standardise(torch.from_numpy(question.train.tokens(_spread(len(question.train)))))
        return Predicted(_patchwise(question.train, prior), _patchwise(question.test, prior))


def _spread(count: int) -> np.ndarray:
    return np.arange(0, count, max(1, count // _SAMPLE))


def _global(features: FeatureView, vectors: Floats) -> Floats:
    """The pooled vector's cosine with each category, from 0 to 1."""
    cosines = normalised(features.pooled()) @ normalised(vectors).T
    return np.asarray((1 + cosines) / 2, np.float32)


def _patchwise(features: FeatureView, prior: TextPrior) -> Floats:
    """What the program says of names before any label is known, as a share."""
    device = torch.device("cpu")
    return in_batches(lambda tokens: prior(tokens).sigmoid(), features, len(prior.words), device)
