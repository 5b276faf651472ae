"""Views of an entry that do not need the head: prior, vote, linear model, text, label context.

A *view* gives every image-category pair a logit. The views differ in what they look at, and that
is what makes them worth blending: a recovered label must come from another view than the one it
teaches. None of them may use an entry's own label for that entry:

    prior     how often the category is present among known entries
    vote      labels of the nearest other images (pooled features, faiss)
    linear    logistic regression on pooled features, trained without the image's fold
    together  the image's *other* known labels, by co-occurrence
    text      patch-level text score, where tokens and category vectors share a space

Images are recognised by their pooled features, so a view knows its own training images again.

Letters: N images asked about, M images remembered, C categories, K folds, d pooled width.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array

from clsl_core.graph import co_occurrence
from clsl_core.index import NeighbourIndex
from clsl_core.linear import fit_linear

__all__ = [
    "Context",
    "StaticViews",
    "ViewConfig",
    "cross_fitted",
    "digests_of",
    "fit_views",
    "logit",
    "pair_draws",
    "recognise",
]

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int8]
Ids = npt.NDArray[np.int64]

_SEARCH = 1024  # images whose neighbours are searched between two ticks


@dataclass(frozen=True)
class ViewConfig:
    """How the views are made.

    Attributes:
        neighbours: Of the vote.
        vote_temperature: Weight of a neighbour is exp((cosine - best cosine) / temperature).
        vote_prior: Neighbours' worth of belief in the class prior.
        prior_strength: Entries' worth of belief in the mean prior, mixed into each class prior.
        linear_l2: Penalties of the linear models to choose from, by log loss on left-out images.
        folds: K, of images for the linear models.
        co_occurrence: Images' worth of belief that two labels are independent.
        linear_unknown: Weight of an unknown entry as a negative for the linear models where
            known negatives are plentiful; where they are scarce it is 1.
    """

    neighbours: int = 50
    vote_temperature: float = 0.2
    vote_prior: float = 2.0
    prior_strength: float = 1.0
    linear_l2: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    folds: int = 10
    co_occurrence: float = 5.0
    linear_unknown: float = 0.1


@dataclass(frozen=True)
class Context:
    """What the views need to know about the images asked about.

    Attributes:
        pooled: (N, d) float32 as the feature store gives them.
        digests: (N,) int64, what images are recognised by.
        known: (N, C) labels known of them, for the view ``together``.
        neighbours: (N, M) sparse weights of the remembered images.
        text: (N, C) logits, or None without a text prior.
    """

    pooled: Floats
    digests: Ids
    known: Labels
    neighbours: csr_array
    text: Floats | None


@dataclass(frozen=True)
class StaticViews:
    """The fitted views. All arrays, so that saving them is saving arrays.

    Attributes:
        config: As fitted.
        unknown_weight: 1 where unknown entries count as negatives, else 0.
        centre: (d,) mean pooled feature, scale: () their spread.
        memory: (M, d) float16 centred unit vectors of the images with known labels.
        memory_labels: (M, C) int8.
        memory_digests: (M,) int64.
        linear: (K, d + 1, C).
        together: (C, C) log P(c'|c) / P(c').
        prior: (C,) share of positives among known entries (unknown ones counted by
            ``unknown_weight``).
    """

    config: ViewConfig
    unknown_weight: float
    centre: Floats
    scale: Floats
    memory: npt.NDArray[np.float16]
    memory_labels: Labels
    memory_digests: Ids
    linear: Floats
    together: Floats
    prior: Floats

    def names(self, text: bool) -> tuple[str, ...]:
        """Names of the views in the order ``values`` stacks them."""
        return ("prior", "vote", "linear", "together", *(("text",) if text else ()))

    def neighbours(
        self, pooled: Floats, itself: Ids, tick: Callable[[], None] = lambda: None
    ) -> csr_array:
        """Weights (N, M) of the nearest remembered images, never of the image ``itself``.

        Args:
            pooled: (N, d).
            itself: (N,) place of each image among the remembered ones, -1 for strangers.
            tick: Called often.
        """
        queries = _unit(pooled - self.centre)
        index = NeighbourIndex(self.memory.astype(np.float32))
        parts = []
        for start in range(0, len(queries), _SEARCH):
            tick()
            parts.append(index.search(queries[start : start + _SEARCH], self.config.neighbours + 1))
        cosines, rows = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
        cosines = np.where(rows == itself[:, None], -np.inf, cosines)
        best = cosines.max(1, keepdims=True, initial=-1.0)
        weights = np.exp((cosines - best) / self.config.vote_temperature).astype(np.float32)
        bounds = np.arange(len(rows) + 1) * rows.shape[1]
        shape = (len(rows), len(self.memory))
        return csr_array((weights.ravel(), rows.ravel(), bounds), shape=shape)

    def values(self, context: Context) -> Floats:
        """Logits (V, N, C) of all views, in the order of ``names``."""
        parts = [
            np.broadcast_to(logit(self.prior), context.known.shape),
            self._vote(context.neighbours),
            self._linear(context.pooled, context.digests),
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

    def _linear(self, pooled: Floats, digests: Ids) -> Floats:
        x = (pooled - self.centre) / self.scale
        out = np.empty((len(x), self.linear.shape[2]), np.float32)
        folds = digests % len(self.linear)
        for k, beta in enumerate(self.linear):
            here = folds == k
            out[here] = x[here] @ beta[:-1] + beta[-1]
        return out

    def with_labels(self, labels: Labels, memory_rows: Ids) -> StaticViews:
        """The same views with other labels of the same images, except the linear models."""
        prior, together = _label_statistics(labels, self.config, self.unknown_weight)
        return replace(self, memory_labels=labels[memory_rows], prior=prior, together=together)


def fit_views(
    pooled: Floats,
    digests: Ids,
    labels: Labels,
    config: ViewConfig,
    *,
    unknown_weight: float,
    device: str,
    tick: Callable[[], None] = lambda: None,
) -> tuple[StaticViews, Ids]:
    """Fit all views to the labels.

    Args:
        pooled: (N, d).
        digests: (N,) of the same images.
        labels: (N, C), at least one known.
        config: See ``ViewConfig``.
        unknown_weight: 1 where unknown entries must serve as negatives, else 0.
        device: Where the linear models are fitted.
        tick: Called often.

    Returns:
        The views, and the rows of the images they remember.
    """
    centre = pooled.mean(0)
    spread = float((pooled - centre).std()) * pooled.shape[1] ** 0.5
    scale = np.asarray(max(spread, 1e-6), np.float32)
    rows = np.flatnonzero((labels != 0).any(1))
    prior, together = _label_statistics(labels, config, unknown_weight)
    linear = _fit_linear(
        torch.from_numpy((pooled - centre) / scale).to(device),
        labels,
        torch.from_numpy(digests % config.folds).to(device),
        config,
        unknown=unknown_weight or config.linear_unknown,
        tick=tick,
    )
    views = StaticViews(
        config=config,
        unknown_weight=unknown_weight,
        centre=centre,
        scale=scale,
        memory=_unit(pooled[rows] - centre).astype(np.float16),
        memory_labels=labels[rows],
        memory_digests=digests[rows],
        linear=linear,
        together=together,
        prior=prior,
    )
    return views, rows


def cross_fitted(
    views: StaticViews,
    context: Context,
    labels: Labels,
    memory_rows: Ids,
    entry_folds: npt.NDArray[np.int8],
    tick: Callable[[], None] = lambda: None,
) -> Floats:
    """Logits (V, N, C) in which no entry's value depends on any label of its own fold.

    The linear models are cross-fitted by image already; the other views are computed once for
    each fold with that fold's labels taken as unknown.
    """
    out: Floats | None = None
    for fold in range(int(entry_folds.max(initial=0)) + 1):
        tick()
        here = entry_folds == fold
        rest = np.where(here, np.int8(0), labels)
        part = views.with_labels(rest, memory_rows).values(replace(context, known=rest))
        out = np.zeros_like(part) if out is None else out
        out[:, here] = part[:, here]
    assert out is not None
    return out


def digests_of(pooled: Floats) -> Ids:
    """(N,) non-negative int64 by which images with these pooled features are recognised."""
    rows = np.ascontiguousarray(pooled, np.float16)
    found = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(found), np.int64) & np.iinfo(np.int64).max


def pair_draws(digests: Ids, category_count: int, seed: int) -> Floats:
    """(N, C) uniform in [0, 1): a number for every image-category pair that outlives a training.

    Mixes digest, category and seed with the finaliser of SplitMix64 (Steele et al. 2014).
    """
    z = np.uint64(seed) + np.arange(1, category_count + 1, dtype=np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    z = digests.astype(np.uint64)[:, None] ^ z  # (N, C)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24), np.float32)


def recognise(digests: Ids, known: Ids) -> Ids:
    """For each digest its place among the known ones, -1 for a stranger.

    The n-th image with a digest is the n-th remembered one with it, so copies stay apart.
    """
    places: dict[int, list[int]] = defaultdict(list)
    for place in range(len(known) - 1, -1, -1):
        places[int(known[place])].append(place)
    return np.array([places[d].pop() if places.get(d) else -1 for d in digests.tolist()], np.int64)


def logit(p: npt.NDArray[np.floating[Any]]) -> Floats:
    """Log p / (1 - p), with p kept within [1e-6, 1 - 1e-6]."""
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), np.float32)


def _fit_linear(
    x: torch.Tensor,
    labels: Labels,
    folds: torch.Tensor,
    config: ViewConfig,
    *,
    unknown: float,
    tick: Callable[[], None],
) -> Floats:
    """Linear models (K, d + 1, C) with the penalty that serves left-out images best."""
    if not labels.any():
        return np.zeros((config.folds, x.shape[1] + 1, labels.shape[1]), np.float32)
    targets = torch.from_numpy((labels > 0).astype(np.float32)).to(x.device)
    weights = np.where(labels != 0, 1.0, unknown).astype(np.float32)
    weight = torch.from_numpy(weights).to(x.device)
    best, least = None, float("inf")
    for l2 in config.linear_l2:
        beta = fit_linear(x, targets, weight, folds, fold_count=config.folds, l2=l2, tick=tick)
        logits = torch.empty_like(targets)
        for k in range(config.folds):
            here = folds == k
            logits[here] = x[here] @ beta[k, :-1] + beta[k, -1]
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, weight)
        if best is None or float(losses) < least:
            best, least = beta, float(losses)
    assert best is not None
    return best.cpu().numpy()


def _label_statistics(
    labels: Labels, config: ViewConfig, unknown_weight: float
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


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)
