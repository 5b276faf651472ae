"""What is known, what is not, and what unknown entries stand for: positive-unlabelled learning.

Where positives are all that is known, unknown entries stand for negatives. Models fitted that way
estimate how likely an entry is to be a *known* positive; as long as what is known of a category is
a random part of its positives, that orders the unknown entries like the probability of being
positive, and dividing by the *label frequency* c = P(known | positive) gives that probability
(Elkan and Noto 2008, "Learning classifiers from only positive and unlabeled data").

    detect_regime     what kind of knowledge there is
    split_labels      hold a slice of the known labels out
    pick_entries      the image-category pairs that something is fitted or judged on
    label_frequency   c, from what sure positives score
    pu_corrected      logits of presence, from those of being a known positive

Letters: N images, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Floats, Labels, Mask, sigmoid

__all__ = [
    "Entries",
    "RecoveryConfig",
    "Regime",
    "Split",
    "class_priors",
    "detect_regime",
    "entry_folds",
    "label_frequency",
    "pick_entries",
    "pu_corrected",
    "split_labels",
    "unknown_as_negative",
]


class Regime(StrEnum):
    """What kind of knowledge there is."""

    NONE = "none"
    SINGLE = "single positive"
    POSITIVES = "positives only"
    MIXED = "mixed"


@dataclass(frozen=True)
class RecoveryConfig:
    """How labels are recovered.

    Attributes:
        held_out: Share of the known labels kept from training to choose and calibrate on.
        held_out_negatives: Wish for this many held-out negatives, at most half of them.
        entry_folds: Folds of known labels the base models are stacked with.
        ridge: Pull of the stacking weights towards where they start, in entries.
        shrinkage: Pull of a category's weights towards the pooled ones, in entries.
        stacking_entries: Known and unknown entries sampled for stacking, of each this many.
        gate: Quantile of a category's known positives above which an unknown entry is recovered
            as present; its mirror image gates absence.
        gate_shrinkage: Known labels' worth of belief in the pooled thresholds.
        negatives_for_mixed: Known negatives for each known positive from which on unknown
            entries no longer stand for negatives.
        undecided: Weight of an unknown entry between the thresholds.
    """

    held_out: float = 0.2
    held_out_negatives: int = 40
    entry_folds: int = 5
    ridge: float = 30.0
    shrinkage: float = 50.0
    stacking_entries: int = 60_000
    gate: float = 0.5
    gate_shrinkage: float = 5.0
    negatives_for_mixed: float = 4.0
    undecided: float = 0.2


@dataclass(frozen=True)
class Split:
    """Labels (N, C) to train on, and the ``held_out`` mask (N, C) of those kept from it."""

    train: Labels
    held_out: Mask


@dataclass(frozen=True)
class Entries:
    """Image-category pairs to fit or judge on; all arrays have the same length."""

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    truth: Mask
    weights: Floats


def detect_regime(labels: Labels, config: RecoveryConfig) -> Regime:
    """Tell from the labels (N, C) in {-1, 0, +1} which regime they are in."""
    if not (labels != 0).any():
        return Regime.NONE
    if unknown_as_negative(labels, config) == 0.0:
        return Regime.MIXED
    single = (labels > 0).sum(1).max() <= 1 and not (labels < 0).any()
    return Regime.SINGLE if single and labels.shape[1] > 1 else Regime.POSITIVES


def unknown_as_negative(labels: Labels, config: RecoveryConfig) -> float:
    """Weight in [0, 1] with which unknown entries stand for negatives.

    1 without a known negative; falls in proportion as known negatives arrive, so that verdicts
    move a collection from one regime to the other without a jump.
    """
    positives, negatives = int((labels > 0).sum()), int((labels < 0).sum())
    if not positives:
        return 0.0 if negatives else 1.0
    return max(0.0, 1.0 - negatives / (config.negatives_for_mixed * positives))


def split_labels(labels: Labels, draws: Floats, config: RecoveryConfig) -> Split:
    """Hold out a share of the positives and of the negatives, never a category's last one.

    Args:
        labels: (N, C).
        draws: (N, C) uniform in [0, 1). Give a pair the same number in every training, and a
            label once held out stays held out: a warm start then has not seen it either.
        config: The shares.
    """
    negatives = max(int((labels < 0).sum()), 1)
    shares = {
        1: config.held_out,
        -1: min(0.5, max(config.held_out, config.held_out_negatives / negatives)),
    }
    held_out = np.zeros(labels.shape, bool)
    for state, share in shares.items():
        own = labels == state
        chosen = own & (draws < share)
        bare = np.flatnonzero(own.any(0) & (own == chosen).all(0))
        last = np.where(own, draws, -1.0).argmax(0)
        chosen[last[bare], bare] = False
        held_out |= chosen
    return Split(np.where(held_out, np.int8(0), labels), held_out)


def entry_folds(
    shape: tuple[int, ...], count: int, rng: np.random.Generator
) -> npt.NDArray[np.int8]:
    """A fold for every entry, known or not, so that both are scored alike."""
    return rng.integers(0, count, shape, dtype=np.int8)


def pick_entries(
    labels: Labels,
    judged: Mask,
    unknown_weight: float,
    config: RecoveryConfig,
    rng: np.random.Generator,
) -> Entries:
    """Weighted samples of the judged known entries, and of the unknown ones as negatives.

    Args:
        labels: (N, C), all that is known.
        judged: (N, C) the known entries that count; the unknown ones count by the same share.
        unknown_weight: 0 leaves the unknown ones out.
        config: How many to sample.
        rng: Draws the sample.
    """
    known = np.flatnonzero(judged & (labels != 0))
    share = len(known) / max(int((labels != 0).sum()), 1)
    unknown = np.flatnonzero(labels == 0) if unknown_weight else known[:0]
    samples = [
        _sample(known, config.stacking_entries, rng),
        _sample(unknown, config.stacking_entries, rng),
    ]
    worth = [1.0, unknown_weight * share]
    sizes = [len(known), len(unknown)]
    weights = np.concatenate(
        [
            np.full(len(sample), value * size / max(len(sample), 1), np.float32)
            for sample, value, size in zip(samples, worth, sizes, strict=True)
        ]
    )
    rows, columns = np.unravel_index(np.concatenate(samples), labels.shape)
    return Entries(
        rows.astype(np.int64), columns.astype(np.int64), labels[rows, columns] > 0, weights
    )


def _sample(
    places: npt.NDArray[np.int64], limit: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    if len(places) <= limit:
        return places
    return np.sort(rng.choice(places, limit, replace=False))


def label_frequency(scores: Floats, labels: Labels, unknown_weight: float) -> float:
    """The label frequency c = P(known | positive), estimated; in [0.2, 1].

    c is what a sure positive scores as a known one: the mean of the tenth of the known positives
    that score highest, between Elkan and Noto's estimators e1 (the mean of all) and e3 (the most).

    Args:
        scores: (N, C) estimated probability of being a known positive, from base models that do not
            use the entry's own label.
        labels: (N, C).
        unknown_weight: 0 says that the scores already are probabilities of presence.
    """
    own = np.sort(scores[labels > 0])
    if not len(own) or not unknown_weight:
        return 1.0
    best = own[-max(1, len(own) // 10) :]
    return float(np.clip(best.mean(), 0.2, 1.0))


def pu_corrected(logits: Floats, frequency: float) -> Floats:
    """Logits (N, C) of being present, from those of being a *known* positive.

    P(present) = P(known positive) / c (Elkan and Noto 2008), kept below 0.999.

    Args:
        logits: (N, C).
        frequency: c; see ``label_frequency``.
    """
    if frequency == 1.0:
        return logits
    p = np.clip(sigmoid(logits) / frequency, 1e-9, 0.999)
    return np.asarray(np.log(p) - np.log1p(-p), np.float32)


def class_priors(labels: Labels, unknown_weight: float, frequency: float) -> Floats:
    """Estimated share of positives (C,) of each category, never 0 or 1.

    Args:
        labels: (N, C).
        unknown_weight: Weight of unknown entries as negatives.
        frequency: Estimated share of the positives that are known; see ``label_frequency``.
    """
    positives = (labels > 0).sum(0)
    known = (labels != 0).sum(0)
    counted = known + unknown_weight * (len(labels) - known)
    mean = (positives.sum() + 0.5) / (counted.sum() + 1.0)
    rate = (positives + mean) / (counted + 1.0) / (frequency if unknown_weight else 1.0)
    return np.asarray(np.clip(rate, 1e-4, 1 - 1e-4), np.float32)
