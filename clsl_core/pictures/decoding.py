"""From the bytes of an untrusted file to an upright RGB picture."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from clsl_core.errors import ImageError

__all__ = ["FORMATS", "MAX_PIXELS", "decode", "to_rgb"]

MAX_PIXELS = 100_000_000

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM")
"""Pillow decoders that may run. Not among them: EPS and PS, which start another program."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TRUNCATED = (
    "truncated",
    "broken",
    "end of file",
    "unexpected end",
    "not enough",
    "failed to read",
)


def decode(
    stream: BinaryIO, file_name: str, max_pixels: int = MAX_PIXELS, at_least: int | None = None
) -> Image.Image:
    """Decode the first frame completely.

    Args:
        stream: An open image file.
        file_name: For messages.
        max_pixels: Checked against the header before anything is decoded. Pillow's own limit
            (twice ``Image.MAX_IMAGE_PIXELS``) holds besides.
        at_least: JPEG files may be decoded at a half, a quarter or an eighth of their size as
            long as no side falls below so many pixels; None for the full size.

    Returns:
        A picture of mode RGB, turned as its EXIF orientation says, transparency over white.

    Raises:
        ImageError: With the reason ``empty``, ``not-an-image``, ``too-large``, ``truncated`` or
            ``unreadable``.
    """
    if not stream.read(1):
        raise ImageError(f"{file_name!r} is empty (0 bytes)", "empty")
    try:
        with _open(stream, file_name, max_pixels) as picture:
            if at_least is not None:
                picture.draft("RGB", (at_least, at_least))
            picture.load()
            return _upright(to_rgb(picture), _orientation(picture))
    except ImageError:
        raise
    except Exception as error:  # decoders of broken files raise anything
        text = f"{type(error).__name__}: {error}"
        short = isinstance(error, EOFError) or any(word in text.lower() for word in _TRUNCATED)
        message = f"{file_name!r} is damaged or cut off ({text})"
        raise ImageError(message, "truncated" if short else "unreadable") from error


def _open(stream: BinaryIO, file_name: str, max_pixels: int) -> Image.Image:
    """Read the header only.

    Raises:
        ImageError: When it is no picture, or one of too many pixels.
    """
    try:
        picture = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError as error:
        kinds = ", ".join(FORMATS)
        message = f"{file_name!r} is not a readable picture; expected one of {kinds}"
        raise ImageError(message, "not-an-image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{file_name!r} has too many pixels: {error}", "too-large") from error
    if picture.width * picture.height > max_pixels:
        size = f"{picture.width} × {picture.height} pixels"
        picture.close()
        message = f"{file_name!r} is {size}, more than the {max_pixels:,} pixels allowed"
        raise ImageError(message, "too-large")
    return picture


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB: transparency over white, deep greys scaled and not clipped."""
    if picture.mode.startswith(("I", "F")):
        return _grey(np.asarray(picture), picture.mode).convert("RGB")
    if picture.has_transparency_data:
        return _over_white(picture.convert("RGBA"))
    return picture.convert("RGB")


def _over_white(picture: Image.Image) -> Image.Image:
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _grey(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], mode: str) -> Image.Image:
    """Numbers of more than 8 bits as 8-bit grey.

    Sixteen-bit files use their full range; wider ones are taken as 8 or 16 bits or, for
    fractions, as 0 … 1 where all values fit, and stretched from their own range otherwise.
    """
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    if mode.startswith("I;16"):
        scaled = numbers / 257.0
    elif low < 0 or high > 65535:
        scaled = (numbers - low) / (high - low) * 255.0
    elif mode == "F" and high <= 1:
        scaled = numbers * 255.0
    else:
        scaled = numbers if high <= 255 else numbers / 257.0
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 … 8; 1 where there is none or the block is damaged."""
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return picture if turn is None else picture.transpose(turn)
