"""What a run thought of every pair: a table made while proposing, read without torch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Floats, Ids
from clsl_core.files import DamagedFile, atomic_file, load_array

log = logging.getLogger(__name__)

FOLDER = "instant"
_DIMENSIONS = {"image_ids": 1, "category_ids": 1, "logits": 2, "vectors": 2, "calibration": 2}

_UNSEEN = -4.0  # logit of a category that the run does not know yet


@dataclass(frozen=True)
class InstantTable:
    """What a run thought of everything.

    Attributes:
        image_ids: (N,) rising.
        category_ids: (C,).
        logits: (C, N) float16.
        vectors: (N, d) float16 as the base models compare images.
        calibration: (C, 2) slope and shift from logit to probability, or empty (0, 2).
    """

    image_ids: Ids
    category_ids: Ids
    logits: npt.NDArray[np.float16]
    vectors: npt.NDArray[np.float16]
    calibration: Floats

    def save(self, folder: Path) -> None:
        """Write the table into a model run's folder."""
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        for name in self.__dataclass_fields__:
            with atomic_file(folder / FOLDER / f"{name}.npy") as file:
                np.save(file, getattr(self, name), allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> InstantTable | None:
        """The table of a run, memory-mapped; None when it has none, or a damaged one (logged)."""
        parts = {}
        try:
            for name, dimensions in _DIMENSIONS.items():
                part = load_array(folder / FOLDER / f"{name}.npy", dimensions, mapped=True)
                if part is None:
                    return None
                parts[name] = part
        except DamagedFile as error:
            log.warning("%s", error)
            return None
        table = cls(**parts)
        return table if table._fits() else None

    def _fits(self) -> bool:
        """Whether the parts are of one size."""
        images, categories = len(self.image_ids), len(self.category_ids)
        return (
            self.logits.shape == (categories, images)
            and len(self.vectors) == images
            and self.calibration.shape in ((0, 2), (categories, 2))
        )

    def of(self, category_id: int) -> tuple[Floats, tuple[float, float]]:
        """A category's logits (N,) and its way to a probability; a new one is unlikely at first."""
        found = np.flatnonzero(self.category_ids == category_id)
        if not len(found):
            return np.full(len(self.image_ids), _UNSEEN, np.float32), (1.0, 0.0)
        place = int(found[0])
        slope, shift = self.calibration[place] if len(self.calibration) else (1.0, 0.0)
        return self.logits[place].astype(np.float32), (max(float(slope), 1e-3), float(shift))
