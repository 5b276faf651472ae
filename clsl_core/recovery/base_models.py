"""Base models of the ensemble, none of which needs the head: what each says of an entry.

A *base model* gives every image-category pair a logit. Base models differ in what they look at, and
that is what makes them worth stacking (Wolpert 1992, "Stacked generalization"): a recovered label
must come from another base model than the one it teaches. None of them may use an entry's own label
for that entry:

    prior     how often the category is present among known entries
    vote      weighted nearest neighbours: labels of the nearest other images (pooled features)
    linear    logistic regression on pooled features, cross-fitted by image
    patches   multiple-instance linear models on patches (``patch_linear``), cross-fitted likewise
    together  label co-occurrence: the image's *other* known labels, in the manner of naive Bayes
    text      patch-level text score, where tokens and category vectors share a space

These six names are those of run metrics, of the Models page and of saved models.

Images are recognised by their pooled features, so a base model knows its own training images again.
A model trained without an image's fold speaks for the entries of that image that are known; for
what is unknown no model has seen the answer, and all of them speak together. (Were unknown entries
scored by one fold's model too, those beside a known positive would all be scored by the models
that miss it, and stand too low.)

Letters: N images asked about, M images remembered, C categories, K folds, d pooled width,
V base models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array

from clsl_core.arrays import Floats, Ids, Labels, logit
from clsl_core.features import FeatureView
from clsl_core.recovery.label_graph import co_occurrence
from clsl_core.recovery.linear import fit_linear
from clsl_core.recovery.neighbours import best, nearest
from clsl_core.recovery.patch_linear import PatchConfig, PatchModels, fit_patches
from clsl_core.recovery.stacking import fit_pooled

__all__ = [
    "BaseModelConfig",
    "BaseModels",
    "Context",
    "cross_fitted",
    "fit_base_models",
]

_SAMPLE = 512  # images that tell how tokens spread
_TEXT_SLOPE = 2.0  # logits for a spread of the text score, where no label speaks
_SLOPE_RIDGE = 10.0  # entries' worth of belief in that
_SLOPE_ENTRIES = 100_000


@dataclass(frozen=True)
class BaseModelConfig:
    """How the base models are made.

    Attributes:
        neighbours: Of the vote, where half of the entries are known or unknown ones vote, too; up
            to 2.5 times as many where fewer can answer.
        vote_temperature: Weight of a neighbour is exp((cosine - best cosine) / temperature).
        vote_prior: Neighbours' worth of belief in the class prior.
        prior_strength: Entries' worth of belief in the mean prior, mixed into each class prior.
        linear_l2: Penalties of the linear models to choose from, by log loss on left-out images.
        text_l2: More penalties, where there is text to stay with.
        folds: K, of images for the linear models.
        co_occurrence: Images' worth of belief that two labels are independent.
        linear_unknown: Weight of an unknown entry as a negative for the linear models where
            known negatives are plentiful; where they are scarce it is 1.
        evenness: How far directions of little spread are stretched before images are compared:
            0 not at all, 1 until all directions spread alike.
        patches: Of the base model of that name.
    """

    neighbours: int = 100
    vote_temperature: float = 0.2
    vote_prior: float = 2.0
    prior_strength: float = 1.0
    linear_l2: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    text_l2: tuple[float, ...] = (10.0, 30.0)
    folds: int = 10
    co_occurrence: float = 5.0
    linear_unknown: float = 0.0
    evenness: float = 0.5
    patches: PatchConfig = field(default_factory=PatchConfig)


@dataclass(frozen=True)
class Context:
    """What the base models need to know about the images asked about.

    Attributes:
        pooled: (N, d) float32 as the feature store gives them.
        digests: (N,) int64, what images are recognised by.
        itself: (N,) place of each image among the remembered ones, -1 for strangers.
        known: (N, C) labels known of them, for the base model ``together``.
        learned: (N, C) entries whose labels the models by fold have learned from.
        neighbours: (N, M) sparse weights of the remembered images with a known label.
        alike: (N, M) sparse weights of all remembered images, or None where nobody asks for them.
        patches: (K, N, C) logits of the patch models by fold.
        text: (N, C) logits, or None without a text prior.
    """

    pooled: Floats
    digests: Ids
    itself: Ids
    known: Labels
    learned: npt.NDArray[np.bool_]
    neighbours: csr_array
    alike: csr_array | None
    patches: Floats
    text: Floats | None


@dataclass(frozen=True)
class BaseModels:
    """The fitted base models. All arrays, so that saving them is saving arrays.

    Attributes:
        config: As fitted.
        unknown_weight: 1 where unknown entries count as negatives, else 0.
        centre: (d,) mean pooled feature, scale: (d,) by which they are divided.
        token_centre, token_scale: (d,) the same for tokens.
        memory: (M, d) float16 centred unit vectors of the images that were learned from.
        memory_labels: (M, C) int8.
        memory_digests: (M,) int64.
        linear: (K, d + 1, C).
        patch_weights: (K', d, C) and patch_bias: (K', C) of the patch models.
        text_slope: (K,) and ``patch_text_slope`` (K',): logits that the linear and the patch models
            start from, for a spread of the text score; what they learn is a step away from it.
        together: (C, C) log P(c'|c) / P(c').
        prior: (C,) share of positives among known entries (unknown ones counted by
            ``unknown_weight``).
    """

    config: BaseModelConfig
    unknown_weight: float
    centre: Floats
    scale: Floats
    token_centre: Floats
    token_scale: Floats
    memory: npt.NDArray[np.float16]
    memory_labels: Labels
    memory_digests: Ids
    linear: Floats
    patch_weights: Floats
    patch_bias: Floats
    text_slope: Floats
    patch_text_slope: Floats
    together: Floats
    prior: Floats

    def names(self, text: bool) -> tuple[str, ...]:
        """Names of the base models in the order ``values`` stacks them."""
        return ("prior", "vote", "linear", "patches", "together", *(("text",) if text else ()))

    @property
    def patch_models(self) -> PatchModels:
        """The patch models by fold."""
        return PatchModels(self.patch_weights, self.patch_bias)

    def neighbours(
        self, pooled: Floats, itself: Ids, tick: Callable[[], None] = lambda: None
    ) -> csr_array:
        """Weights (N, M) of the nearest remembered images with a known label.

        Args:
            pooled: (N, d).
            itself: (N,) place of each image among the remembered ones, -1 for strangers; no image
                is its own neighbour.
            tick: Called often.
        """
        labelled = self._labelled
        return self._nearest(pooled, itself, labelled, self._voters(labelled), tick)

    def alike(
        self,
        pooled: Floats,
        itself: Ids,
        neighbours: csr_array,
        count: int,
        tick: Callable[[], None] = lambda: None,
    ) -> csr_array:
        """Weights (N, M) of the ``count`` nearest remembered images, labelled or not.

        Args:
            pooled: (N, d).
            itself: See ``neighbours``.
            neighbours: Of the same images; where all are labelled, the answer is among them.
            count: How many.
            tick: Called often.
        """
        labelled = self._labelled
        if len(labelled) == len(self.memory) and self._voters(labelled) >= count:
            return best(neighbours, count)
        return self._nearest(pooled, itself, np.arange(len(self.memory)), count, tick)

    def _nearest(
        self, pooled: Floats, itself: Ids, among: Ids, count: int, tick: Callable[[], None]
    ) -> csr_array:
        queries, temperature = _unit(self.standardise(pooled)), self.config.vote_temperature
        return nearest(queries, self.memory, among, itself, count, temperature, tick)

    @property
    def _labelled(self) -> Ids:
        """Remembered images of which a label is known."""
        return np.flatnonzero((self.memory_labels != 0).any(1))

    def _voters(self, labelled: Ids) -> int:
        """How many neighbours vote: more of them where each knows less."""
        if self.unknown_weight or not len(labelled):
            return self.config.neighbours
        answering = float((self.memory_labels[labelled] != 0).mean())
        return round(self.config.neighbours * float(np.clip((0.5 / answering) ** 0.5, 1.0, 2.5)))

    def standardise(self, pooled: Floats) -> Floats:
        """Pooled features as they are compared; (N, d) of mean squared length 1."""
        return np.asarray((pooled - self.centre) / self.scale, np.float32)

    def values(self, context: Context) -> Floats:
        """Logits (V, N, C) of all base models, in the order of ``names``."""
        parts = [
            np.broadcast_to(logit(self.prior), context.known.shape),
            self._vote(context.neighbours),
            self._linear(context),
            _by_fold(context.patches, context) + self._from_text(context, self.patch_text_slope),
            (context.known > 0).astype(np.float32) @ self.together,
        ]
        if context.text is not None:
            parts.append(context.text)
        return np.stack(parts).astype(np.float32)

    def _vote(self, neighbours: csr_array) -> Floats:
        positive = neighbours @ (self.memory_labels > 0).astype(np.float32)
        known = neighbours @ (self.memory_labels != 0).astype(np.float32)
        total = np.asarray(neighbours.sum(1)).reshape(-1, 1)
        counted = known + self.unknown_weight * (total - known)
        strength = self.config.vote_prior
        return logit((positive + strength * self.prior) / (counted + strength))

    def _linear(self, context: Context) -> Floats:
        x = self.standardise(context.pooled)
        beta = self.linear.mean(0)
        out = x @ beta[:-1] + beta[-1]  # the mean of the models is the model of the mean
        folds = context.digests % len(self.linear)
        for k, beta in enumerate(self.linear):
            here = (folds == k) & context.learned.any(1)
            own = x[here] @ beta[:-1] + beta[-1]
            out[here] = np.where(context.learned[here], own, out[here])
        return np.asarray(out + self._from_text(context, self.text_slope), np.float32)

    def _from_text(self, context: Context, slopes: Floats) -> Floats:
        """Logits (N, C) that the models start from: known entries by the slope of their fold."""
        if context.text is None:
            return np.zeros((1, 1), np.float32)
        own = slopes[context.digests % len(slopes)][:, None]
        return np.where(context.learned, own, slopes.mean()) * context.text

    def with_labels(self, labels: Labels) -> BaseModels:
        """The same base models with other labels of the same images, except the linear models."""
        prior, together = _label_statistics(labels, self.config, self.unknown_weight)
        return replace(self, memory_labels=labels, prior=prior, together=together)


def fit_base_models(  # noqa: PLR0913 - arrays that belong together
    features: FeatureView,
    digests: Ids,
    labels: Labels,
    config: BaseModelConfig,
    *,
    unknown_weight: float,
    seed: int,
    device: str,
    text: Floats | None = None,
    tick: Callable[[], None] = lambda: None,
) -> BaseModels:
    """Fit all base models to the labels.

    Args:
        features: Of N images.
        digests: (N,) of the same images.
        labels: (N, C), at least one known.
        config: See ``BaseModelConfig``.
        unknown_weight: 1 where unknown entries must serve as negatives, else 0.
        seed: Of the patch models.
        device: Where the linear and patch models are fitted.
        text: (N, C) text scores that the linear and patch models start from, or None.
        tick: Called often.
    """
    pooled = features.pooled()
    centre, scale = _standard(pooled, config.evenness)
    token_centre, token_scale = _standard(_mean_tokens(features), config.evenness)
    prior, together = _label_statistics(labels, config, unknown_weight)
    folds, patch_folds = digests % config.folds, digests % config.patches.folds
    slopes = text_slopes(text, labels, unknown_weight, folds, config.folds)
    patch_slopes = text_slopes(text, labels, unknown_weight, patch_folds, config.patches.folds)
    linear = _fit_linear(
        torch.from_numpy(np.asarray((pooled - centre) / scale, np.float32)).to(device),
        labels,
        torch.from_numpy(folds).to(device),
        config,
        offset=None if text is None else slopes[:, None, None] * text,
        unknown=unknown_weight or config.linear_unknown,
        tick=tick,
    )
    patches = fit_patches(
        features,
        token_centre,
        token_scale,
        (labels > 0).astype(np.float32),
        np.where(labels != 0, 1.0, unknown_weight).astype(np.float32),
        config.patches,
        folds=patch_folds,
        offset=None if text is None else patch_slopes[:, None, None] * text,
        seed=seed,
        device=device,
        tick=tick,
    )
    return BaseModels(
        config=config,
        unknown_weight=unknown_weight,
        centre=centre,
        scale=scale,
        token_centre=token_centre,
        token_scale=token_scale,
        memory=_unit((pooled - centre) / scale).astype(np.float16),
        memory_labels=labels,
        memory_digests=digests,
        linear=linear,
        patch_weights=patches.weights,
        patch_bias=patches.bias,
        text_slope=slopes,
        patch_text_slope=patch_slopes,
        together=together,
        prior=prior,
    )


def cross_fitted(
    base_models: BaseModels,
    context: Context,
    labels: Labels,
    entry_folds: npt.NDArray[np.int8],
    tick: Callable[[], None] = lambda: None,
) -> Floats:
    """Logits (V, N, C) in which no entry's value depends on any label of its own fold.

    The linear models are cross-fitted by image already; the other base models are computed once
    for each fold with that fold's labels taken as unknown.
    """
    out: Floats | None = None
    for fold in range(int(entry_folds.max(initial=0)) + 1):
        tick()
        here = entry_folds == fold
        rest = np.where(here, np.int8(0), labels)
        part = base_models.with_labels(rest).values(replace(context, known=rest))
        out = np.zeros_like(part) if out is None else out
        out[:, here] = part[:, here]
    assert out is not None
    return out


def _fit_linear(
    x: torch.Tensor,
    labels: Labels,
    folds: torch.Tensor,
    config: BaseModelConfig,
    *,
    unknown: float,
    offset: Floats | None,
    tick: Callable[[], None],
) -> Floats:
    """Linear models (K, d + 1, C) with the penalty that serves left-out images best."""
    if not labels.any():
        return np.zeros((config.folds, x.shape[1] + 1, labels.shape[1]), np.float32)
    targets = torch.from_numpy((labels > 0).astype(np.float32)).to(x.device)
    weights = np.where(labels != 0, 1.0, unknown).astype(np.float32)
    weight = torch.from_numpy(weights).to(x.device)
    away = None if offset is None else torch.from_numpy(offset).to(x.device)
    penalties = {*config.linear_l2, *(config.text_l2 if offset is not None else ())}
    beta, best, least = None, None, float("inf")
    for l2 in sorted(penalties, reverse=True):  # each starts from the last
        beta = fit_linear(
            x, targets, weight, folds, fold_count=config.folds, l2=l2, offset=away, start=beta,
            tick=tick,
        )  # fmt: skip
        logits = torch.empty_like(targets)
        for k in range(config.folds):
            here = folds == k
            logits[here] = x[here] @ beta[k, :-1] + beta[k, -1]
            if away is not None:
                logits[here] += away[k, here]
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, weight)
        if best is None or float(losses) < least:
            best, least = beta, float(losses)
    assert best is not None
    return best.cpu().numpy()


def text_slopes(
    text: Floats | None, labels: Labels, unknown_weight: float, folds: Ids, count: int
) -> Floats:
    """Logits for a spread of the text score, (K,), each without the images of its fold.

    One logistic regression of all categories together on the text score and on how frequent a
    category is; of the entries, unknown ones count as negatives by ``unknown_weight``.

    Args:
        text: (N, C), or None: then the slopes are 0.
        labels: (N, C) in {-1, 0, +1}.
        unknown_weight: See above.
        folds: (N,) in [0, K).
        count: K.
    """
    if text is None:
        return np.zeros(count, np.float32)
    weights = np.where(labels != 0, 1.0, unknown_weight).astype(np.float32)
    start = np.array([_TEXT_SLOPE, 1.0, 0.0], np.float32)
    found = []
    for k in range(count):
        kept = (folds != k) if count > 1 else np.ones(len(folds), bool)
        rows, columns = np.nonzero(weights * kept[:, None])
        step = max(1, len(rows) // _SLOPE_ENTRIES)
        rows, columns = rows[::step], columns[::step]
        positive = (labels[kept] > 0).sum(0) + 0.5
        often = logit(positive / (weights[kept].sum(0) + 1.0))
        fitted = fit_pooled(
            np.stack([text[rows, columns], often[columns]], 1),
            labels[rows, columns] > 0,
            weights[rows, columns],
            np.zeros(len(rows), np.int64),
            1,
            ridge=_SLOPE_RIDGE,
            shrinkage=1e9,
            start=start,
            what="text slope",
        )
        found.append(max(float(fitted.pooled[0]), 0.0))
    return np.array(found, np.float32)


def _label_statistics(
    labels: Labels, config: BaseModelConfig, unknown_weight: float
) -> tuple[Floats, Floats]:
    """Class priors (C,) and the log lift of c' given c (C, C), its diagonal zero."""
    positive = (labels > 0).sum(0).astype(np.float32)
    known = (labels != 0).sum(0)
    counted = known + unknown_weight * (len(labels) - known)
    mean = (positive.sum() + 0.5) / (counted.sum() + 1.0)
    strength = config.prior_strength
    prior = ((positive + strength * mean) / (counted + strength)).astype(np.float32)
    if (labels > 0).sum(1).max(initial=0) <= 1:
        # One positive per image: that no two are known together says nothing about the images.
        return prior, np.zeros((labels.shape[1], labels.shape[1]), np.float32)
    every = slice(0, labels.shape[1])
    joint = co_occurrence(
        labels, every, unknown_weight=unknown_weight, shrinkage=config.co_occurrence
    )
    plain = (positive + 0.5) / (counted + 1.0)
    together = np.log(joint / plain).astype(np.float32)
    np.fill_diagonal(together, 0.0)
    return prior, together


def _by_fold(logits: Floats, context: Context) -> Floats:
    """(K, N, C) to (N, C): known entries by the model of their fold, others by all models."""
    out = logits.mean(0)
    folds = context.digests % len(logits)
    own = np.take_along_axis(logits, folds[None, :, None], 0)[0]
    return np.asarray(np.where(context.learned, own, out), np.float32)


def _mean_tokens(features: FeatureView) -> Floats:
    """(n, d) mean tokens of a sample of the images."""
    rows = np.arange(0, len(features), max(1, len(features) // _SAMPLE))
    means: Floats = features.tokens(rows).astype(np.float32).mean(1)
    return means


def _standard(vectors: Floats, evenness: float) -> tuple[Floats, Floats]:
    """Centre and divisor (d,) after which the mean squared length is 1."""
    centre = vectors.mean(0)
    spread = vectors.std(0)
    scale = np.maximum(spread, max(float(spread.max()) * 1e-3, 1e-9)) ** evenness
    length = float(np.sqrt((((vectors - centre) / scale) ** 2).sum(1).mean()))
    return centre, np.asarray(scale * max(length, 1e-6), np.float32)


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)
