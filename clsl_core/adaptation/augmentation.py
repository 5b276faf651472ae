"""Pictures varied for training a tower: RandAugment (arXiv 1909.13719), Cutout (arXiv 1708.04552).

What a picture becomes depends on a seed alone, so that a resumed training sees the same.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

__all__ = ["Augmentation", "cut_out", "squeezed"]

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
