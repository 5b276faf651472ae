"""What the command line says, and how: text and tables, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from clsl_core.errors import ClslError, ConflictError, InputError, JobCancelled, NotFoundError

if TYPE_CHECKING:
    from app.services.runtime.settings import Settings
    from app.services.workspace import Workspace
    from clsl_core.types import ValidationReport

EXIT_CODES: list[tuple[type[ClslError], int]] = [
    (JobCancelled, 130),
    (NotFoundError, 3),
    (InputError, 4),
    (ConflictError, 5),
    (ClslError, 1),
]

out = Console(highlight=False, markup=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def exit_code(error: ClslError) -> int:
    """What a program ends with that could not do what it was asked."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows below their headings."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    out.print(table)


def print_json(value: Any) -> None:
    """A value for another program."""
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr, where that is a terminal; gives the callback that moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def update(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total or None, description=what)

        yield update


@contextmanager
def opened(settings: Settings) -> Iterator[Workspace]:
    """The workspace of a command, closed at its end; what it is made of is imported only now."""
    from app.services import workspace

    with workspace.opened(settings) as found:
        yield found


def print_report(report: ValidationReport) -> None:
    """What was read of a file and what is wrong with it, on stderr."""
    from app.services.importing import ingest

    counts = ", ".join(f"{count} {what}" for what, count in report.counts.items())
    err.print(f"read: {counts or 'nothing'}")
    for line in ingest.problem_lines(report):
        err.print(line)
