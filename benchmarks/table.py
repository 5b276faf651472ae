"""Tables for the terminal that are Markdown, too."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

__all__ = ["mean_and_sd", "percent", "print_table"]


def mean_and_sd(values: Sequence[float | None]) -> tuple[float, float]:
    """Mean and sample standard deviation; nan where there is none."""
    found = np.array([np.nan if value is None else value for value in values], float)
    if not len(found):
        return float("nan"), float("nan")
    return float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else float("nan")


def percent(figure: Sequence[float | None]) -> str:
    """A mean and its spread in per cent, such as ``43.1 ± 0.6``."""
    mean, sd = (float("nan") if part is None else 100 * part for part in figure)
    if np.isnan(mean):
        return "–"
    return f"{mean:.1f}" if np.isnan(sd) else f"{mean:.1f} ± {sd:.1f}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print with aligned columns; rows may be shorter than the head."""
    whole = [list(head), *([*row, *[""] * (len(head) - len(row))] for row in rows)]
    full = [row for row in whole if row[2:] != [""] * len(row[2:])] or whole
    widths = [max(map(len, column)) for column in zip_longest(*full, fillvalue="")]
    for number, row in enumerate(whole):
        print("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
