"""Pictures read ahead on several threads, and varied, for training a tower.

They are varied by RandAugment (arXiv 1909.13719) and Cutout (arXiv 1708.04552). What a picture
becomes depends on a seed alone, so that a resumed training sees the same.

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
from torchvision.transforms import InterpolationMode, v2

from clsl_core.adaptation.config import FinetuneConfig
from clsl_core.arrays import Ids
from clsl_core.errors import ImageError

__all__ = ["Augmentation", "PictureReader", "Pictures", "cut_out", "squeezed"]


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


_GREY = 128


class Augmentation:
    """Squeezes a picture to a square and varies it.

    Args:
        side: Of the square, in pixels.
        operations: Of RandAugment, for each picture; 0 leaves it out.
        magnitude: Of RandAugment, 0 to 30.
        cutout: Side of the hole over the picture's side; 0 leaves it out.
    """

    def __init__(self, side: int, operations: int, magnitude: int, cutout: float) -> None:
        self.side, self.hole = side, round(cutout * side)
        self._vary = None
        if operations:
            self._vary = v2.RandAugment(
                operations, magnitude, interpolation=InterpolationMode.BILINEAR, fill=_GREY
            )

    def __call__(self, picture: Image.Image, seed: int) -> Tensor:
        """The picture as (3, side, side) uint8."""
        pixels = squeezed(picture, self.side)
        before = torch.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            if self._vary is not None:
                pixels = self._vary(pixels)
            return cut_out(pixels, self.hole)
        finally:
            torch.set_rng_state(before)


def squeezed(picture: Image.Image, side: int) -> Tensor:
    """The picture brought to a square as the backbone does it, (3, side, side) uint8."""
    small = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous()


def cut_out(pixels: Tensor, hole: int) -> Tensor:
    """Grey out a square around a random point; at the edge a part of it only.

    Args:
        pixels: (3, rows, columns) uint8.
        hole: Side of the square in pixels; 0 changes nothing.
    """
    if hole < 1:
        return pixels
    rows, columns = pixels.shape[-2:]
    top = int(torch.randint(rows, ())) - hole // 2
    left = int(torch.randint(columns, ())) - hole // 2
    out = pixels.clone()
    out[:, max(0, top) : max(0, top + hole), max(0, left) : max(0, left + hole)] = _GREY
    return out
