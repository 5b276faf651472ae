"""How good logits are on entries that were held out, and whether a part beats the whole there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from clsl_core.arrays import Floats
from clsl_core.recovery.positive_unlabelled import Entries
from clsl_core.statistics.metrics import average_precision
from clsl_core.statistics.run_gate import GateConfig, HeldOut, compare
from clsl_core.types import JsonObject

__all__ = [
    "ENSEMBLE",
    "STACKED",
    "WHOLE",
    "PartCheck",
    "better_part",
    "log_loss",
    "pooled_ap",
    "rank_quality",
]


WHOLE = "all"
"""Everything together."""
STACKED = "blend"
"""The base models stacked, without what learned from them; the name that runs and pages know."""
ENSEMBLE = "ensemble"
"""Everything but the head."""

_RISK = 0.05  # of calling a part better that is not, over all parts together
_RESAMPLES = 400


def log_loss(logits: Floats, entries: Entries) -> float:
    """Weighted mean log loss of logits (N, C) on the entries."""
    z = logits[entries.rows, entries.columns]
    losses = np.logaddexp(0, np.where(entries.truth, -z, z))
    return float(np.sum(losses * entries.weights) / max(float(entries.weights.sum()), 1e-6))


def pooled_ap(scores: Floats, entries: Entries) -> float:
    """Average precision over the entries of all categories together; 0 without a positive."""
    found = average_precision(entries.truth, scores[entries.rows, entries.columns])
    return 0.0 if math.isnan(found) else found


def rank_quality(scores: Floats, entries: Entries) -> float:
    """Mean share of a category's other entries that its positives outrank; 0 without any.

    Steadier on a few held-out positives than average precision, and blind to how categories
    compare, which is the business of stacking.
    """
    values = scores[entries.rows, entries.columns]
    shares = []
    for c in np.unique(entries.columns[entries.truth]):
        own = entries.columns == c
        others = np.sort(values[own & ~entries.truth])
        if len(others):
            shares.append(np.searchsorted(others, values[own & entries.truth]) / len(others))
    return float(np.mean(np.concatenate(shares))) if shares else 0.0


@dataclass(frozen=True)
class PartCheck:
    """Which part orders the proposals, and why.

    Attributes:
        ordered_by: ``WHOLE``, or the name of a part that is better beyond noise.
        compared: Whether there were held-out labels enough to compare at all.
        whole: Mean average precision of the whole in 0 .. 1, or None.
        parts: For each part its mean average precision, the difference to the whole (above 0 the
            part is better) and that difference's interval.
    """

    ordered_by: str
    compared: bool
    whole: float | None
    parts: dict[str, dict[str, float]]

    def to_json(self) -> JsonObject:
        """As JSON values, for the run's metrics."""
        return asdict(self)


def better_part(whole: Floats, parts: Mapping[str, Floats], entries: Entries) -> PartCheck:
    """The best of the parts that beat the whole beyond noise on held-out entries, if any does.

    Mean over categories of the average precision, paired bootstrap over images
    (``clsl_core.statistics.run_gate``). A part is better when the whole interval of the difference
    lies above 0; the intervals are wide enough for all parts together to be wrong at most once in
    twenty (Bonferroni).

    Args:
        whole: (N, C) logits, without knowing the truth of ``entries``.
        parts: (N, C) of each part, likewise.
        entries: Held out from all of them.
    """
    held_out = HeldOut(entries.rows, entries.columns, entries.truth, entries.weights)
    config = GateConfig(confidence=1 - 2 * _RISK / max(len(parts), 1), resamples=_RESAMPLES)
    mine = whole[entries.rows, entries.columns]
    found: dict[str, dict[str, float]] = {}
    level = None
    for name, logits in parts.items():
        said = compare(held_out, mine, logits[entries.rows, entries.columns], config)
        if said.low is None or said.high is None or said.candidate is None:
            continue
        level = said.serving
        difference = said.difference or 0.0
        found[name] = {"map": said.candidate, "difference": difference,
                       "low": said.low, "high": said.high}  # fmt: skip
    better = [name for name, facts in found.items() if facts["low"] > 0]
    first = max(better, key=lambda name: found[name]["map"], default=WHOLE)
    return PartCheck(first, bool(found), level, found)
