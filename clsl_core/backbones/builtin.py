"""The built-in backbone: classical colour and texture descriptors of a 7 × 7 grid.

It needs no weights and no network, so the program works before anything was downloaded. It knows
how a patch looks, not what it shows. Nothing in it is fitted to data.

A patch of 32 × 32 pixels is described by seven histograms:

    block     bins  what is counted
    colour      30  six greys; twelve hues, dark and light (CIE L*a*b*)
    edges       36  orientation of lightness edges, 9 × a 2 × 2 layout (Dalal & Triggs, HOG, 2005)
    red-green    8  orientation of edges of a*
    blue-yellow  8  orientation of edges of b*
    fine        10  uniform local binary patterns (Ojala et al., 2002), radius 1 px
    middle      10  the same at half size, radius 1 px
    coarse      10  the same at half size, radius 2 px

Each is square-rooted (Hellinger), freed of its mean (so that the dot product of two patches is a
correlation and unlike patches are far apart) and brought to unit length; then so is the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Floats
from clsl_core.backbones.spec import BUILTIN, BackboneSpec, ImageFeatures, normalised

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["BuiltinBackbone"]

_SIDE = 224
_GRID = 7
_PATCHES = _GRID * _GRID
_DIM = 112
_GREY_CHROMA = 10.0  # below this the eye sees grey and the hue is noise
_FLAT_EDGE = 0.5  # mean gradient, in lightness steps, below which a patch has no direction


class BuiltinBackbone:
    """Colour and texture of 49 patches, 112 numbers each; see the module's text."""

    def __init__(self) -> None:
        self.spec = BackboneSpec(BUILTIN, None, _SIDE, (_GRID, _GRID), _DIM, False, "1")

    def encode_images(self, images: Sequence[Image.Image]) -> ImageFeatures:
        """See Backbone. The pooled vector is the mean plus the maximum over patches."""
        shape = (len(images), _PATCHES, _DIM)
        tokens = np.asarray([_tokens(image) for image in images], np.float32).reshape(shape)
        pooled = normalised(normalised(tokens.mean(axis=1)) + normalised(tokens.max(axis=1)))
        return ImageFeatures(tokens.astype(np.float16), pooled.astype(np.float16))

    def encode_categories(self, names: Sequence[str]) -> None:
        """None: descriptors know no words."""
        del names

    def encode_texts(self, texts: Sequence[str]) -> None:
        """None, as for names."""
        del texts


def _tokens(image: Image.Image) -> Floats:
    """(49, 112) unit vectors of one picture."""
    lab = _lab(image)
    lightness, red_green, blue_yellow = np.moveaxis(lab, 2, 0)
    half = np.moveaxis(_halved(lab), 2, 0)
    blocks = [
        _colours(lightness, red_green, blue_yellow),
        _edges(lightness, bins=9, layout=2),
        _edges(half[1], bins=8, layout=1),
        _edges(half[2], bins=8, layout=1),
        _patterns(lightness, radius=1),
        _patterns(half[0], radius=1),
        _patterns(half[0], radius=2),
    ]
    return normalised(np.concatenate([_balanced(block) for block in blocks], axis=1))


def _lab(image: Image.Image) -> Floats:
    """(224, 224, 3) CIE L*a*b*."""
    from PIL import Image as Pillow
    from skimage.color import rgb2lab

    square = image.convert("RGB").resize(
        (_SIDE, _SIDE), Pillow.Resampling.BILINEAR, reducing_gap=2.0
    )
    lab: Floats = rgb2lab(np.asarray(square, np.float32) / 255.0).astype(np.float32)
    return lab


def _halved(values: Floats) -> Floats:
    """Means of 2 × 2 pixels."""
    small: Floats = values.reshape(_SIDE // 2, 2, _SIDE // 2, 2, -1).mean(axis=(1, 3))
    return small


def _balanced(histogram: npt.NDArray[np.float64]) -> Floats:
    """Square root, zero mean, unit length; a histogram without any difference becomes zero."""
    root = np.sqrt(histogram).astype(np.float32)
    centred: Floats = root - root.mean(axis=1, keepdims=True)
    return normalised(centred)


def _histogram(
    bins: npt.NDArray[np.int64], weights: npt.NDArray[Any] | None, count: int, cells: int
) -> npt.NDArray[np.float64]:
    """(cells², count): one histogram for each cell of a square map, as mean per pixel."""
    side = len(bins)
    place = np.arange(side) * cells // side
    cell = place[:, None] * cells + place
    flat = None if weights is None else weights.ravel()
    total = np.bincount((cell * count + bins).ravel(), flat, minlength=cells * cells * count)
    share = total.astype(np.float64) * (cells / side) ** 2
    return share.reshape(cells * cells, count)


def _colours(lightness: Floats, red_green: Floats, blue_yellow: Floats) -> npt.NDArray[np.float64]:
    """(49, 30): six greys, then twelve hues, dark and light."""
    hue = (np.arctan2(blue_yellow, red_green) / (2 * np.pi) + 0.5) * 12
    coloured = 6 + (hue.astype(np.int64) % 12) * 2 + (lightness > 55)
    grey = np.clip(lightness * 0.06, 0, 5).astype(np.int64)
    faint = red_green**2 + blue_yellow**2 < _GREY_CHROMA**2
    return _histogram(np.where(faint, grey, coloured), None, 30, _GRID)


def _edges(values: Floats, bins: int, layout: int) -> npt.NDArray[np.float64]:
    """(49, bins · layout²): edge strength by orientation, shared between neighbouring bins."""
    across, down = np.zeros_like(values), np.zeros_like(values)
    across[:, 1:-1] = values[:, 2:] - values[:, :-2]
    down[1:-1] = values[2:] - values[:-2]
    strength = np.hypot(across, down)
    position = (np.arctan2(down, across) / np.pi % 1.0) * bins
    lower = position.astype(np.int64)
    share = position - lower
    cells = _GRID * layout
    found = _histogram(lower % bins, strength * (1 - share), bins, cells)
    found += _histogram((lower + 1) % bins, strength * share, bins, cells)
    tiled = found.reshape(_GRID, layout, _GRID, layout, bins).transpose(0, 2, 1, 3, 4)
    patches = tiled.reshape(_PATCHES, layout * layout * bins)
    patches[patches.sum(axis=1) < _FLAT_EDGE * layout * layout] = 0.0
    return patches


def _patterns(lightness: Floats, radius: int) -> npt.NDArray[np.float64]:
    """(49, 10): rotation-invariant uniform local binary patterns."""
    from skimage.feature import local_binary_pattern

    steps = np.clip(lightness * 2.55, 0, 255).astype(np.uint8)
    found = local_binary_pattern(steps, 8, radius, "uniform").astype(np.int64)
    return _histogram(found, None, 10, _GRID)
