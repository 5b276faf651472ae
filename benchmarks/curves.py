"""Line charts as SVG, written with the standard library: no browser, no network, no fonts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Svg

from clsl_core.files import atomic_file

__all__ = ["Curve", "Panel", "draw"]

# Okabe and Ito's colours, which colour-blind readers can tell apart, then darker ones.
_COLOURS = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
    "#7A7A7A", "#8C5A00", "#1B6B93", "#00573F", "#7A3300", "#7A3E60", "#B8A900",
)  # fmt: skip
_WIDTH, _HEIGHT = 520, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 150, 34, 44
_DASHES = ("", "6 3", "2 3")


@dataclass(frozen=True)
class Curve:
    """Points (x, y) in the order of x; one point is drawn as a dot."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]


def draw(path: Path, panels: Iterable[Panel]) -> None:
    """Write an SVG with the panels side by side, two in a row.

    Raises:
        InputError: The file cannot be written.
    """
    shown = list(panels)
    columns, rows = min(2, max(1, len(shown))), max(1, (len(shown) + 1) // 2)
    width, height = columns * _WIDTH, rows * _HEIGHT
    root = Svg.Element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}",
         "width": str(width), "height": str(height), "font-family": "sans-serif",
         "font-size": "11"},
    )  # fmt: skip
    Svg.SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "#fff"})
    for number, panel in enumerate(shown):
        x, y = number % 2 * _WIDTH, number // 2 * _HEIGHT
        _panel(Svg.SubElement(root, "g", {"transform": f"translate({x} {y})"}), panel)
    with atomic_file(path) as file:
        file.write(Svg.tostring(root, "utf-8", xml_declaration=True))


class _Axis:
    """Maps values to pixels; the range is widened to round ends."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values, default=0.0), max(values, default=1.0)
        span = (high - low) or max(abs(high), 1e-9)
        self.step = _round_step(span / 5)
        self.low = self.step * (low // self.step)
        count = -int(-(high - self.low) // self.step)
        self.high = self.low + self.step * max(1, count)
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self) -> list[float]:
        return [
            self.low + self.step * i for i in range(round((self.high - self.low) / self.step) + 1)
        ]


def _round_step(size: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** int(f"{size:e}".split("e")[1])
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size * 0.999))


def _panel(group: Svg.Element, panel: Panel) -> None:
    points = [point for curve in panel.curves for point in curve.points if not math.isnan(point[1])]
    x = _Axis([p[0] for p in points], _LEFT, _WIDTH - _RIGHT)
    y = _Axis([p[1] for p in points], _HEIGHT - _BOTTOM, _TOP)
    _text(group, _LEFT, 18, panel.title, weight="bold", size="13")
    for tick in x.ticks():
        _line(group, x.at(tick), y.start, x.at(tick), y.end, "#e4e4e4")
        _text(group, x.at(tick), y.start + 15, f"{tick:g}", anchor="middle")
    for tick in y.ticks():
        _line(group, x.start, y.at(tick), x.end, y.at(tick), "#e4e4e4")
        _text(group, x.start - 6, y.at(tick) + 4, f"{round(tick, 6):g}", anchor="end")
    _text(group, (x.start + x.end) / 2, _HEIGHT - 10, panel.x_label, anchor="middle")
    _text(group, _LEFT - 44, _TOP - 6, panel.y_label)
    drawable = [c for c in panel.curves if not all(math.isnan(b) for _, b in c.points)]
    for number, curve in enumerate(drawable):
        _curve(group, curve, number, x, y)


def _curve(group: Svg.Element, curve: Curve, number: int, x: _Axis, y: _Axis) -> None:
    colour = _COLOURS[number % len(_COLOURS)]
    style = {"stroke": colour, "stroke-dasharray": _DASHES[number // len(_COLOURS) % len(_DASHES)]}
    places = [(x.at(a), y.at(b)) for a, b in curve.points if not math.isnan(b)]
    line = Svg.SubElement(
        group,
        "polyline",
        {"points": " ".join(f"{a},{b}" for a, b in places), "fill": "none", "stroke-width": "1.6",
         **style},
    )  # fmt: skip
    Svg.SubElement(line, "title").text = curve.name
    if len(places) <= 12:
        for a, b in places:
            Svg.SubElement(
                group, "circle", {"cx": str(a), "cy": str(b), "r": "2.4", "fill": colour}
            )
    at = _TOP + 6 + 15 * number
    key = {"x1": _WIDTH - _RIGHT + 10, "x2": _WIDTH - _RIGHT + 30, "y1": at, "y2": at}
    places_of_key = {name: str(value) for name, value in key.items()}
    Svg.SubElement(group, "line", {**places_of_key, "stroke-width": "2", **style})
    _text(group, _WIDTH - _RIGHT + 35, at + 4, curve.name)


def _line(group: Svg.Element, x1: float, y1: float, x2: float, y2: float, colour: str) -> None:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    Svg.SubElement(group, "line", {"stroke": colour, **{k: str(v) for k, v in ends.items()}})


def _text(
    group: Svg.Element,
    x: float,
    y: float,
    text: str,
    anchor: str = "start",
    weight: str = "normal",
    size: str = "11",
) -> None:
    element = Svg.SubElement(
        group,
        "text",
        {"x": str(x), "y": str(y), "text-anchor": anchor, "font-weight": weight,
         "font-size": size, "fill": "#222"},
    )  # fmt: skip
    element.text = text
