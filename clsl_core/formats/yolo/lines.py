"""One line of a YOLO label file: a box or an outline, as parts of the picture's sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Line", "box_line", "outline_line", "parse_line"]


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says.

    Attributes:
        number: Of the class.
        share: ``x, y, width, height`` from the upper left corner, as parts of the sides.
        outline: ``x1, y1, x2, y2, …`` of a polygon; None for a box.
        score: How sure a model was; None for what a person drew.
    """

    number: int
    share: list[float]
    outline: list[float] | None
    score: float | None


def parse_line(text: str) -> Line:
    """Read ``class x y w h``, the same with a score behind, or ``class x1 y1 x2 y2 x3 y3 …``.

    Raises:
        ValueError: For anything else.
    """
    words = text.split()
    values = [float(word) for word in words]
    if len(values) < 5 or not values[0].is_integer() or not all(map(math.isfinite, values)):
        raise ValueError("expected a class and a box of four numbers, or an outline")
    number, rest = int(values[0]), values[1:]
    if len(rest) in (4, 5):
        x, y, width, height = rest[:4]
        share = [x - width / 2, y - height / 2, width, height]
        return Line(number, share, None, rest[4] if len(rest) == 5 else None)
    score = rest.pop() if len(rest) % 2 else None
    xs, ys = rest[::2], rest[1::2]
    share = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    return Line(number, share, rest, score)


def box_line(number: int, share: Sequence[float]) -> str:
    """The line of a box."""
    x, y, width, height = share
    return _text(number, (x + width / 2, y + height / 2, width, height))


def outline_line(number: int, outline: Sequence[float]) -> str:
    """The line of an outline."""
    return _text(number, outline)


def _text(number: int, values: Sequence[float]) -> str:
    return " ".join([str(number), *(f"{value:.9g}" for value in values)])
