"""Command line of ``benchmarks.literature``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from app.cli.console import exit_code
from benchmarks.literature import DATASETS, Request, run_benchmark
from benchmarks.runs import end_with_the_cell, say
from clsl_core.backbones.spec import AUTO
from clsl_core.errors import ClslError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    default = Request("", Path(), Path())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.literature",
        description="Collections of the literature by the protocol of partial labels.",
    )
    parser.add_argument("dataset", choices=list(DATASETS))
    parser.add_argument("--root", type=Path, required=True, help="folder of the original files")
    parser.add_argument("--work", type=Path, required=True, help="folder for features and scores")
    parser.add_argument("--backbone", default=AUTO, help="auto, builtin or an open_clip model")
    parser.add_argument("--pretrained", help="hub tag, or path of a checkpoint")
    parser.add_argument("--descriptions", type=Path, help="CSV or JSON of category,description")
    parser.add_argument("--known", nargs="+", type=float, default=list(default.known))
    parser.add_argument("--no-single", dest="single", action="store_false")
    parser.add_argument("--seeds", type=int, default=default.seeds)
    parser.add_argument("--methods", nargs="+", default=list(default.methods))
    parser.add_argument("--json", dest="output", type=Path, help="file for the results")
    parser.add_argument("--resume", action="store_true", help="go on with an earlier results file")
    parser.add_argument("--limit", type=int, default=0, help="a trial on the first pictures")
    parser.add_argument("--timeout", type=float, default=default.timeout)
    given = vars(parser.parse_args(arguments))
    given["known"], given["methods"] = tuple(given["known"]), tuple(given["methods"])
    try:
        sheet = run_benchmark(Request(**given))
    except ClslError as error:
        say(f"literature: {error}")
        return exit_code(error)
    return 1 if any("failed" in cell for cell in sheet.cells) else 0


if __name__ == "__main__":
    end_with_the_cell()
    sys.exit(main())
