"""A table that maps a dataset's categories to another vocabulary, applied and undone as one.

Each row names a category and what it is to be called. Several rows with one name, or the name of
a category that there is, merge; a row without a name leaves its category as it is. All rows speak
of the names before any of them is applied.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from app.services.access import rights
from app.services.access.rights import Right
from app.services.categories.changes import (
    ChangeView,
    MergePreview,
    Policy,
    Rule,
    Shown,
    add_merge,
    add_rename,
    checked_name,
    forecast,
    new_batch,
    view,
    writing,
)
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import ClslError, InputError
from clsl_core.formats.text.table_source import plain_cell
from db.models import Category

__all__ = ["Plan", "Step", "apply", "plan", "read"]

MOST_BYTES = 10_000_000
SHOWN_PROBLEMS = 20
COLUMNS = ("from", "to")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table with its line; ``to`` is empty where nothing is to change."""

    line: int
    before: str
    to: str


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one category that stays.

    Attributes:
        stays: Its name before.
        name: Its name after.
        merge: What is merged into it, with the forecasts; None for a rename alone.
    """

    stays: str
    name: str
    merge: MergePreview | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a table would do.

    Attributes:
        left: How many categories stay as they are.
    """

    steps: tuple[Step, ...]
    left: int


@dataclass(frozen=True)
class _Step:
    """A step in the caller's transaction."""

    stays: Category
    name: str
    sources: tuple[Category, ...]


