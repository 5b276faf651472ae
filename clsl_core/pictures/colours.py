"""Decoded pictures of any mode as RGB, made smaller on the way, a strip at a time.

A second copy of a picture of a hundred million pixels takes as much as the picture, and one of
floating-point numbers eight times as much; a strip takes next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["to_rgb"]

STRIP = 2_000_000
"""Pixels that are converted at a time."""
NARROW = 0.25
"""Deep greys that use less of their range than this are stretched: most cameras and scanners of
more than 8 bits give 10, 12 or 14 in a file of 16."""

Convert = Callable[[Image.Image], Image.Image]


def to_rgb(picture: Image.Image, factor: int = 1) -> Image.Image:
    """Any Pillow mode as RGB: transparency over white, deep greys scaled and not clipped.

    Args:
        picture: Decoded.
        factor: So many times smaller, by averaging.
    """
    convert = _conversion(picture)
    width, height = (-(-side // factor) for side in picture.size)
    small = Image.new("RGB", (width, height))
    for top, strip in _strips(picture, factor):
        part = convert(strip)
        small.paste(part if factor == 1 else part.reduce(factor), (0, top // factor))
    return small


def _strips(picture: Image.Image, factor: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Strips from top to bottom, each with its place; all but the last divisible by ``factor``."""
    rows = max(1, STRIP // (picture.width * factor)) * factor
    for top in range(0, picture.height, rows):
        bottom = min(picture.height, top + rows)
        yield top, picture.crop((0, top, picture.width, bottom))


def _conversion(picture: Image.Image) -> Convert:
    if picture.mode.startswith(("I", "F")):
        return partial(_grey, scale=_scale(picture))
    if picture.has_transparency_data:
        return _over_white
    return _plain


def _plain(strip: Image.Image) -> Image.Image:
    return strip.convert("RGB")


def _over_white(strip: Image.Image) -> Image.Image:
    layer = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


@dataclass(frozen=True, slots=True)
class _Scale:
    """From numbers to 0 … 255: ``(number - low) * by``."""

    low: float
    by: float


def _grey(strip: Image.Image, scale: _Scale) -> Image.Image:
    values = (_numbers(strip) - scale.low) * scale.by
    return Image.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8)).convert("RGB")


def _numbers(strip: Image.Image) -> npt.NDArray[np.float64]:
    """What is no number, or endless, counts as 0."""
    values = np.asarray(strip).astype(np.float64)
    return np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _scale(picture: Image.Image) -> _Scale:
    """How the greys of a picture of more than 8 bits are shown.

    Sixteen-bit files use their full range; wider ones are taken as 8 or 16 bits or, for fractions,
    as 0 … 1 where all values fit. Those that use little of that range, or do not fit, are stretched
    from their own.
    """
    low, high = _extremes(picture)
    full = _full_range(picture.mode, low, high)
    if full is not None and (high - low >= NARROW * full or high == low):
        return _Scale(0.0, 255.0 / full)
    return _Scale(low, 255.0 / (high - low) if high > low else 0.0)


def _extremes(picture: Image.Image) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for _, strip in _strips(picture):
        numbers = _numbers(strip)
        low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
    return low, high


def _full_range(mode: str, low: float, high: float) -> float | None:
    """The largest value that the numbers could have; None where that cannot be told."""
    if mode.startswith("I;16"):
        return 65535.0
    if low < 0 or high > 65535:
        return None
    if mode == "F" and high <= 1:
        return 1.0
    return 255.0 if high <= 255 else 65535.0
