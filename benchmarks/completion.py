"""How many verdicts until the missing labels are found?

An oracle answers the queue in its order, the model is trained again on the way, and the verdicts
are counted until 50, 80, 90 and 95 % of the missing positives have been found:

    python -m benchmarks.completion --train FILE.npz --regime positives --known 0.5 \
        --every 200 --trainings 20 --seeds 3 --json OUT.json

A retraining follows every ``--every`` verdicts; where that would take more than ``--trainings``,
rounds grow so that these span the whole queue. Results are written after each cell; ``--resume``
goes on where a killed run ended. Beside OUT.json lie OUT.svg (the curves) and OUT/ (the draws).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.completion_cell import SHARES
from benchmarks.curves import Curve, Panel, draw
from benchmarks.recovery import add_options, cells
from benchmarks.runs import Runner, Sheet, end_with_the_cell, run_child, say
from benchmarks.table import mean_and_sd, percent, print_table
from benchmarks.tokens import load
from clsl_core.errors import ClslError, InputError

__all__ = ["main", "summarise"]

DEFAULT_METHODS = (
    "random",
    "frequency",
    "zero-shot-global",
    "zero-shot-patch",
    "knn",
    "knn-weak",
    "logistic",
    "logistic-weak",
    "ours",
    "ours:no-instant",
)


def main(arguments: Sequence[str] | None = None, runner: Runner = run_child) -> int:
    """Run from the command line; 0 when every cell was measured."""
    options = _parse(arguments)
    try:
        sheet = _measure(options, runner)
    except ClslError as error:
        say(f"completion: {error}")
        return 1
    return 1 if any("failed" in cell for cell in sheet.cells) else 0


def summarise(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each method and draw size: mean and spread over seeds."""
    rows: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        rows.setdefault((record["regime"], record["known"], record["method"]), []).append(record)
    return [_row(key, group) for key, group in rows.items()]


def _measure(options: argparse.Namespace, runner: Runner) -> Sheet:
    if options.every < 1 or options.trainings < 1:
        raise InputError("--every and --trainings must be at least 1.")
    text = {"auto": None, "yes": True, "no": False}[options.text]
    collection = load(options.train, text)
    described = {
        "train": {"sha256": collection.origin, "images": len(collection.features)},
        "text": collection.categories.text,
        "every": options.every,
        "trainings": options.trainings,
    }
    sheet = Sheet.open(options.json, described, resume=options.resume)
    wanted = cells(options.methods, options.regime, [options.known], options.seeds)
    for number, cell in enumerate(wanted, 1):
        if sheet.has(cell.key):
            continue
        say(f"[{number}/{len(wanted)}] {cell.key}")
        record = {
            "key": cell.key,
            "method": cell.method,
            "regime": cell.regime.value,
            "known": cell.known,
            "seed": cell.seed,
        }
        request = {
            **record,
            "train": str(options.train.resolve()),
            "text": text,
            "every": options.every,
            "trainings": options.trainings,
            "folder": str(options.json.with_suffix("").resolve()) if options.json else None,
        }
        record.update(runner("benchmarks.completion_cell", request, options.timeout))
        if "verdicts" not in record:
            say(f"    {record.get('not_applicable') or record.get('failed')}")
        sheet.add(record, summarise([*sheet.cells, record]))
    summary = summarise(sheet.cells)
    sheet.write(summary)
    _report(summary)
    if options.json is not None:
        draw(options.json.with_suffix(".svg"), _panels(sheet.cells))
    return sheet