def read(path: Path) -> str:
    """The text of a table.

    Raises:
        InputError: It cannot be read, is too large or no text.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path.name} is larger than {MOST_BYTES:,} bytes: no table of names")
        return decoded(path.read_bytes(), path.name)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from error


def decoded(raw: bytes, name: str) -> str:
    """The text of a table's bytes.

    Raises:
        InputError: They are no UTF-8, or too many.
    """
    if len(raw) > MOST_BYTES:
        raise InputError(f"{name} is larger than {MOST_BYTES:,} bytes: no table of names")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is no UTF-8 text: save it as CSV in UTF-8") from error


def plan(workspace: Workspace, dataset_name: str, table: str) -> Plan:
    """What a table would do; nothing is changed.

    Raises:
        NotFoundError: There is no such dataset.
        InputError: The table cannot be used; the message names the lines.
    """
    with workspace.database.read() as session:
        known = Shown.read(session, find_dataset(session, dataset_name).id)
        steps = _steps(known, _rows(table))
        touched = sum(1 + len(step.sources) for step in steps)
        return Plan(
            tuple(
                Step(
                    step.stays.name,
                    step.name,
                    forecast(session, step.sources, step.stays) if step.sources else None,
                )
                for step in steps
            ),
            len(known.rows) - touched,
        )


def apply(
    workspace: Workspace,
    dataset_name: str,
    table: str,
    policy: Policy,
    rule: Rule = Rule.TARGET,
) -> list[ChangeView]:
    """Do what a table says, in one transaction: all of it, or nothing.

    Args:
        workspace: Where.
        dataset_name: Of which dataset.
        table: Text of the table.
        policy: What merged categories are to one another.
        rule: What contradictions become under Policy.SAME.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset.
        InputError: The table cannot be used, or changes nothing; the message names the lines.
    """
    rights.require(Right.MANAGE)
    rows = _rows(table)
    with writing(workspace, dataset_name) as session:
        known = Shown.read(session, find_dataset(session, dataset_name).id)
        steps = _steps(known, rows)
        if not steps:
            raise InputError("the table changes nothing: no row gives a category another name")
        return _apply(session, known, steps, policy, rule)


def _apply(
    session: Session, known: Shown, steps: Sequence[_Step], policy: Policy, rule: Rule
) -> list[ChangeView]:
    batch, made = new_batch(), []
    for step in steps:
        if step.sources:
            made.append(add_merge(session, step.sources, step.stays, policy, rule, batch))
    for step in steps:
        if step.name != step.stays.name:
            shown = Shown.read(session, known.dataset_id)
            made.append(add_rename(session, shown, step.stays, step.name, batch))
    return [view(change) for change in made]


def _rows(table: str) -> list[Row]:
    """The rows of a table that is separated by commas or semicolons.

    Raises:
        InputError: It has not the columns ``from`` and ``to``, or a row has others.
    """
    first = table.split("\n", 1)[0].strip()
    delimiter = ";" if ";" in first else ","
    reader = csv.reader(io.StringIO(table, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    problems: list[str] = []
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        if header != list(COLUMNS):
            raise InputError(
                f"line 1 is {first[:60]!a}; the columns from and to were expected: begin the "
                "table with from,to"
            )
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(COLUMNS):
                problems.append(f"line {reader.line_num} has {len(cells)} cells, expected 2")
                continue
            rows.append(Row(reader.line_num, cells[0], cells[1].strip()))
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} cannot be read: {error}") from error
    _refuse(problems)
    return rows


def _steps(known: Shown, rows: Sequence[Row]) -> list[_Step]:
    """What rows do, in the order of the table.

    Raises:
        InputError: With all that is wrong, line by line.
    """
    problems: list[str] = []
    found: dict[int, tuple[Row, Category]] = {}
    for row in rows:
        category = _category(known, row, problems)
        if category is None:
            continue
        if category.id in found:
            earlier = found[category.id][0].line
            problems.append(f"line {row.line}: {row.before!a:.80} is in line {earlier} already")
            continue
        found[category.id] = (row, category)
    groups: dict[str, list[tuple[Row, Category]]] = {}
    for row, category in found.values():
        name = _name(row, problems)
        if name:
            groups.setdefault(name, []).append((row, category))
    steps = []
    for name, members in groups.items():
        step = _step(known, name, members, found, problems)
        if step is not None and (step.sources or step.name != step.stays.name):
            steps.append(step)
    _refuse(problems)
    return steps


def _category(known: Shown, row: Row, problems: list[str]) -> Category | None:
    """The category that a row names: as it stands, or without what a spreadsheet needs."""
    for name in (row.before, row.before.strip(), plain_cell(row.before)):
        try:
            return known.find(name)
        except InputError as error:
            problems.append(f"line {row.line}: {error}")
            return None
        except ClslError:
            continue
    problems.append(f"line {row.line}: there is no category called {row.before!a:.80}")
    return None


def _name(row: Row, problems: list[str]) -> str:
    name = plain_cell(row.to)
    if not name:
        return ""
    try:
        return checked_name(name)
    except InputError as error:
        problems.append(f"line {row.line}: {error}")
        return ""


def _step(
    known: Shown,
    name: str,
    members: Sequence[tuple[Row, Category]],
    found: dict[int, tuple[Row, Category]],
    problems: list[str],
) -> _Step | None:
    """What becomes of the categories that are to have one name."""
    there = known.named(name)
    if len(there) > 1:
        line = members[0][0].line
        problems.append(f"line {line}: {len(there)} categories are called {name!a:.80}")
        return None
    if not there:
        return _Step(members[0][1], name, tuple(category for _, category in members[1:]))
    target = there[0]
    further = found.get(target.id)
    if further is not None and plain_cell(further[0].to) not in ("", name):
        row = members[0][0]
        kind = "a loop" if _returns(known, found, row.before, target) else "a chain"
        problems.append(
            f"line {row.line} maps to {name!a:.80}, which line {further[0].line} maps on to "
            f"{further[0].to!a:.80}: {kind}. Map each category to where it is to end"
        )
        return None
    return _Step(target, name, tuple(c for _, c in members if c.id != target.id))


def _returns(
    known: Shown, found: dict[int, tuple[Row, Category]], start: str, target: Category
) -> bool:
    """Whether following the rows from a category comes back to a place."""
    seen: set[int] = set()
    here: Category | None = target
    while here is not None:
        if here.id in seen or here.name == start:
            return True
        seen.add(here.id)
        row = found.get(here.id)
        following = known.named(plain_cell(row[0].to)) if row else []
        here = following[0] if following and following[0].id != here.id else None
    return False


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        told = [*problems[:SHOWN_PROBLEMS], *([f"… and {more} more"] if more > 0 else [])]
        raise InputError("\n".join(["the table cannot be used, and nothing was changed:", *told]))
