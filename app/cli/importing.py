"""What ``clsl import`` and ``clsl validate`` share: declarations about a file, and the preview."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import out, print_json
from app.services.importing import preview
from app.services.importing.identity import Match
from app.services.importing.ingest import ImportRequest
from app.services.importing.report import report_csv, report_json, report_lines
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace, opened
from clsl_core.errors import InputError
from clsl_core.files import atomic_text
from clsl_core.formats.read_options import ReadOptions


class Absent(StrEnum):
    """What a missing annotation means."""

    UNKNOWN = "unknown"
    NEGATIVE = "negative"


class Difficult(StrEnum):
    """What a category of only difficult objects is."""

    IGNORE = "ignore"
    PRESENT = "present"
    ABSENT = "absent"


class Zero(StrEnum):
    """What 0 means in a table."""

    AUTO = "auto"
    ABSENT = "absent"
    UNKNOWN = "unknown"


AbsentOption = Annotated[
    Absent, typer.Option(help="What a missing annotation means: nothing, or not there.")
]
ExhaustiveOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exhaustive",
        help="A category annotated in every image: there, missing means absent. May be repeated.",
        show_default=False,
    ),
]
DifficultOption = Annotated[
    Difficult, typer.Option(help="VOC: what a category of only difficult objects is.")
]
ZeroOption = Annotated[
    Zero, typer.Option(help="Tables: what 0 means; auto: absent, unless the file has a -1.")
]

MatchOption = Annotated[
    Match,
    typer.Option(
        help="In a known dataset: what counts where ids and names disagree. auto: names where "
        "they tell more, else it stops and shows both readings."
    ),
]

Bar = Callable[[], AbstractContextManager[Callable[[int, int, str], None]]]


def options_of(
    absent: Absent, exhaustive: list[str] | None, difficult: Difficult, zero: Zero
) -> ReadOptions:
    """The declarations as readers take them."""
    return ReadOptions(absent.value, tuple(exhaustive or ()), difficult.value, zero.value)


def dry_run(
    settings: Settings, request: ImportRequest, bar: Bar, *, report: Path | None, as_json: bool
) -> None:
    """Print what an import would find and do; nothing is written but the report.

    Raises:
        typer.Exit: The import would be refused, or would ask.
    """
    with _unchanged(settings) as workspace, bar() as progress:
        found = preview.look(workspace, request, progress)
    if report is not None:
        _write(found, report)
    if as_json:
        print_json(report_json(found))
    else:
        for line in report_lines(found):
            out.print(line)
        out.print("nothing was written")
    if not found.ok or found.questions:
        raise typer.Exit(4 if not found.ok else 5)


@contextmanager
def _unchanged(settings: Settings) -> Iterator[Workspace]:
    """The workspace; where there is none yet, an empty one that is thrown away."""
    if settings.database_url is not None or (settings.data_dir / "clsl.db").exists():
        with opened(settings) as workspace:
            yield workspace
        return
    with tempfile.TemporaryDirectory(prefix="clsl-") as scratch:
        elsewhere = settings.model_copy(update={"data_dir": Path(scratch)})
        with opened(elsewhere) as workspace:
            yield workspace


def _write(found: preview.ImportPreview, report: Path) -> None:
    suffix = report.suffix.lower()
    if suffix not in (".json", ".csv"):
        raise InputError(f"the report {report.name!r} must end in .json or .csv: name it so")
    with atomic_text(report) as stream:
        if suffix == ".csv":
            stream.write(report_csv(found))
        else:
            json.dump(report_json(found), stream, indent=2)
