"""How well does each method recover labels, and label new images?

Every method gets the same features and the same known labels:

    python -m benchmarks.recovery --train TRAIN.npz --test TEST.npz --regime mixed \
        --known 0.1 0.5 --seeds 3 --json OUT.json
    python -m benchmarks.recovery --train FILE.npz --folds 5 --regime positives --json OUT.json

``test`` measures images that were not learned from, ``recovery`` the unknown entries of those
that were. Results are written after each cell; ``--resume`` goes on where a killed run ended.
Beside OUT.json lie OUT.svg (curves) and OUT/ (the drawn labels and all scores).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.baselines import METHODS, make_method
from benchmarks.cell import Cell
from benchmarks.curves import Curve, Panel, draw
from benchmarks.problem import Inputs, Problem
from benchmarks.regimes import Regime
from benchmarks.runs import Runner, Sheet, end_with_the_cell, run_child, say
from benchmarks.table import mean_and_sd, percent, print_table
from clsl_core.errors import ClslError

__all__ = ["add_options", "main", "measure", "summarise"]

# What one of the others is, or what is made for verdicts, of which people see no random sample.
_LEFT_OUT = {"logistic", "knn-weak", "ours:no-instant"}
DEFAULT_METHODS = tuple(name for name in METHODS if name not in _LEFT_OUT)
MEASURES = ("map", "map_area", "map_11", "cf1", "of1", "of1_best")


def main(arguments: Sequence[str] | None = None, runner: Runner = run_child) -> int:
    """Run from the command line; 0 when every cell was measured."""
    options = _parse(arguments)
    inputs = Inputs(
        options.train,
        options.test,
        options.test_share,
        options.folds,
        {"auto": None, "yes": True, "no": False}[options.text],
    )
    try:
        sheet = measure(
            inputs,
            cells(options.methods, options.regime, options.known, options.seeds),
            output=options.json,
            resume=options.resume,
            min_positives=options.min_positives,
            timeout=options.timeout,
            runner=runner,
        )
    except ClslError as error:
        say(f"recovery: {error}")
        return 1
    return 1 if any("failed" in cell for cell in sheet.cells) else 0


def cells(
    methods: Sequence[str], regimes: Sequence[str], known: Sequence[float], seeds: int
) -> list[Cell]:
    """Every cell of a table, the methods of one draw together.

    Raises:
        NotFoundError: A method that there is not.
    """
    for name in methods:
        make_method(name)
    return [
        Cell(method, Regime(regime), share, seed)
        for regime in regimes
        for share in (known if regime != Regime.SINGLE else known[:1])
        for seed in range(seeds)
        for method in methods
    ]


def measure(
    inputs: Inputs,
    wanted: Sequence[Cell],
    *,
    output: Path | None,
    resume: bool,
    min_positives: int,
    timeout: float,
    runner: Runner = run_child,
) -> Sheet:
    """Measure the cells that are not done yet, print the table, draw the curves.

    Raises:
        InputError: The inputs cannot be used, or the output belongs to others.
    """
    problem = Problem.load(inputs)
    described = {**problem.describe(), "min_positives": min_positives}
    sheet = Sheet.open(output, described, resume=resume)
    folder = None if output is None else output.with_suffix("")
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
            "inputs": inputs.to_json(),
            "min_positives": min_positives,
            "folder": str(folder.resolve()) if folder else None,
        }
        record.update(runner("benchmarks.cell", request, timeout))
        _comment(record)
        sheet.add(record, summarise([*sheet.cells, record]))
    summary = summarise(sheet.cells)
    sheet.write(summary)
    print(f"{_sentence(problem, min_positives)}\n")
    report(summary)
    if output is not None:
        draw(output.with_suffix(".svg"), _panels(summary))
    return sheet


def summarise(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each method and draw size: mean and spread over seeds of every measure."""
    rows: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        share = 0.0 if record["regime"] == Regime.SINGLE else record["known"]
        rows.setdefault((record["regime"], share, record["method"]), []).append(record)
    return [_row(key, group) for key, group in rows.items()]


