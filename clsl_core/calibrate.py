"""From scores to probabilities, where known labels allow it.

Platt scaling (Platt 1999) of the blended logit, pooled over categories, with a deviation for
each category that is shrunk towards the pooled map: a rare category gets the pooled one.

The rule: a probability is stated once ``CalibrationConfig.negatives`` held-out known negatives
and ``CalibrationConfig.positives`` held-out known positives exist. Before that there is no way to
tell a confident model from a right one, so the program says "score" instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clsl_core.linear import PooledLogistic, fit_pooled

__all__ = ["CalibrationConfig", "apply_calibration", "calibrate", "control_weights"]

Floats = npt.NDArray[np.float32]


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


def control_weights(drawn: npt.NDArray[np.bool_], config: CalibrationConfig) -> Floats:
    """How much each held-out label counts, when some are of pairs drawn at random.

    Labels from files and from ordered queues are not like the unknown pairs: present ones are too
    many. Those drawn at random are, but few. Together they count as much as all the others
    together once they are ``control``, in proportion less while they are fewer, and never less
    than 1 each.

    Args:
        drawn: (M,) whether the pair was drawn at random from the unknown ones.
        config: Says how many are plenty.
    """
    count = int(drawn.sum())
    weights = np.ones(len(drawn), np.float32)
    if count:
        weights[drawn] = max(1.0, (len(drawn) - count) / max(config.control, count))
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
        logits: (M,) blended logits of the entries.
        truth: (M,) whether the entry is present.
        categories: (M,) its category.
        category_count: C.
        config: The rule and the shrinkage.
        weights: (M,) how much each entry counts, e.g. to undo a selection; 1 by default.

    Returns:
        The map, or None while too few labels are known.
    """
    positives = int(truth.sum())
    if positives < config.positives or len(truth) - positives < config.negatives:
        return None
    return fit_pooled(
        logits[:, None],
        truth,
        np.ones(len(truth), np.float32) if weights is None else weights,
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
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -15, 15))), np.float32)
