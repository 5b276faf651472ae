"""A training step of the head beside one of the released architecture, in one process.

The released one holds its attention several times over, so with 1,203 categories the heads are
compared at a batch that it can hold; ours is measured at its usual batch besides.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks import train_step
from benchmarks.gpu.section import Row, Setup, measured

__all__ = ["steps"]


def steps(setup: Setup) -> Iterator[Row]:
    """One row for each head at each size; ours at the same widths in float32, too."""
    many, few = setup.choose(32, 2), setup.choose(4, 1)
    for count, batch in ((setup.choose(80, 4), many), (setup.choose(1203, 7), few)):
        reference: dict[str, Any] = {}
        for head, narrow in _kinds(setup):
            row = _row(setup, head, narrow, count, batch)
            reference = reference or row
            yield _beside(row, reference)
    for head in ("ours, same widths", "ours, default"):
        yield _row(setup, head, setup.cuda, setup.choose(1203, 7), many)


def _kinds(setup: Setup) -> list[tuple[str, bool]]:
    """Heads, and whether they train in bfloat16."""
    kinds = [("released", False), ("ours, same widths", False)]
    narrow = [("ours, same widths", True)] if setup.cuda else []
    return [*kinds, *narrow, ("ours, default", setup.cuda)]


def _row(setup: Setup, head: str, narrow: bool, categories: int, batch: int) -> Row:
    request = {
        "head": head,
        "batch": batch,
        "patches": setup.choose(196, 9),
        "width": setup.choose(512, 16),
        "categories": categories,
        "steps": setup.choose(20, 2),
        "device": str(setup.device),
        "autocast": narrow,
    }
    row = measured(head, partial(train_step.run, request))
    told = {
        "what": head,
        "categories": categories,
        "batch": batch,
        "numbers": "bfloat16" if narrow else "float32",
    }
    if "failed" in row:
        return {**told, "failed": row["failed"]}
    return {
        **told,
        "ms": 1000 * row["seconds"],
        "images/s": batch / row["seconds"],
        "memory MB": row["step_bytes"] / 1e6,
    }


def _beside(row: Row, reference: Row) -> Row:
    """The row with how many times faster and smaller it is."""
    if row is reference or "ms" not in row or "ms" not in reference:
        return row
    less = reference["memory MB"] / max(row["memory MB"], 1e-9)
    return {**row, "faster ×": reference["ms"] / row["ms"], "less memory ×": less}
