"""Learned context words before the category names (CoOp, arXiv 2109.01134).

A name is read as "a photo of a {name}."; here the four words before the name become vectors that
are learned on known labels, the same for all categories, while both towers stay as they are. The
pictures enter as the features that are kept anyway, and the score is the one the text prior uses:
a softmax over category and background words at each patch, then the best patch.

Letters: N images, B of them in a step, C categories, K background words, d width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from clsl_core.arrays import Floats, Labels
from clsl_core.backbones.open_clip import OpenClipBackbone
from clsl_core.errors import BackboneError, TrainingError
from clsl_core.features import FeatureView
from clsl_core.recovery.head.losses import LossConfig, asymmetric_loss
from clsl_core.recovery.head.training import one_cycle
from clsl_core.recovery.positive_unlabelled import RecoveryConfig, unknown_as_negative
from clsl_core.recovery.text_prior import TextPrior, cosines_with_words
from clsl_core.statistics.metrics import mean_average_precision
from clsl_core.types import Progress, no_progress

__all__ = ["LearnedContext", "PromptConfig", "PromptReader", "learn_context"]

START = "a photo of a"
"""The words whose vectors the context starts from."""

_WORDS_AT_ONCE = 64
_LEAST = math.log(1e-6)  # log share below which nothing is told apart
_SHARPER = 3.0  # than the text prior: words that compete in full must be told apart
_SAMPLE = 512  # images that tell how scores spread


@dataclass(frozen=True)
class PromptConfig:
    """How the context is learned.

    Attributes:
        steps: Gradient steps.
        batch_size: Images in a step.
        categories: Names read in a step; the others and the background words keep the vectors of
            the usual sentences.
        learning_rate: Peak of the one-cycle schedule, of the context and of the scores' scales.
        held_out: Share of the images to compare before and after on.
        temperature: Of the softmax over words; 0 takes a third of how far cosines spread.
        loss: Of ASL; ``weak_negative`` scales unknown entries where they stand for negatives.
        recovery: Decides how far they do.
        seed: Of everything random.
    """

    steps: int = 200
    batch_size: int = 64
    categories: int = 64
    learning_rate: float = 2e-3
    held_out: float = 0.2
    temperature: float = 0.0
    loss: LossConfig = field(default_factory=LossConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    seed: int = 0


@dataclass(frozen=True)
class LearnedContext:
    """What was learned.

    Attributes:
        context: (4, w) float32, in the space of the text tower's word vectors.
        losses: Of each step.
        before, after: Mean average precision of the words' best shares on the images kept out, with
            the usual sentences and with the learned words; nan where too little is known of them.
    """

    context: Floats
    losses: list[float]
    before: float
    after: float

    @property
    def better(self) -> bool:
        """Whether the learned words did better than the usual sentences."""
        return self.after > self.before


class PromptReader:
    """Reads names after context vectors through the frozen text tower.

    Args:
        backbone: Its text tower must have a table of word vectors.

    Raises:
        BackboneError: It has none.
    """

    def __init__(self, backbone: OpenClipBackbone) -> None:
        self.backbone, model = backbone, backbone.model
        words = getattr(model, "token_embedding", None)
        words = words or getattr(getattr(model, "text", None), "token_embedding", None)
        if not isinstance(words, nn.Embedding):
            raise BackboneError(
                f"{backbone.spec.name} cannot learn prompts: its text tower is not open_clip's own."
            )
        self._words = words
        ids = backbone.tokenizer([START])[0]
        self.length = len(START.split())
        self._start = words.weight[ids[1 : 1 + self.length].to(words.weight.device)].detach()

    def start(self) -> Tensor:
        """The context to begin with, (4, w): the vectors of ``START``."""
        return self._start.clone()

    def read(self, names: Sequence[str], context: Tensor) -> Tensor:
        """Unit vectors (n, d) of the names after a context (4, w); gradients reach the context."""
        words = [name.encode("utf-8", "replace").decode().replace("_", " ") for name in names]
        ids = self.backbone.tokenizer([f"{START} {word}." for word in words])

        def put_in(module: nn.Module, inputs: object, out: Tensor) -> Tensor:
            own = context.to(out.dtype).expand(len(out), -1, -1)
            return torch.cat([out[:, :1], own, out[:, 1 + self.length :]], 1)

        hook = self._words.register_forward_hook(put_in)
        try:
            encoded = self.backbone.model.encode_text(ids.to(self._words.weight.device))
        finally:
            hook.remove()
        return nn.functional.normalize(encoded.float(), dim=-1)

    @torch.no_grad()
    def vectors(self, names: Sequence[str], context: Tensor) -> Floats:
        """As ``read`` for any number of names, (n, d) float32."""
        context = context.to(self._words.weight.device)
        parts = [
            self.read(names[start : start + _WORDS_AT_ONCE], context).cpu().numpy()
            for start in range(0, len(names), _WORDS_AT_ONCE)
        ]
        return np.concatenate([np.zeros((0, self.backbone.spec.dim), np.float32), *parts])


def learn_context(
    reader: PromptReader,
    features: FeatureView,
    labels: Labels,
    names: Sequence[str],
    background: Sequence[str],
    config: PromptConfig,
    progress: Progress = no_progress,
) -> LearnedContext:
    """Learn the context on known labels.

    Args:
        reader: Of the backbone that made the features.
        features: Of N images.
        labels: (N, C) in {-1, 0, +1}.
        names: C category names.
        background: K words that are no category.
        config: How.
        progress: Called at every step; raises to stop.

    Raises:
        TrainingError: No positive is known.
    """
    if not (labels > 0).any():
        raise TrainingError(
            "prompts are learned on known labels and there is none PRESENT: decide some first."
        )
    rng = np.random.default_rng(config.seed)
    unknown_weight = unknown_as_negative(labels, config.recovery)
    share = unknown_weight * config.loss.weak_negative
    order = rng.permutation(len(features))
    kept = round(config.held_out * len(order))
    held_out, teaching = np.sort(order[:kept]), np.sort(order[kept:])
    context = reader.start().requires_grad_(True)
    device, C = context.device, labels.shape[1]
    usual = reader.backbone.encode_categories([*names, *background])  # (C + K, d)
    first = torch.from_numpy(usual).to(device)
    prior = TextPrior(usual[:C], usual[C:])
    prior.standardise(torch.from_numpy(features.tokens(teaching[:_SAMPLE])))
    prior.to(device)
    temperature = config.temperature or float(prior.temperature) / _SHARPER
    a = torch.ones(C, device=device, requires_grad=True)
    b = torch.zeros(C, device=device, requires_grad=True)
    optimiser = torch.optim.AdamW([context, a, b], lr=config.learning_rate, weight_decay=0.0)
    losses: list[float] = []
    for step in range(config.steps):
        progress(step, config.steps, "learning prompts")
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * one_cycle(step / config.steps)
        rows = rng.choice(teaching, min(config.batch_size, len(teaching)), replace=False)
        columns = np.sort(rng.choice(C, min(config.categories, C), replace=False))
        read = reader.read([names[column] for column in columns], context)
        chosen = torch.from_numpy(columns).to(device)
        vectors = first[:C].index_copy(0, chosen, read)
        tokens = torch.from_numpy(features.tokens(rows)).to(device).float()
        z = a * _best_share(tokens, vectors, first[C:], temperature) + b
        own = torch.from_numpy(labels[np.ix_(rows, columns)]).to(device)
        known = (own != 0).float()
        weights = known / known.sum().clamp_min(1)
        weights = weights + share * (1 - known) / (1 - known).sum().clamp_min(1)
        each = asymmetric_loss(z[:, chosen], (own > 0).float(), config.loss)
        loss = (each * weights).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))

    def judge(vectors: Floats) -> float:
        scores = _scores(features, held_out, torch.from_numpy(vectors).to(device), C, temperature)
        truth = labels[held_out]
        judged = (truth != 0) | (unknown_weight > 0)
        if not (truth > 0).any():
            return float("nan")
        return mean_average_precision(truth > 0, scores, judged)

    learned = np.concatenate([reader.vectors(names, context.detach()), usual[C:]])
    return LearnedContext(context.detach().cpu().numpy(), losses, judge(usual), judge(learned))


def _best_share(tokens: Tensor, words: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Logit (B, C) of a category's share among all words at its best patch.

    Words compete in full, unlike in the text prior: that is what tells each from the others, and
    so what a context can be learned from.
    """
    shares = cosines_with_words(tokens, words, others).div(temperature).log_softmax(-1)
    best = shares[..., : len(words)].amax(1).clamp(_LEAST, math.log1p(-1e-6))
    return best - torch.log1p(-best.exp())


@torch.no_grad()
def _scores(
    features: FeatureView, rows: np.ndarray, words: Tensor, count: int, temperature: float
) -> Floats:
    """Logits (n, C) of the best shares of some images; words (C + K, d), ``count`` is C."""
    parts = [np.zeros((0, count), np.float32)]
    for start in range(0, len(rows), 256):
        tokens = torch.from_numpy(features.tokens(rows[start : start + 256])).to(words.device)
        best = _best_share(tokens, words[:count], words[count:], temperature)
        parts.append(best.cpu().numpy())
    return np.concatenate(parts)