def report(summary: Sequence[Mapping[str, Any]]) -> None:
    """Print one table for each draw size."""
    for regime, known in dict.fromkeys((row["regime"], row["known"]) for row in summary):
        title = regime if regime == Regime.SINGLE else f"{regime}, {known:.0%} known"
        print(f"{title}\n")
        rows = [row for row in summary if (row["regime"], row["known"]) == (regime, known)]
        print_table(
            ["method", "test mAP", "interp.", "11 points", "CF1", "OF1", "recovery mAP",
             "interp.", "OF1", "best OF1", "seconds", "peak MB"],
            [_cells(row) for row in rows],
        )  # fmt: skip
        print()


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every program on token files has."""
    parser.add_argument("--train", type=Path, required=True, help="token file or embedded folder")
    parser.add_argument(
        "--regime",
        nargs="+",
        choices=[regime.value for regime in Regime],
        default=[Regime.MIXED.value],
        help="which labels are known",
    )
    parser.add_argument("--seeds", type=int, default=3, help="draws of known labels: 0, 1, …")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--resume", action="store_true", help="go on with an earlier results file")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds a cell may take")
    parser.add_argument(
        "--text",
        choices=["auto", "yes", "no"],
        default="auto",
        help="whether the category vectors are text of the tokens' space (auto: by their width)",
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recovery", description=(__doc__ or "").splitlines()[0]
    )
    add_options(parser)
    parser.add_argument("--test", type=Path, help="other images to test on")
    parser.add_argument("--known", nargs="+", type=float, default=[0.1, 0.5], help="shares known")
    parser.add_argument("--methods", nargs="+", default=list(DEFAULT_METHODS), metavar="METHOD")
    parser.add_argument("--folds", type=int, default=5, help="cross-validation without --test")
    parser.add_argument("--test-share", type=float, help="test once on this share of the images")
    parser.add_argument(
        "--min-positives", type=int, default=5, help="leave categories with fewer out of means"
    )
    return parser.parse_args(arguments)


def _row(key: tuple[Any, ...], group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    regime, known, method = key
    done = [record for record in group if "test" in record]
    row = {"regime": regime, "known": known, "method": method, "seeds": len(done)}
    if not done:
        last = group[-1]
        return {**row, "without": last.get("not_applicable") or last.get("failed")}
    for part in ("test", "recovery"):
        for name in (*MEASURES, "categories"):
            row[f"{part}_{name}"] = mean_and_sd([record[part][name] for record in done])
    row["seconds"] = mean_and_sd([record["seconds"] for record in done])
    row["peak_bytes"] = max(record["peak_bytes"] for record in done)
    return row


def _cells(row: Mapping[str, Any]) -> list[str]:
    if "without" in row:
        return [row["method"], str(row["without"])]
    columns = ("test_map", "test_map_area", "test_map_11", "test_cf1", "test_of1", "recovery_map",
               "recovery_map_area", "recovery_of1", "recovery_of1_best")  # fmt: skip
    return [
        row["method"],
        *(percent(row[name]) for name in columns),
        f"{row['seconds'][0]:.1f}",
        f"{row['peak_bytes'] / 1e6:.0f}",
    ]


def _sentence(problem: Problem, least: int) -> str:
    tested = "the same in folds" if problem.test is None else f"{len(problem.test.features)}"
    if problem.test is None and problem.inputs.test_share is not None:
        tested = f"{problem.inputs.test_share:.0%} of them"
    rare, count = problem.left_out(least), len(problem.train.categories.names)
    return (
        f"{len(problem.train.features)} images, tested on {tested}; {count} categories, "
        f"{count - len(rare)} with at least {least} positives in the test means (not "
        f"{', '.join(rare) or 'one left out'}); per cent, mean ± sd over seeds"
    )


def _comment(record: Mapping[str, Any]) -> None:
    if "test" in record:
        found = f"test mAP {record['test']['map'] or float('nan'):.3f}"
        say(f"    {found}, recovery {record['recovery']['map'] or float('nan'):.3f}, "
            f"{record['seconds']:.1f} s")  # fmt: skip
    else:
        say(f"    {record.get('not_applicable') or record.get('failed')}")


def _panels(summary: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """Test and recovery mAP against the known share, for each regime."""
    done = [row for row in summary if "without" not in row]
    for regime in dict.fromkeys(row["regime"] for row in done):
        for part in ("test", "recovery"):
            curves = []
            for method in dict.fromkeys(row["method"] for row in done):
                rows = [row for row in done if (row["regime"], row["method"]) == (regime, method)]
                points = sorted((row["known"], row[f"{part}_map"][0]) for row in rows)
                curves.append(Curve(method, points))
            yield Panel(f"{regime}: {part} mAP", "share known", "mAP", curves)


if __name__ == "__main__":
    end_with_the_cell()
    sys.exit(main())
