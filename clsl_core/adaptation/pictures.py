"""Pictures read ahead on several threads, and varied, for training a tower.

Letters: B pictures of one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clsl_core.adaptation.augmentation import Augmentation, squeezed
from clsl_core.adaptation.config import FinetuneConfig
from clsl_core.arrays import Ids
from clsl_core.errors import ImageError

__all__ = ["PictureReader", "Pictures"]


class Pictures(Protocol):
    """N pictures to learn from."""

    @property
    def keys(self) -> Sequence[str]:
        """For each picture a text that changes when it does."""

    def load(self, index: int) -> Image.Image:
        """One picture.

        Raises:
            ImageError: It cannot be used; it is left out then.
        """


class PictureReader:
    """Gives batches of pictures; one that cannot be used is grey and noted.

    Args:
        pictures: N of them.
        config: Their size, how they are varied, the seed.
        pool: Reads them.

    Attributes:
        unusable: Indices of the pictures found to be unusable so far.
    """

    def __init__(self, pictures: Pictures, config: FinetuneConfig, pool: Executor) -> None:
        self._pictures, self._config, self._pool = pictures, config, pool
        self._vary = Augmentation(
            config.image_size, config.operations, config.magnitude, config.cutout
        )
        self.unusable: set[int] = set()

    def varied(self, batches: Sequence[Ids], epoch: int) -> Iterator[tuple[Ids, Tensor]]:
        """The batches, each with its pictures (B, 3, side, side) uint8; the next is read ahead."""
        waiting: list[Future[Image.Image | None]] = []
        for index, rows in enumerate(batches):
            own = waiting or [self._pool.submit(self._read, row) for row in rows.tolist()]
            coming = batches[index + 1].tolist() if index + 1 < len(batches) else []
            waiting = [self._pool.submit(self._read, row) for row in coming]
            varied = []
            for row, future in zip(rows.tolist(), own, strict=True):
                keys = [self._config.seed, epoch, row]
                seed = int(np.random.SeedSequence(keys).generate_state(1)[0])
                varied.append(self._vary(future.result() or self._blank(), seed))
            yield rows, torch.stack(varied)

    def plain(self, rows: Ids) -> Tensor:
        """Pictures as they are, (B, 3, side, side) uint8."""
        read = self._pool.map(self._read, rows.tolist())
        side = self._config.image_size
        return torch.stack([squeezed(picture or self._blank(), side) for picture in read])

    def _read(self, row: int) -> Image.Image | None:
        try:
            return self._pictures.load(row)
        except ImageError:
            self.unusable.add(row)
            return None

    def _blank(self) -> Image.Image:
        side = self._config.image_size
        return Image.new("RGB", (side, side), (128, 128, 128))
