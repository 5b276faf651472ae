"""The arrays of the house by their names, and the two ways between a probability and its logit."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "PROBABILITY_LIMIT",
    "Doubles",
    "Floats",
    "Ids",
    "Labels",
    "Mask",
    "Values",
    "logit",
    "sigmoid",
]

Floats = npt.NDArray[np.float32]
"""Features, logits, probabilities: what the method computes on."""

Doubles = npt.NDArray[np.float64]
"""What statistics compute on."""

Values = npt.NDArray[np.floating[Any]]
"""Floats or Doubles."""

Ids = npt.NDArray[np.int64]
"""Ids of images and categories, and places in other arrays."""

Labels = npt.NDArray[np.int8]
"""+1 PRESENT, -1 ABSENT, 0 UNKNOWN, as `clsl_core.types.LabelState` has them."""

Mask = npt.NDArray[np.bool_]

PROBABILITY_LIMIT = 15.0  # of logits whose probabilities people see: never quite 0 or 1

_Float = TypeVar("_Float", bound=np.floating[Any])


def sigmoid(logits: npt.NDArray[_Float], limit: float = 30.0) -> npt.NDArray[_Float]:
    """1 / (1 + exp(-z)) of logits z of any shape, in their own dtype.

    Args:
        logits: Of any shape.
        limit: z is kept within [-limit, limit], so that no result is 0 and no exp overflows.
    """
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -limit, limit))), logits.dtype)


def logit(p: Values) -> Floats:
    """Log p / (1 - p) of probabilities of any shape, with p kept within [1e-6, 1 - 1e-6]."""
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), np.float32)
