"""How far people agree on yes-or-no questions, beyond what chance would bring.

Sources: Cohen 1960 (Educ. Psychol. Meas. 20), Fleiss 1971 (Psychol. Bull. 76), Krippendorff 2011
(Computing Krippendorff's alpha-reliability). All are 1 for full agreement, 0 for that of chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["alpha", "cohen", "fleiss"]

Counts = npt.NDArray[np.integer[Any]]


def cohen(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Cohen's kappa of two people.

    Args:
        first: What one said of n things, [n].
        second: What the other said of the same things, [n].

    Returns:
        At most 1; None where both always say one and the same, or n = 0: chance agrees fully.
    """
    if len(set(first) | set(second)) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(list(first), list(second)))


def fleiss(counts: Counts) -> float | None:
    """Fleiss' kappa of any people, equally many for each thing.

    Args:
        counts: How many chose each of K answers, [n, K]; all rows have one sum of at least 2.

    Returns:
        At most 1; None where all chose the same answer, or n = 0.

    Raises:
        ValueError: The rows' sums differ, or are below 2.
    """
    if not len(counts):
        return None
    raters = counts.sum(1)  # [n]
    m = int(raters[0])
    if m < 2 or (raters != m).any():
        raise ValueError("each thing needs the same number of verdicts, at least 2")
    share = counts.sum(0) / counts.sum()  # [K]
    expected = float((share**2).sum())
    observed = float(((counts**2).sum(1) - m).mean()) / (m * (m - 1))
    return None if expected == 1.0 else (observed - expected) / (1 - expected)


def alpha(counts: Counts) -> float | None:
    """Krippendorff's alpha for names; people may have left things out.

    Args:
        counts: How many chose each of K answers, [n, K]; rows with fewer than 2 do not count.

    Returns:
        At most 1; None where all chose the same answer, or nothing was answered twice.
    """
    paired = counts[counts.sum(1) >= 2].astype(np.float64)  # [u, K]
    raters = paired.sum(1)  # [u]
    N, values = paired.sum(), paired.sum(0)
    expected = N**2 - (values**2).sum()
    if expected == 0:
        return None
    observed = ((raters**2 - (paired**2).sum(1)) / (raters - 1)).sum()
    return float(1 - (N - 1) * observed / expected)
