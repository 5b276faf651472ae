"""Drawing one demo scene: backdrops first, then objects that hide neither each other nor much."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["BACKDROPS", "HEIGHT", "OBJECTS", "WIDTH", "Scene"]

WIDTH, HEIGHT = 384, 288
_FINE = 2  # drawn at twice the size, then reduced, for smooth edges
_TRIES = 60

_Box = tuple[int, int, int, int]
_Brush = Callable[[ImageDraw.ImageDraw, _Box, np.random.Generator], None]


class Scene:
    """A picture in the making.

    Attributes:
        boxes: What was drawn: category name and (left, top, right, bottom) in pixels.
    """

    def __init__(self, chance: np.random.Generator) -> None:
        self._chance = chance
        self._canvas = _plain(chance)
        self._draw = ImageDraw.Draw(self._canvas)
        self._objects: list[_Box] = []
        self.boxes: list[tuple[str, _Box]] = []

    def paint(self, backdrops: Sequence[str]) -> None:
        """Cover the picture with one backdrop, or with two one above the other."""
        border = int(HEIGHT * self._chance.uniform(0.4, 0.6))
        edges = [0, HEIGHT] if len(backdrops) == 1 else [0, border, HEIGHT]
        for name, top, bottom in zip(backdrops, edges, edges[1:], strict=False):
            box = (0, top, WIDTH, bottom)
            BACKDROPS[name](self._draw, _fine(box), self._chance)
            self.boxes.append((name, box))

    def place(self, name: str) -> None:
        """Draw an object where it hardly covers another; none where there is no room."""
        for _ in range(_TRIES):
            size = int(self._chance.integers(64, 130))
            left = int(self._chance.integers(4, WIDTH - size - 4))
            top = int(self._chance.integers(4, HEIGHT - size - 4))
            box = (left, top, left + size, top + size)
            if all(_apart(box, other) for other in self._objects):
                OBJECTS[name](self._draw, _fine(box), self._chance)
                self._objects.append(box)
                self.boxes.append((name, box))
                return

    def picture(self) -> Image.Image:
        """The scene as RGB, 384 × 288, with a little of a camera's noise."""
        pixels = np.asarray(self._canvas.reduce(_FINE), np.float32)
        pixels = pixels * self._chance.uniform(0.88, 1.08)
        pixels += self._chance.normal(0, 3, pixels.shape)
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _fine(box: _Box) -> _Box:
    left, top, right, bottom = (edge * _FINE for edge in box)
    return left, top, right, bottom


def _apart(a: _Box, b: _Box) -> bool:
    return a[2] + 4 < b[0] or b[2] + 4 < a[0] or a[3] + 4 < b[1] or b[3] + 4 < a[1]


