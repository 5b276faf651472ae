"""Label correlation: what the scores of a category's relatives and companions say about it.

Two corrections of the ensemble's logits, neither of which looks at the image again:

    similar   categories whose vectors are alike lend their evidence to a category of which few
              positives are known (a zebra's head may be a horse's)
    together  co-occurrence: labels that go together, counted over known labels and guesses alike,
              so that it works from the first handful of labels on

Both say nothing where they know nothing: without category vectors there are no similar ones, and
a category with many known positives borrows little. Sources: a structured prior from category
names (SCPNet, arXiv 2303.13283); second-order label correlation (Zhang and Zhou 2014, "A review on
multi-label learning algorithms"); that guesses may be counted like labels: EM for partly known
labels.

Letters: N images, C categories, k similar categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Floats, Labels, sigmoid
from clsl_core.recovery.label_graph import similar_categories

__all__ = [
    "LabelCorrelation",
    "LabelCorrelationConfig",
    "fit_label_correlation",
    "no_label_correlation",
]


@dataclass(frozen=True)
class LabelCorrelationConfig:
    """How much label correlation counts.

    Attributes:
        borrowed: Share of the similar categories' evidence where no positive is known.
        positives: Known positives with which that share has halved.
        neighbours: k.
        temperature: Similarities are compared as exp(cosine / temperature).
        alike: Cosine of two categories' vectors, their mean taken away, from which on one counts
            in full for the other; below, in proportion.
        together: Weight of the log lift between labels counted with guesses.
        known_together: Weight of the log lift between known labels.
        shrinkage: Images' worth of belief that two labels are independent.
        guess: What a guessed label counts beside a known one.
    """

    borrowed: float = 1.0
    positives: float = 4.0
    neighbours: int = 8
    temperature: float = 0.1
    alike: float = 0.5
    together: float = 0.1
    known_together: float = 0.1
    shrinkage: float = 5.0
    guess: float = 0.5


@dataclass(frozen=True)
class LabelCorrelation:
    """The fitted corrections. All arrays, so that saving them is saving arrays.

    Attributes:
        similar: (C, k) int64 categories and ``share`` (C, k) what of their evidence is borrowed.
        share: See above.
        centre: (C,) mean logit of each category.
        lift: (C, C) what a label says about another one, in logits; its diagonal is zero.
        prior: (C,) mean guess of each category.
        guess: See LabelCorrelationConfig.
    """

    similar: npt.NDArray[np.int64]
    share: Floats
    centre: Floats
    lift: Floats
    prior: Floats
    guess: float

    def apply(self, logits: Floats, known: Labels) -> Floats:
        """Corrected logits (N, C).

        Args:
            logits: (N, C).
            known: (N, C) labels known of the images; an entry's own label does not touch it.
        """
        corrected = logits + self._borrowed(logits)
        return np.asarray(corrected + _evidence(corrected, known, self) @ self.lift, np.float32)

    def _borrowed(self, logits: Floats) -> Floats:
        away = logits - self.centre
        out = np.zeros_like(logits)
        for place in range(self.similar.shape[1]):
            out += self.share[:, place] * away[:, self.similar[:, place]]
        return out


def no_label_correlation(count: int) -> LabelCorrelation:
    """Corrections of ``count`` categories that change nothing."""
    zero = np.zeros(count, np.float32)
    return LabelCorrelation(
        similar=np.zeros((count, 0), np.int64),
        share=np.zeros((count, 0), np.float32),
        centre=zero,
        lift=np.zeros((count, count), np.float32),
        prior=zero,
        guess=0.0,
    )


def fit_label_correlation(
    logits: Floats,
    labels: Labels,
    vectors: Floats | None,
    known_lift: Floats,
    config: LabelCorrelationConfig,
) -> LabelCorrelation:
    """Fit the corrections to logits of the images that are learned from.

    Args:
        logits: (N, C), each without knowledge of the entry's own label.
        labels: (N, C) in {-1, 0, +1}.
        vectors: (C, E) category vectors, or None.
        known_lift: (C, C) log lift between known labels.
        config: See ``LabelCorrelationConfig``.
    """
    count = labels.shape[1]
    similar, weight = np.zeros((count, 0), np.int64), np.zeros((count, 0), np.float32)
    if vectors is not None and count > 1:
        similar, weight = similar_categories(
            vectors, config.neighbours, config.temperature, config.alike
        )
    positives = (labels > 0).sum(0)
    share = config.borrowed * config.positives / (config.positives + positives)
    bare = LabelCorrelation(
        similar=similar,
        share=np.asarray(weight * share[:, None], np.float32),
        centre=logits.mean(0),
        lift=np.zeros((count, count), np.float32),
        prior=np.zeros(count, np.float32),
        guess=config.guess,
    )
    guesses = _fill(bare.apply(logits, labels), labels)
    prior = guesses.mean(0)
    lift = config.together * _log_lift(guesses, config.shrinkage)
    return LabelCorrelation(
        similar=similar,
        share=bare.share,
        centre=bare.centre,
        lift=np.asarray(lift + config.known_together * known_lift, np.float32),
        prior=prior,
        guess=config.guess,
    )


def _fill(logits: Floats, known: Labels) -> Floats:
    """(N, C) probabilities: 1 and 0 where known, guessed elsewhere."""
    return np.asarray(np.where(known == 0, sigmoid(logits), known > 0), np.float32)


def _evidence(logits: Floats, known: Labels, fitted: LabelCorrelation) -> Floats:
    """(N, C) how far each label is from what is usual; a guess counts for less."""
    away = _fill(logits, known) - fitted.prior
    return np.asarray(np.where(known == 0, fitted.guess, 1.0) * away, np.float32)


def _log_lift(guesses: Floats, shrinkage: float) -> Floats:
    """(C, C) log P(c'|c) / P(c') from expected counts, zero on the diagonal."""
    prior = np.maximum(guesses.mean(0), 1e-6)
    often = guesses.sum(0)[:, None]
    joint = (guesses.T @ guesses + shrinkage * prior) / (often + shrinkage)
    lift: Floats = np.log(joint / prior).astype(np.float32)
    np.fill_diagonal(lift, 0.0)
    return lift
