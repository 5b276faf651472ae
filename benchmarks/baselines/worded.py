"""The same methods with the category names put into other words, where there is text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.baselines.method import Method, NotApplicable, Predicted, Question
from clsl_core.arrays import Floats

__all__ = ["Described", "Prompted"]


@dataclass(frozen=True)
class Described:
    """With descriptions averaged into the category vectors, as the inputs bring them.

    Attributes:
        method: Makes the method that gets them.
    """

    method: Callable[[], Method]

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        described = question.categories.described
        if described is None:
            raise NotApplicable("the inputs bring no descriptions ('described_embeddings')")
        return self.method().fit_predict(_worded(question, described))


@dataclass(frozen=True)
class Prompted:
    """With prompts learned on the known labels, where these do better on a held-out part of them.

    Attributes:
        method: Makes the method that gets them.
    """

    method: Callable[[], Method]

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        return self.method().fit_predict(_worded(question, _prompted(question)))


def _prompted(question: Question) -> Floats:
    """Category vectors (C, d) after learned words, or the usual ones where these are better."""
    import torch

    from clsl_core.adaptation.prompts import PromptConfig, PromptReader, learn_context
    from clsl_core.backbones.open_clip import OpenClipBackbone
    from clsl_core.backbones.spec import BUILTIN
    from clsl_core.types import no_progress

    spec, categories = question.train.spec, question.categories
    if spec is None or not spec.has_text or spec.name == BUILTIN:
        raise NotApplicable("the features do not say which open_clip model made them")
    if categories.vectors is None or not categories.text:
        raise NotApplicable("the category vectors are no text of the tokens' space")
    reader = PromptReader(OpenClipBackbone.load(spec.name, spec.pretrained))
    config = PromptConfig(seed=question.seed)
    found = learn_context(
        reader, question.train, question.labels, categories.names, [], config, no_progress
    )
    if not found.better:
        return categories.vectors
    return reader.vectors(categories.names, torch.from_numpy(found.context))


def _worded(question: Question, vectors: Floats) -> Question:
    return replace(question, categories=replace(question.categories, vectors=vectors))
