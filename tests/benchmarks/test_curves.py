"""Charts are whole SVG files whose points lie where the figures say."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.curves import Curve, Panel, draw

SVG = "{http://www.w3.org/2000/svg}"


def lines(path: Path) -> dict[str, list[tuple[float, float]]]:
    found = {}
    for line in ElementTree.parse(path).getroot().iter(f"{SVG}polyline"):
        pairs = [pair.split(",") for pair in line.attrib["points"].split()]
        title = line.findtext(f"{SVG}title") or ""
        found[title] = [(float(x), float(y)) for x, y in pairs]
    return found


def test_higher_figures_are_higher_up_and_in_proportion(tmp_path: Path) -> None:
    curves = [Curve("a <b>", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]), Curve("one", [(0.3, 0.2)])]
    draw(tmp_path / "a.svg", [Panel("x & y", "x", "y", curves)])
    found = lines(tmp_path / "a.svg")
    (x0, y0), (x1, y1), (x2, y2) = found["a <b>"]
    assert x0 < x1 < x2
    assert y0 > y1 > y2
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.02)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.02)
    assert len(found["one"]) == 1


def test_figures_that_are_none_are_left_out_and_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    draw(
        tmp_path / "a.svg", [Panel("t", "x", "y", [Curve("a", [(0.1, float("nan")), (0.2, 0.5)])])]
    )
    assert len(lines(tmp_path / "a.svg")["a"]) == 1
    draw(tmp_path / "b.svg", [Panel("t", "x", "y", [])])
    draw(tmp_path / "c.svg", [])
    assert lines(tmp_path / "c.svg") == {}
