"""Verdicts from a CSV file: ``file_name,category,verdict``."""

from __future__ import annotations

import csv
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.orm import Session

from app.services.people.annotators import enter
from app.services.reviewing.verdicts import MAX_DECISIONS, Answer, decide
from app.services.workspace import Workspace
from clsl_core.errors import FormatError, NotFoundError
from clsl_core.formats.text.table_source import plain_cell
from clsl_core.types import LabelSource, LabelState, ValidationReport
from db.models import Label
from db.queries import datasets, images, stored


@dataclass(frozen=True, slots=True)
class DecideReport:
    """What a file of verdicts changed."""

    saved: int = 0
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)


def decide_file(
    workspace: Workspace, dataset_name: str, file: Path, annotator_name: str
) -> DecideReport:
    """Bring in a CSV of verdicts: ``file_name,category,verdict``. Twice is the same as once.

    All rows are checked before the first one is stored.

    Raises:
        NotFoundError: There is no such file or dataset.
        FormatError: Rows are wrong; the report lists each with its line.
    """
    grant = enter(workspace, dataset_name, annotator_name)
    rows = _read_verdicts(file)
    with workspace.database.read() as session:
        wanted, report = _resolve(session, grant.dataset_id, rows)
    if not report.ok:
        first = report.errors[0]
        raise FormatError(
            f"{file.name}: {len(report.errors)} rows cannot be used and nothing was stored; "
            f"the first: {first.where}: {first.message}",
            report,
        )
    counts: Counter[str] = Counter()
    for start in range(0, len(wanted), MAX_DECISIONS):
        batch = wanted[start : start + MAX_DECISIONS]
        with workspace.database.read() as session:
            fresh = [answer for answer in batch if not _already(session, answer)]
        counts["unchanged"] += len(batch) - len(fresh)
        for receipt in decide(workspace, grant, fresh):
            counts[receipt.status] += 1
    return DecideReport(saved=counts["saved"], unchanged=counts["unchanged"])


def _read_verdicts(file: Path) -> list[tuple[int, dict[str, str]]]:
    if not file.is_file():
        raise NotFoundError(f"there is no file {str(file)!r}")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = set(reader.fieldnames or ())
            missing = {"file_name", "category", "verdict"} - columns
            if missing:
                raise FormatError(
                    f"{file.name}: the first line must name the columns file_name, category and "
                    f"verdict; missing: {', '.join(sorted(missing))}"
                )
            return [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FormatError(f"{file.name} is not a CSV file in UTF-8: {error}") from error


def _resolve(
    session: Session, dataset_id: int, rows: Sequence[tuple[int, dict[str, str]]]
) -> tuple[list[Answer], ValidationReport]:
    """Turn names into ids; a later row about the same pair replaces an earlier one."""
    report = ValidationReport()
    by_name = images.ids_by_name(session, dataset_id)
    categories = datasets.category_ids_by_name(session, dataset_id)
    answers: dict[tuple[int, int], Answer] = {}
    for line, row in rows:
        where = f"line {line}"
        image_id = _only(by_name, row["file_name"], "image", where, report)
        category_id = _only(categories, row["category"], "category", where, report)
        verdict = row["verdict"].strip().lower()
        if verdict not in ("present", "absent"):
            message = f"the verdict is {row['verdict']!r}, expected present or absent"
            report.error("verdict", where, message)
        elif image_id is not None and category_id is not None:
            pair = (image_id, category_id)
            answers[pair] = Answer(uuid.uuid4().hex, *pair, verdict)
    return list(answers.values()), report


def _only(
    known: dict[str, list[int]], name: str, what: str, where: str, report: ValidationReport
) -> int | None:
    # A table that was written here guards names which a spreadsheet would run as formulas.
    ids = known.get(name) or known.get(plain_cell(name), [])
    if len(ids) == 1:
        return ids[0]
    found = "no" if not ids else f"{len(ids)} different"
    report.error(f"{what}-name", where, f"the dataset has {found} {what} called {name!r}")
    return None


def _already(session: Session, answer: Answer) -> bool:
    label = stored.find(session, Label, (answer.image_id, answer.category_id))
    if label is None:
        return False
    same = label.state is LabelState.from_word(answer.verdict)
    return same and (label.source is LabelSource.HUMAN)