def _row(key: tuple[Any, ...], group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    regime, known, method = key
    done = [record for record in group if "verdicts" in record]
    row = {"regime": regime, "known": known, "method": method, "seeds": len(done)}
    if not done:
        return {**row, "without": group[-1].get("not_applicable") or group[-1].get("failed")}
    for share in SHARES:
        counts = [record["verdicts"][f"{share:g}"] for record in done]
        row[f"verdicts_{share:g}"] = mean_and_sd(counts)
        pairs = [
            count / record["pairs"] for count, record in zip(counts, done, strict=True) if count
        ]
        row[f"shown_{share:g}"] = mean_and_sd(pairs)
    half = [record["verdicts"]["0.5"] / max(np.ceil(0.5 * record["missing"]), 1) for record in done]
    row["verdicts_per_positive_to_half"] = mean_and_sd(half)
    row["missing"] = mean_and_sd([record["missing"] for record in done])
    row["pairs"] = mean_and_sd([record["pairs"] for record in done])
    row["trainings"] = mean_and_sd([record["trainings"] for record in done])
    row["seconds"] = mean_and_sd([record["seconds"] for record in done])
    row["peak_bytes"] = max(record["peak_bytes"] for record in done)
    return row


def _report(summary: Sequence[Mapping[str, Any]]) -> None:
    """Print one table for each regime."""
    for regime, known in dict.fromkeys((row["regime"], row["known"]) for row in summary):
        rows = [row for row in summary if (row["regime"], row["known"]) == (regime, known)]
        counted = next((row for row in rows if "missing" in row), None)
        if counted is not None:
            missing, pairs = counted["missing"][0], counted["pairs"][0]
            start = regime if regime == "single" else f"{regime}, {known:.0%} known at the start"
            print(f"{start}: {missing:.0f} positives missing among {pairs:.0f} unknown pairs\n")
        head = [f"{share:.0%} found after" for share in SHARES]
        shown = [f"shown for {share:.0%}" for share in SHARES]
        print_table(
            ["method", *head, *shown, "verdicts per positive, first half", "trainings", "seconds"],
            [_cells(row) for row in rows],
        )
        print()


def _cells(row: Mapping[str, Any]) -> list[str]:
    if "without" in row:
        return [row["method"], str(row["without"])]
    mean, sd = row["verdicts_per_positive_to_half"]
    return [
        row["method"],
        *(_count(row[f"verdicts_{share:g}"]) for share in SHARES),
        *(percent(row[f"shown_{share:g}"]) for share in SHARES),
        f"{mean:.2f}" if np.isnan(sd) else f"{mean:.2f} ± {sd:.2f}",
        f"{row['trainings'][0]:.0f}",
        f"{row['seconds'][0]:.0f}",
    ]


def _count(figure: Sequence[float]) -> str:
    mean, sd = figure
    return f"{mean:.0f}" if np.isnan(sd) else f"{mean:.0f} ± {sd:.0f}"


def _panels(records: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """Found against shown, the mean of the seeds."""
    done = [record for record in records if "points" in record]
    grid = np.concatenate([np.linspace(0, 0.1, 41)[:-1], np.linspace(0.1, 1, 61)])
    for regime in dict.fromkeys(record["regime"] for record in done):
        curves = []
        for method in dict.fromkeys(record["method"] for record in done):
            own = [r for r in done if (r["regime"], r["method"]) == (regime, method)]
            lines = [np.interp(grid, *np.array(record["points"]).T) for record in own]
            ends = np.mean([record["points"][-1][0] for record in own]) if own else 0.0
            points = [
                (float(x), float(y))
                for x, y in zip(grid, np.mean(lines, 0), strict=True)
                if x <= ends
            ]
            curves.append(Curve(method, points))
        yield Panel(
            f"{regime}: completion", "share of unknown pairs shown", "missing found", curves
        )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.completion", description=(__doc__ or "").splitlines()[0]
    )
    add_options(parser)
    parser.set_defaults(regime=["positives"])
    parser.add_argument("--known", type=float, default=0.5, help="share known at the start")
    parser.add_argument("--methods", nargs="+", default=list(DEFAULT_METHODS), metavar="METHOD")
    parser.add_argument(
        "--every", type=int, default=200, help="verdicts between trainings, at first"
    )
    parser.add_argument("--trainings", type=int, default=20, help="at most this many trainings")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    end_with_the_cell()
    sys.exit(main())
