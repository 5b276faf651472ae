"""From scores to probabilities, where known labels allow it.

Platt scaling (Platt 1999) of the logit, pooled over categories, with a deviation for
each category that is shrunk towards the pooled map: a rare category gets the pooled one.

The rule: a probability is stated once ``CalibrationConfig.negatives`` held-out known negatives
and ``CalibrationConfig.positives`` held-out known positives exist. Before that there is no way to
tell a confident model from a right one, so the program says "score" instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import PROBABILITY_LIMIT, Floats, sigmoid
from clsl_core.recovery.stacking import PooledLogistic, fit_pooled
from clsl_core.types import Origin

__all__ = ["CalibrationConfig", "apply_calibration", "calibrate", "calibration_weights"]


@dataclass(frozen=True)
class CalibrationConfig:
    """When and how to calibrate.

    Attributes:
        negatives: Held-out known negatives needed.
        positives: Held-out known positives needed.
        shrinkage: Pull of a category's map towards the pooled one, in entries.
        control: So many labels of the random control arm share the weight evenly with all others.
    """

    negatives: int = 20
    positives: int = 20
    shrinkage: float = 10.0
    control: float = 30.0


def calibration_weights(
    origins: npt.NDArray[np.int8], given: float, config: CalibrationConfig
) -> Floats:
    """How much each held-out label tells of the pairs that are unknown.

    Of a pair that somebody was asked about because of its score, present and absent would have
    become known alike: it counts 1. A file that lists positives only says nothing of how often a
    score is right. Pairs drawn at random are the only ones that are like the unknown ones, and
    few: together they count as much as all the others together once they are ``config.control``,
    in proportion less while they are fewer, and never less than 1 each.

    Args:
        origins: (M,) ``Origin`` of each label.
        given: What a label counts that nobody was asked for, from 0 (of a list of positives) to 1
            (present and absent ones are known alike).
        config: Says how many drawn at random are plenty.
    """
    asked, drawn = origins == Origin.QUEUE, origins == Origin.RANDOM
    weights = np.where(asked | drawn, 1.0, given).astype(np.float32)
    count = int(drawn.sum())
    if count:
        others = float(weights[~drawn].sum())
        weights[drawn] = max(1.0, others / max(config.control, count))
    return weights


def calibrate(
    logits: Floats,
    truth: npt.NDArray[np.bool_],
    categories: npt.NDArray[np.int64],
    category_count: int,
    config: CalibrationConfig,
    weights: Floats | None = None,
) -> PooledLogistic | None:
    """Fit the map from logits to probabilities on held-out known labels.

    Args:
        logits: (M,) of the entries.
        truth: (M,) whether the entry is present.
        categories: (M,) its category.
        category_count: C.
        config: The rule and the shrinkage.
        weights: (M,) how much each entry counts, e.g. to undo a selection; 1 by default. Entries
            that count nothing are as if they were not there.

    Returns:
        The map, or None while too few labels are known.
    """
    if weights is None:
        weights = np.ones(len(truth), np.float32)
    counted = weights > 0
    logits, truth, categories = logits[counted], truth[counted], categories[counted]
    positives = int(truth.sum())
    if positives < config.positives or len(truth) - positives < config.negatives:
        return None
    return fit_pooled(
        logits[:, None],
        truth,
        weights[counted],
        categories,
        category_count,
        ridge=0.1,
        shrinkage=config.shrinkage,
        start=np.array([1.0, 0.0], np.float32),
    )


def apply_calibration(map_: PooledLogistic, logits: Floats) -> Floats:
    """Probabilities (N, C) in (0, 1) of logits (N, C); never falling in the logit."""
    weights = map_.weights
    z = logits * np.maximum(weights[:, 0], 1e-3) + weights[:, 1]
    return sigmoid(z, PROBABILITY_LIMIT)
