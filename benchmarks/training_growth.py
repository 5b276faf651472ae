"""How does the cost of a training grow with images and with categories?

    python -m benchmarks.training_growth --json OUT.json

Whole first trainings on drawn tokens, each in a process of its own: images double while the
categories stay, then categories grow from 20 to 5,000 while the images stay. The exponent beside
two neighbouring sizes is log(time ratio) / log(size ratio): 1 is linear, below is better.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.runs import Runner, Sheet, end_with_the_cell, run_child, say
from benchmarks.table import print_table
from clsl_core.errors import ClslError

__all__ = ["exponents", "main"]


def main(arguments: Sequence[str] | None = None, runner: Runner = run_child) -> int:
    """Run from the command line; 0 when every training was measured."""
    options = _parse(arguments)
    series = {
        "images": [(images, options.fixed_categories) for images in options.images],
        "categories": [(options.fixed_images, count) for count in options.categories],
    }
    try:
        sheet = Sheet.open(options.json, {"patches": options.patches}, resume=options.resume)
        for name, sizes in series.items():
            for images, categories in sizes:
                _measure(sheet, name, images, categories, options, runner)
            _report(name, [cell for cell in sheet.cells if cell["series"] == name])
    except ClslError as error:
        say(f"training_growth: {error}")
        return 1
    return 1 if any("failed" in cell for cell in sheet.cells) else 0


def exponents(sizes: Sequence[float], costs: Sequence[float]) -> list[float]:
    """Growth between neighbours: log of the costs' ratio over log of the sizes' ratio."""
    return [
        math.log(costs[i + 1] / costs[i]) / math.log(sizes[i + 1] / sizes[i])
        for i in range(len(sizes) - 1)
    ]


def _measure(
    sheet: Sheet,
    series: str,
    images: int,
    categories: int,
    options: argparse.Namespace,
    runner: Runner,
) -> None:
    key = f"{series}-{images}-{options.patches}-{categories}"
    if sheet.has(key):
        return
    say(f"{images} images, {categories} categories")
    request = {"images": images, "patches": options.patches, "categories": categories}
    record = {"key": key, "series": series, **request}
    record.update(runner("benchmarks.training_growth_cell", request, options.timeout))
    sheet.add(record, [])


def _report(name: str, cells: Sequence[dict[str, Any]]) -> None:
    done = [cell for cell in cells if "seconds" in cell]
    growth: list[float | None] = [
        None,
        *exponents([c[name] for c in done], [c["cpu_seconds"] for c in done]),
    ]
    print()
    print_table(
        ["images", "categories", "seconds", "processor seconds", "exponent", "peak MB"],
        [
            [
                f"{cell['images']:,}",
                f"{cell['categories']:,}",
                f"{cell['seconds']:.0f}",
                f"{cell['cpu_seconds']:.0f}",
                "" if exponent is None else f"{exponent:.2f}",
                f"{cell['peak_bytes'] / 1e6:,.0f}",
            ]
            for cell, exponent in zip(done, growth, strict=False)
        ],
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_growth", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--images", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--fixed-categories", type=int, default=20, help="while images grow")
    parser.add_argument("--categories", type=int, nargs="+", default=[20, 80, 320, 1280, 5000])
    parser.add_argument("--fixed-images", type=int, default=256, help="while categories grow")
    parser.add_argument("--patches", type=int, default=16, help="of an image")
    parser.add_argument("--timeout", type=float, default=7200.0, help="seconds for one training")
    parser.add_argument("--resume", action="store_true", help="keep what OUT.json has")
    parser.add_argument("--json", type=Path, help="file for the results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    end_with_the_cell()
    sys.exit(main())
