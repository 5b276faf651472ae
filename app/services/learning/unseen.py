"""What a model run said of pairs that it had not learned from: what the gate compares.

Kept in the run's folder, one number for each pair. Letters: N images, C categories.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Floats, Ids
from clsl_core.files import atomic_file

FILE = "unseen.npz"

_LARGEST = 60_000.0  # that a float16 holds


@dataclass(frozen=True)
class Unseen:
    """Scores of pairs.

    Attributes:
        image_ids: (N,).
        category_ids: (C,).
        scores: (N, C) float16 logits; nan where the pair's label was learned from, infinite where
            the model gave no finite number.
    """

    image_ids: Ids
    category_ids: Ids
    scores: npt.NDArray[np.float16]

    def of(self, image_ids: Ids, category_ids: Ids) -> Floats:
        """(M,) scores of the pairs (image_ids[i], category_ids[i]); nan for those not unseen."""
        rows, columns = _places(self.image_ids, image_ids), _places(self.category_ids, category_ids)
        found = (rows >= 0) & (columns >= 0)
        out = np.full(len(rows), np.nan, np.float32)
        out[found] = self.scores[rows[found], columns[found]]
        return out


def store(
    folder: Path,
    image_ids: Sequence[int],
    category_ids: Sequence[int],
    logits: Floats,
    parent: Unseen | None,
) -> None:
    """Keep what a run said.

    Args:
        folder: The run's.
        image_ids: (N,).
        category_ids: (C,).
        logits: (N, C), nan where the run learned from the label.
        parent: Of the run whose head this one started from; what that one had learned from
            counts as learned here too.

    Raises:
        InputError: The file cannot be written.
    """
    images, categories = np.asarray(image_ids, np.int64), np.asarray(category_ids, np.int64)
    learned = np.isnan(logits)
    if parent is not None:
        rows, columns = _places(parent.image_ids, images), _places(parent.category_ids, categories)
        earlier = np.isnan(parent.scores)[np.ix_(rows, columns)]
        learned = learned | (earlier & (rows >= 0)[:, None] & (columns >= 0)[None])
    scores = np.where(np.isfinite(logits), np.clip(logits, -_LARGEST, _LARGEST), np.inf)
    scores[learned] = np.nan
    with atomic_file(folder / FILE) as file:
        np.savez(file, images=images, categories=categories, scores=scores.astype(np.float16))


def load(folder: Path) -> Unseen | None:
    """What ``store`` kept; None where there is nothing or it cannot be read."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as found:
            return Unseen(found["images"], found["categories"], found["scores"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _places(known: Ids, wanted: Ids) -> Ids:
    """(len(wanted),) the place of each id in ``known``, -1 where it is not there."""
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(known)
    found = order[np.searchsorted(known, wanted, sorter=order).clip(max=len(known) - 1)]
    return np.where(known[found] == wanted, found, -1)
