"""What is left known of the truth: the three regimes of knowledge, one draw for each seed.

The protocol of multi-label recognition with partial labels: every entry is kept with probability
``known``, positives and negatives alike; in the other two regimes negatives are never known. The
draws of one seed are nested: what is known at 10 % is known at 50 %, too.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import numpy as np

from clsl_core.arrays import Labels
from clsl_core.errors import InputError
from clsl_core.files import atomic_file

__all__ = ["Regime", "hide", "keep", "recall"]


class Regime(StrEnum):
    """Which labels are known."""

    MIXED = "mixed"
    POSITIVES = "positives"
    SINGLE = "single"


def keep(truth: Labels, regime: Regime, known: float, seed: int) -> Labels:
    """The labels (N, C) in {-1, 0, +1} that remain known.

    Args:
        truth: (N, C) in {-1, 0, +1}; 0 stays unknown.
        regime: ``mixed`` keeps entries, ``positives`` keeps positives, ``single`` one positive of
            each image.
        known: Share kept, in (0, 1]; means nothing for ``single``.
        seed: Of the draw.

    Raises:
        InputError: The share is out of range.
    """
    if not 0 < known <= 1:
        raise InputError(f"the known share is {known}, expected more than 0 and at most 1.")
    draw = np.random.default_rng(seed).random(truth.shape)
    positive = truth > 0
    if regime is Regime.SINGLE:
        drawn = np.where(positive, draw, 2.0)
        chosen = positive & (drawn == drawn.min(1, keepdims=True))
    else:
        chosen = (draw < known) & (positive | (regime is Regime.MIXED))
    return np.where(chosen, truth, np.int8(0))


def hide(truth: Labels, share: float, rng: np.random.Generator) -> Labels:
    """Positives only, exactly a share of them made UNKNOWN."""
    known = np.where(truth > 0, np.int8(1), np.int8(0))
    places = np.argwhere(known > 0)
    chosen = rng.permutation(len(places))[: round(share * len(places))]
    known[tuple(places[chosen].T)] = 0
    return known


def recall(file: Path, labels: Labels) -> Labels:
    """Save the drawn labels in ``file``, or find there what an earlier run drew.

    Raises:
        InputError: The file holds other labels.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as stream:
            np.savez_compressed(stream, labels=labels)
        return labels
    try:
        with np.load(file, allow_pickle=False) as archive:
            saved = archive["labels"]
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{file} holds no labels ({error}); delete it to draw again.") from error
    if saved.dtype != np.int8 or not np.array_equal(saved, labels):
        raise InputError(
            f"{file} holds other labels than this draw gives (shape {saved.shape}, expected "
            f"{labels.shape}): it belongs to other inputs or to another version of numpy. Delete "
            "it, or write to another place."
        )
    return labels
