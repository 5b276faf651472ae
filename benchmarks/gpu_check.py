"""Is everything right on a GPU, and how fast is it? One program for a bare machine.

    python -m benchmarks.gpu_check --json OUT.json [--tokens FILE.npz ...] [--minutes 5]
    python -m benchmarks.gpu_check --markdown OUT.json

Needs PyTorch with CUDA and what ``clsl_core`` imports; no network, no database, no weights.
Results are written after each row and printed after each section, so a killed run keeps what it
has. A section that breaks is recorded and the rest goes on; what the time does not suffice for is
said. Exit code 1: a section about correctness broke, or found results that are wrong. Without a
CUDA device it says so and ends with 0; ``--device cpu --tiny`` tries the program itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.environment import card
from benchmarks.gpu.section import (
    NotRun,
    OutOfTime,
    Section,
    Setup,
    last_line,
    time_limit,
)
from benchmarks.runs import Sheet, say
from benchmarks.table import print_table
from clsl_core.errors import ClslError, InputError

__all__ = ["SECTIONS", "main", "show"]

SECTIONS = (
    Section("environment", "Environment", 10),
    Section("agreement", "Forward and backward beside float64", 45, correctness=True),
    Section("memory", "Memory that runs out", 60, correctness=True),
    Section("search", "faiss on the card", 20, correctness=True),
    Section("trainings", "One training, processor and card", 120, correctness=True),
    Section("steps", "A training step beside the released architecture", 60),
    Section("embedding", "Embedding", 75),
    Section("finetuning", "Fine-tuning steps", 75),
)
"""In the order they run: what must be right comes before what is only fast or slow."""

Record = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when nothing is wrong."""
    options = _parse(arguments)
    try:
        if options.markdown is not None:
            show(_read(options.markdown))
            return 0
        if options.device.startswith("cuda") and not torch.cuda.is_available():
            print("not run: no CUDA device")
            return 0
        device = _numbered(torch.device(options.device))
        setup = Setup(device, options.tiny, tuple(options.tokens))
        sheet = Sheet.open(options.json, {}, resume=False)
        sheet.about["card"] = card(device)
        chosen = [section for section in SECTIONS if section.name in options.only]
        return _check(chosen, setup, sheet, time.monotonic() + 60 * options.minutes)
    except ClslError as error:
        say(f"gpu_check: {error}")
        return 1


def _numbered(device: torch.device) -> torch.device:
    """The same with its number, which torch asks for when memory is capped."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


def show(results: Record) -> None:
    """Print results as Markdown."""
    told = results["about"]["card"]["card"]
    print(f"Measured on: {told}\n")
    for verdict in results["summary"]:
        _show(verdict, results["cells"])


def _check(sections: Sequence[Section], setup: Setup, sheet: Sheet, end: float) -> int:
    """Run the sections until the time is over."""
    verdicts: list[dict[str, Any]] = []
    for section in sections:
        say(section.title)
        verdicts.append(_run(section, setup, sheet, verdicts, end))
        sheet.write(verdicts)
        _show(verdicts[-1], sheet.cells)
        sys.stdout.flush()
    wrong = [one["name"] for one in verdicts if one["state"] in ("failed", "wrong")]
    say(f"failed: {', '.join(wrong)}" if wrong else "nothing failed")
    return 1 if any(one.correctness and one.name in wrong for one in sections) else 0


def _run(
    section: Section, setup: Setup, sheet: Sheet, before: Sequence[dict[str, Any]], end: float
) -> dict[str, Any]:
    """One section: its rows go to the sheet, its verdict comes back."""
    began = time.monotonic()
    verdict: dict[str, Any] = {"name": section.name, "title": section.title, "state": "done"}
    seconds = min(section.seconds if setup.cuda else end - began, end - began)
    if seconds <= 0:
        return {**verdict, "state": "skipped", "reason": "no time is left", "seconds": 0.0}
    try:
        with time_limit(seconds):
            for row in section.rows(setup):
                key = f"{section.name}-{len(sheet.cells)}"
                sheet.add({"key": key, "section": section.name, **row}, before)
    except NotRun as reason:
        verdict |= {"state": "not run", "reason": str(reason)}
    except OutOfTime:
        verdict |= {"state": "cut short", "reason": f"{seconds:.0f} s were over"}
    except Exception as error:  # whatever breaks here, the other sections still count
        verdict |= {"state": "failed", "reason": last_line(error)}
    return {**_judge(verdict, sheet.cells), "seconds": time.monotonic() - began}


def _judge(verdict: dict[str, Any], cells: Sequence[Record]) -> dict[str, Any]:
    """The verdict after a look at the rows: broken ones, wrong ones."""
    own = [cell for cell in cells if cell["section"] == verdict["name"]]
    for state, bad in (
        ("failed", [cell["what"] for cell in own if "failed" in cell]),
        ("wrong", [cell["what"] for cell in own if cell.get("sound") is False]),
    ):
        if bad:
            return {**verdict, "state": state, "reason": "; ".join(bad)}
    return verdict


def _show(verdict: Record, cells: Sequence[Record]) -> None:
    """A section as Markdown: its heading, what became of it, its rows."""
    reason = f": {verdict['reason']}" if "reason" in verdict else ""
    print(f"### {verdict['title']}\n")
    print(f"{verdict['state']}{reason} ({verdict['seconds']:.0f} s)\n")
    own = [cell for cell in cells if cell["section"] == verdict["name"]]
    if not own:
        return
    names = [name for name in dict.fromkeys(n for cell in own for n in cell) if name not in _HIDDEN]
    print_table(names, [[_told(cell.get(name, "")) for name in names] for cell in own])
    print()


_HIDDEN = ("key", "section")


def _told(value: Any) -> str:
    """A figure as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if value is None:
        return "not a number"
    if not isinstance(value, float):
        return str(value).replace("|", "/")
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.1e}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _read(path: Path) -> dict[str, Any]:
    """Results of an earlier run.

    Raises:
        InputError: They cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return {name: found[name] for name in ("about", "summary", "cells")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no results of gpu_check ({error!r}).") from error


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--markdown", type=Path, help="print the results in this file instead")
    parser.add_argument(
        "--tokens", type=Path, nargs="+", default=[], help="token files to train on"
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="all sections together")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="sections")
    parser.add_argument("--device", default="cuda", help="of torch")
    parser.add_argument("--tiny", action="store_true", help="sizes that try the program only")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
