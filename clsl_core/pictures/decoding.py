"""From the bytes of an untrusted file to an upright RGB picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from clsl_core.errors import ImageError
from clsl_core.pictures.budget import DECODING
from clsl_core.pictures.colours import to_rgb

__all__ = ["FORMATS", "MAX_PIXELS", "Header", "decode", "read_header"]

MAX_PIXELS = 100_000_000
SMALL = 16_000_000
"""Pixels of a picture that is wanted small, however long and narrow it is."""

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM")
"""Pillow decoders that may run. Not among them: EPS and PS, which start another program."""

COSTLY = ("WEBP", "AVIF")
"""Their decoders hold a picture up to four times: half as many pixels are allowed."""

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
        at_least: The picture may come smaller by a whole factor as long as no side falls below
            so many pixels, or more than SMALL pixels are left; None for the full size.

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
            pixels = picture.width * picture.height * _cost(picture)
        del picture
        with DECODING.take(pixels):  # which holds on until the decoded picture is let go
            small, orientation = _decoded(stream, file_name, max_pixels, at_least)
        return _upright(small, orientation)
    except ImageError:
        raise
    except Exception as error:  # decoders of broken files raise anything
        text = f"{type(error).__name__}: {error}"
        short = isinstance(error, EOFError) or any(word in text.lower() for word in _TRUNCATED)
        message = f"{file_name!r} is damaged or cut off ({text})"
        raise ImageError(message, "truncated" if short else "unreadable") from error


def _decoded(
    stream: BinaryIO, file_name: str, max_pixels: int, at_least: int | None
) -> tuple[Image.Image, int]:
    """A picture as RGB, not turned yet, and its orientation."""
    stream.seek(0)
    with _open(stream, file_name, max_pixels) as picture:
        if at_least is not None:
            picture.draft("RGB", (at_least, at_least))
        picture.load()
        return to_rgb(picture, _factor(picture.size, at_least)), _orientation(picture)


@dataclass(frozen=True, slots=True)
class Header:
    """A picture as it is stored: width and height in pixels, and how it is to be turned (EXIF)."""

    width: int
    height: int
    orientation: int


def read_header(stream: BinaryIO, file_name: str, max_pixels: int = MAX_PIXELS) -> Header:
    """What a picture's header says; nothing is decoded.

    Raises:
        ImageError: It is no picture, or one of too many pixels.
    """
    with _open(stream, file_name, max_pixels) as picture:
        return Header(*picture.size, _orientation(picture))


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
    most = max_pixels // _cost(picture)
    if picture.width * picture.height > most:
        size = f"{picture.width} × {picture.height} pixels"
        kind = f" in {picture.format}" if most < max_pixels else ""
        picture.close()
        message = f"{file_name!r} is {size}, more than the {most:,} pixels allowed{kind}"
        raise ImageError(message, "too-large")
    return picture


def _cost(picture: Image.Image) -> int:
    """What a pixel takes while it is decoded, in 8 bytes."""
    return 2 if picture.format in COSTLY else 1


def _factor(size: tuple[int, int], at_least: int | None) -> int:
    """How many times smaller a picture may be made."""
    if at_least is None:
        return 1
    width, height = size
    return max(1, min(size) // at_least, math.ceil(math.sqrt(width * height / SMALL)))


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 … 8; 1 where there is none or the block is damaged."""
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return picture if turn is None else picture.transpose(turn)