def _plain(chance: np.random.Generator) -> Image.Image:
    """A soft grey to beige gradient: nothing to label."""
    upper, lower = chance.integers(150, 225, 2)
    tint = np.array([1.0, 0.98, chance.uniform(0.88, 1.0)])
    column = np.linspace(upper, lower, HEIGHT * _FINE)[:, None, None] * tint
    pixels = np.broadcast_to(column, (HEIGHT * _FINE, WIDTH * _FINE, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _shade(chance: np.random.Generator, colour: tuple[int, int, int], spread: int = 14) -> str:
    """A colour near the given one."""
    red, green, blue = (
        int(np.clip(c + chance.integers(-spread, spread + 1), 0, 255)) for c in colour
    )
    return f"#{red:02x}{green:02x}{blue:02x}"


def _corners(box: _Box, radii: Sequence[float], turn: float) -> list[tuple[float, float]]:
    """Points around the middle of a box; ``radii`` as parts of half its side."""
    left, top, right, bottom = box
    x, y, half = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
    step = 2 * math.pi / len(radii)
    return [
        (x + half * r * math.sin(turn + i * step), y - half * r * math.cos(turn + i * step))
        for i, r in enumerate(radii)
    ]


def _circle(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    draw.ellipse(box, fill=_shade(chance, (214, 32, 36)))


def _square(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    draw.rectangle(box, fill=_shade(chance, (32, 70, 214)))


def _triangle(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    turn = chance.uniform(-0.3, 0.3)
    draw.polygon(_corners(box, (1, 1, 1), turn), fill=_shade(chance, (20, 190, 90)))


def _star(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    turn = chance.uniform(-0.3, 0.3)
    draw.polygon(_corners(box, (1, 0.45) * 5, turn), fill=_shade(chance, (250, 215, 30)))


def _ring(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    width = (box[2] - box[0]) // 4
    draw.ellipse(box, outline=_shade(chance, (150, 40, 180)), width=width)


def _cross(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    left, top, right, bottom = box
    arm, fill = (right - left) // 3, _shade(chance, (245, 130, 20))
    draw.rectangle((left + arm, top, right - arm, bottom), fill=fill)
    draw.rectangle((left, top + arm, right, bottom - arm), fill=fill)


def _checkerboard(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    draw.rectangle(box, fill="#f4f4f4")
    fields, (left, top, right, _) = int(chance.integers(5, 8)), box
    side = (right - left) / fields
    for row in range(fields):
        for column in range(row % 2, fields, 2):
            x, y = left + column * side, top + row * side
            draw.rectangle((x, y, x + side, y + side), fill="#141414")


def _dotted_ball(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    draw.ellipse(box, fill=_shade(chance, (245, 240, 240), 8))
    left, top, right, _ = box
    half, dot = (right - left) / 2, (right - left) / 13
    for row in range(-2, 3):
        for column in range(-2, 3):
            x, y = (column + 0.5 * (row % 2)) * half * 0.38, row * half * 0.36
            if math.hypot(x, y) < half - dot:
                middle = (left + half + x, top + half + y)
                draw.circle(middle, dot, fill=_shade(chance, (235, 60, 150)))


def _grass(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, fill=_shade(chance, (70, 105, 35)))
    for _ in range((bottom - top) * (right - left) // 320):
        x, y = chance.uniform(left, right), chance.uniform(top + 26, bottom + 26)
        tip = (x + chance.uniform(-9, 9), max(top, y - chance.uniform(18, 40)))
        colour = _shade(chance, (95, 140, 45), 34)
        draw.line((x, min(y, bottom), *tip), fill=colour, width=3)


def _night_sky(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, fill=_shade(chance, (12, 14, 44), 8))
    for _ in range((bottom - top) * (right - left) // 3600):
        place = (chance.uniform(left, right), chance.uniform(top + 4, bottom - 4))
        draw.circle(place, chance.uniform(1.5, 3.2), fill="#f2f4ff")


def _brick_wall(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, fill="#cbbfae")
    height = int(chance.integers(30, 44))
    for row, y in enumerate(range(top, bottom, height)):
        for x in range(left - (row % 2) * height, right, 2 * height):
            brick = (x + 3, y + 3, x + 2 * height - 3, min(y + height - 3, bottom))
            if brick[3] > brick[1]:
                draw.rectangle(brick, fill=_shade(chance, (150, 74, 52)))


def _sea(draw: ImageDraw.ImageDraw, box: _Box, chance: np.random.Generator) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, fill=_shade(chance, (22, 128, 140)))
    length, phase = chance.uniform(50, 90), chance.uniform(0, 6)
    for y in range(top + 14, bottom - 8, 26):
        xs = np.arange(left, right + 8, 8)
        wave = y + 7 * np.sin(xs / length * 2 * np.pi + phase + y)
        draw.line(list(zip(xs.tolist(), wave.tolist(), strict=True)), fill="#9fdfe0", width=5)


OBJECTS: dict[str, _Brush] = {
    "red circle": _circle,
    "blue square": _square,
    "green triangle": _triangle,
    "yellow star": _star,
    "purple ring": _ring,
    "orange cross": _cross,
    "checkerboard": _checkerboard,
    "polka-dot ball": _dotted_ball,
}

BACKDROPS: dict[str, _Brush] = {
    "grass": _grass,
    "night sky": _night_sky,
    "brick wall": _brick_wall,
    "sea": _sea,
}
