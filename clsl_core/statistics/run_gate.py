"""May a new model run take over: is it not worse than the serving one on held-out verdicts?

Both runs score the same held-out pairs. The measure is the mean over categories of the average
precision; its difference (new minus serving) gets an interval from a paired bootstrap over
images, as pairs of one image are not independent. Each replicate is a random half of the images
(the delete-half jackknife, one of the exchangeable bootstraps of Præstgaard and Wellner 1993, Ann.
Probab. 21): drawing with replacement repeats images, a repeated positive supports its own
precision, and on the few positives of a young collection the interval then comes out up to a
fifth too narrow (90 verdicts: coverage 87 to 91 % where 95 % was asked; 94 % with halves).

The rule, in this order:

1. The new run's scores are not all finite numbers: keep the serving run.
2. No run serves yet, or there are fewer held-out verdicts than ``GateConfig`` asks for: serve, and
   say that nothing was compared.
3. The whole interval lies below 0, so the new run is worse with confidence: keep.
4. The loss is at least ``large_loss`` and so likely real that ``large_loss_confidence`` of the
   replicates show a loss: keep. With many verdicts rule 3 sees such a loss before this one does;
   with few, the interval is too wide for rule 3, and this one stops a clear collapse.
5. Otherwise: serve.

What that guarantees: a new run that is truly as good is kept back by rule 3 in about
(1 - confidence) / 2 of the cases (2.5 %; up to 5 % with few verdicts), and by rule 4 in at most
about 1 - large_loss_confidence (10 %), which happens only while chance alone moves the measure by
``large_loss``. What it does not: a served run has not been shown to be as good. A loss smaller
than the width of the interval passes, and passes again at the next run; the learning curve over
runs is where such a drift shows.

The pairs must be held out of *both* runs. A run that trained on them would be favoured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Doubles, Ids, Mask, Values
from clsl_core.errors import InputError

__all__ = ["CategoryChange", "GateConfig", "GateDecision", "HeldOut", "compare"]

_CHUNK = 100  # replicates held in memory at once


@dataclass(frozen=True)
class GateConfig:
    """When a new run serves.

    Attributes:
        confidence: Of the two-sided interval of the difference.
        resamples: Bootstrap replicates.
        seed: Of the bootstrap.
        min_images: Images with comparable pairs needed for a comparison, at least 2 ...
        min_positives: ... and positives among these pairs.
        large_loss: Loss of mean average precision, in 0 .. 1, that rule 4 looks at ...
        large_loss_confidence: ... and the share of replicates with a loss it asks for.
    """

    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    min_images: int = 20
    min_positives: int = 10
    large_loss: float = 0.05
    large_loss_confidence: float = 0.9


@dataclass(frozen=True)
class HeldOut:
    """M held-out verdicts.

    Attributes:
        images: (M,) int ids.
        categories: (M,) int ids.
        truth: (M,) bool, whether people said PRESENT.
        weights: (M,) > 0, one over the chance of having been asked, where verdicts from the
            random control arm and from the queue are mixed; 1 by default.
    """

    images: Ids
    categories: Ids
    truth: Mask
    weights: Values | None = None


@dataclass(frozen=True)
class CategoryChange:
    """Average precision of one category under both runs, and on how many verdicts that rests."""

    category: int
    positives: int
    negatives: int
    serving: float
    candidate: float


@dataclass(frozen=True)
class GateDecision:
    """What to do, and why.

    Attributes:
        decision: ``serve`` the new run, or ``keep`` the serving one.
        reason: Plain words with the numbers, for the page.
        serving, candidate: Mean average precision in 0 .. 1; None where nothing was compared.
        difference: candidate - serving; above 0 the new run is better.
        low, high: Interval of the difference.
        worse: Share of the replicates in which the new run is worse.
        images, verdicts, positives: What was compared, in categories that have verdicts of both
            kinds (the others cannot tell two rankings apart).
        categories: The change of each such category, largest loss first.
    """

    decision: Literal["serve", "keep"]
    reason: str
    serving: float | None = None
    candidate: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    worse: float | None = None
    images: int = 0
    verdicts: int = 0
    positives: int = 0
    categories: tuple[CategoryChange, ...] = ()


def compare(
    held_out: HeldOut, serving: Values | None, candidate: Values, config: GateConfig
) -> GateDecision:
    """Decide whether the new run serves; see the head of this file for the rule.

    Only the order of the scores within a category matters, so scores and probabilities do alike.

    Args:
        held_out: M verdicts on pairs that neither run was trained on.
        serving: (M,) the serving run's scores of these pairs; None while no run serves.
        candidate: (M,) the new run's scores.
        config: Thresholds and the seed.

    Returns:
        The same decision for the same input, always.

    Raises:
        InputError: Lengths differ, or the serving run's scores are not all finite.
    """
    _check(held_out, serving, candidate)
    if not np.all(np.isfinite(candidate)):
        bad = int(np.sum(~np.isfinite(candidate)))
        reason = f"The new run gives no usable score for {bad} held-out pairs; it does not serve."
        return GateDecision("keep", reason)
    if serving is None:
        return GateDecision("serve", "No run served before, so there was nothing to compare with.")
    pairs = _comparable(held_out)
    images, positives = pairs.images, int(pairs.truth.sum())
    if images < config.min_images or positives < config.min_positives:
        return GateDecision(
            "serve",
            f"Nothing could be compared: {positives} positive held-out verdicts on {images} "
            f"images, at least {config.min_positives} on {config.min_images} are needed, in "
            "categories with verdicts of both kinds. The newer run serves.",
            images=images,
            verdicts=len(pairs.truth),
            positives=positives,
        )
    return _decide(pairs, serving[pairs.used], candidate[pairs.used], config)


def _check(held_out: HeldOut, serving: Values | None, candidate: Values) -> None:
    count = len(held_out.truth)
    parts = [held_out.images, held_out.categories, candidate]
    parts += [part for part in (held_out.weights, serving) if part is not None]
    if any(part.shape != (count,) for part in parts):
        shapes = [part.shape for part in parts]
        raise InputError(f"{count} held-out verdicts need {count} of everything, got {shapes}.")
    if serving is not None and not np.all(np.isfinite(serving)):
        raise InputError(
            "the serving run has no score for some held-out pairs; leave those pairs out."
        )


@dataclass(frozen=True)
class _Pairs:
    """The m comparable pairs: those of categories with verdicts of both kinds.

    ``used`` (m,) are their positions among all; ``place`` (m,) numbers their images from 0;
    ``groups`` holds the category id and the positions among the m pairs for each category.
    """

    used: npt.NDArray[np.int64]
    truth: Mask
    weights: Doubles
    place: npt.NDArray[np.int64]
    groups: list[tuple[int, npt.NDArray[np.int64]]]

    @property
    def images(self) -> int:
        return int(self.place.max(initial=-1)) + 1

    def precisions(self, scores: Values, image_weights: Doubles) -> Doubles:
        """(R, C) average precision of each category under R weightings (R, I) of the images."""
        columns = []
        for _, group in self.groups:
            order = group[np.argsort(-scores[group], kind="stable")]
            weights = image_weights[:, self.place[order]] * self.weights[order]  # (R, n)
            columns.append(_weighted_precision(self.truth[order], scores[order], weights))
        return np.stack(columns, 1)


def _comparable(held_out: HeldOut) -> _Pairs:
    ids, inverse = np.unique(held_out.categories, return_inverse=True)
    positives = np.bincount(inverse, held_out.truth, len(ids))
    both = (positives > 0) & (positives < np.bincount(inverse, minlength=len(ids)))
    used = np.flatnonzero(both[inverse])
    weights = np.ones(len(inverse)) if held_out.weights is None else held_out.weights
    return _Pairs(
        used,
        held_out.truth[used],
        weights[used].astype(np.float64),
        np.unique(held_out.images[used], return_inverse=True)[1],
        [(int(ids[c]), np.flatnonzero(inverse[used] == c)) for c in np.flatnonzero(both)],
    )


def _decide(pairs: _Pairs, serving: Values, candidate: Values, config: GateConfig) -> GateDecision:
    everyone = np.ones((1, pairs.images))
    old, new = (pairs.precisions(scores, everyone)[0] for scores in (serving, candidate))
    replicates = _replicates(pairs, serving, candidate, config)
    tail = (1 - config.confidence) / 2
    low, high = (float(value) for value in np.quantile(replicates, [tail, 1 - tail]))
    difference, worse = float(np.mean(new - old)), float(np.mean(replicates < 0))
    decision, verdict = _rule(difference, high, worse, config)
    return GateDecision(
        decision,
        f"Mean average precision on {len(pairs.truth):,} held-out verdicts ({pairs.images:,} "
        f"images, {len(old):,} categories): {100 * new.mean():.1f} new, {100 * old.mean():.1f} "
        f"serving, difference {100 * difference:+.1f} points ({100 * config.confidence:g} % "
        f"interval {100 * low:+.1f} to {100 * high:+.1f}). {verdict}",
        serving=float(old.mean()),
        candidate=float(new.mean()),
        difference=difference,
        low=low,
        high=high,
        worse=worse,
        images=pairs.images,
        verdicts=len(pairs.truth),
        positives=int(pairs.truth.sum()),
        categories=_changes(pairs, old, new),
    )


def _changes(pairs: _Pairs, old: Doubles, new: Doubles) -> tuple[CategoryChange, ...]:
    """Category by category, largest loss first."""
    changes = []
    for c in np.argsort(new - old, kind="stable"):
        category, group = pairs.groups[c]
        positives = int(pairs.truth[group].sum())
        negatives = len(group) - positives
        changes.append(CategoryChange(category, positives, negatives, float(old[c]), float(new[c])))
    return tuple(changes)


def _rule(
    difference: float, high: float, worse: float, config: GateConfig
) -> tuple[Literal["serve", "keep"], str]:
    if high < 0:
        return "keep", "The new run is worse with confidence, so it does not serve."
    if difference <= -config.large_loss and worse >= config.large_loss_confidence:
        return "keep", (
            "That is too few verdicts to be sure, but the loss is large and probably real, so the "
            "new run does not serve."
        )
    if difference < 0:
        return "serve", "The loss is within what chance explains, so the newer run serves."
    return "serve", "It is not worse, so it serves."


def _replicates(pairs: _Pairs, serving: Values, candidate: Values, config: GateConfig) -> Doubles:
    """Differences of the mean average precision on random halves of the images.

    A category without a positive in the half is left out of that mean; a half without any is
    left out of the result, which so may be shorter than ``resamples``.
    """
    rng, images = np.random.default_rng(config.seed), pairs.images
    first_half = np.arange(images) < images // 2
    parts = []
    for start in range(0, config.resamples, _CHUNK):
        shape = (min(_CHUNK, config.resamples - start), images)
        halves = rng.permuted(np.broadcast_to(first_half, shape), axis=1).astype(np.float64)
        old, new = (pairs.precisions(scores, halves) for scores in (serving, candidate))
        counted = ~np.isnan(old)
        kept = counted.any(1)
        parts.append(np.where(counted, new - old, 0.0).sum(1)[kept] / counted.sum(1)[kept])
    return np.concatenate(parts)


def _weighted_precision(truth: Mask, scores: Values, weights: Doubles) -> Doubles:
    """(R,) average precision of sorted pairs (n,) under weights (R, n) >= 0.

    Ties are one threshold; nan where no positive has a weight.
    """
    last_of_ties = np.append(np.diff(scores) != 0, True)
    found = np.cumsum(weights * truth, 1)[:, last_of_ties]
    seen = np.cumsum(weights, 1)[:, last_of_ties]
    steps = np.diff(found, prepend=0.0, axis=1)
    precision = found / np.where(seen > 0, seen, 1.0)
    total = np.where(found[:, -1] > 0, found[:, -1], np.nan)
    return np.asarray(np.sum(steps * precision, 1) / total, np.float64)
