"""The preview of an import as a file: JSON for programs, CSV for spreadsheets, lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from app.services.importing.plan import ImportPlan
from app.services.importing.preview import ImportPreview
from app.services.runtime.legible import legible
from clsl_core.formats.text.table_source import table_line
from clsl_core.types import JsonObject

__all__ = ["report_csv", "report_json", "report_lines"]

CHANGES_SHOWN = 20
COLUMNS = ("part", "severity", "kind", "count", "where", "message")


def report_json(preview: ImportPreview) -> JsonObject:
    """Everything but the pictures, and every problem that is told one by one."""
    problems = [
        {
            "severity": problem.severity.value,
            "code": problem.code,
            "where": legible(problem.where),
            "message": legible(problem.message, 1_000),
        }
        for problem in preview.report.problems
    ]
    groups = [
        {**asdict(group), "severity": group.severity.value, "examples": list(group.examples)}
        for group in preview.groups
    ]
    return {
        "ok": preview.ok,
        "refusal": None if preview.refusal is None else legible(preview.refusal, 1_000),
        "format": preview.format,
        "reason": preview.reason,
        "counts": preview.counts,
        "problem_groups": groups,
        "problems": problems,
        "categories": [asdict(share) for share in preview.categories],
        "image_root": preview.image_root,
        "image_root_before": preview.moves_from,
        "missing_pictures": preview.missing,
        "names": [legible(line, 1_000) for line in preview.near],
        "missing_examples": [list(example) for example in preview.missing_examples],
        "plan": None if preview.plan is None else preview.plan.to_json(),
    }


def report_csv(preview: ImportPreview) -> str:
    """The same as one table; cells that a spreadsheet would run are made safe."""
    return "".join(table_line(row) for row in (COLUMNS, *_rows(preview)))


def _rows(preview: ImportPreview) -> Iterator[tuple[str, ...]]:
    yield ("format", "", preview.format, "", "", preview.reason)
    if preview.refusal is not None:
        yield ("refused", "error", "", "", "", legible(preview.refusal, 1_000))
    for what, count in preview.counts.items():
        yield ("count", "", what, str(count), "", "")
    for group in preview.groups:
        yield ("problems", group.severity.value, group.code, str(group.count), "", "")
    for problem in preview.report.problems:
        said = (legible(problem.where), legible(problem.message, 1_000))
        yield ("problem", problem.severity.value, problem.code, "1", *said)
    yield from _picture_rows(preview)
    for share in preview.categories:
        yield ("category", "", "present", str(share.present), share.category, "")
        yield ("category", "", "absent", str(share.absent), share.category, "")
    if preview.plan is not None:
        yield from _plan_rows(preview.plan)
    if preview.moves_from is not None:
        yield ("plan", "warning", "image folder", "", preview.moves_from, str(preview.image_root))


def _picture_rows(preview: ImportPreview) -> Iterator[tuple[str, ...]]:
    for reason, count in preview.missing.items():
        yield ("pictures", "warning", reason, str(count), "", "")
    for line in preview.near:
        yield ("pictures", "warning", "names", "", "", legible(line, 1_000))
    for file_name, message in preview.missing_examples:
        yield ("picture", "warning", "", "1", file_name, message)


def _plan_rows(plan: ImportPlan) -> Iterator[tuple[str, ...]]:
    for what, counts in (
        ("added", plan.added),
        ("updated", plan.updated),
        ("unchanged", plan.unchanged),
    ):
        for table, count in counts.items():
            yield ("plan", "", f"{what} {table}", str(count), plan.dataset, "")
    for table, count in plan.removed.items():
        if count:
            yield ("plan", "", f"took back {table}", str(count), plan.dataset, "")
    for one in plan.questions:
        readings = f"ids: {one.by_ids}; names: {one.by_names}"
        yield ("question", "error", one.kind, "1", one.source_id, readings)
    for kind, changes in (("word", plan.words), ("picture", plan.pictures)):
        for change in changes:
            counted = f"{change.before} becomes {change.now}: {change.decided} given by people"
            yield ("changed", "warning", kind, str(change.labels), change.now, counted)
    for label in plan.states:
        said = f"{label.category}: {label.before} becomes {label.now}"
        yield ("changed", "", "state", "1", label.image, said)
    yield ("plan", "", "kept labels", str(plan.kept), plan.dataset, "")
    for kept in plan.kept_examples:
        message = f"{kept.category}: the file says {kept.in_file}, decided was {kept.decided}"
        yield ("kept", "", "", "1", kept.image, message)


def report_lines(preview: ImportPreview) -> list[str]:
    """The same in a few lines."""
    lines = [f"format {preview.format}: {preview.reason}"]
    if preview.counts:
        counts = ", ".join(f"{count:,} {what}" for what, count in preview.counts.items())
        lines.append(f"read: {counts}")
    for group in preview.groups:
        lines.append(f"{group.severity.value}: {group.code}: {group.count:,}")
        lines += [f"  {where}: {message}" for where, message in group.examples]
    for reason, count in preview.missing.items():
        lines.append(f"pictures that cannot be used: {count:,} {reason}")
    lines += [legible(line, 1_000) for line in preview.near]
    lines += [f"  {file_name}: {message}" for file_name, message in preview.missing_examples]
    if preview.plan is not None:
        lines += plan_lines(preview.plan)
    if preview.moves_from is not None:
        lines.append(
            f"  look for all pictures in {preview.image_root}, not in {preview.moves_from}"
        )
    if preview.refusal is not None:
        lines.append(f"it would be refused: {legible(preview.refusal, 500)}")
    return lines


def plan_lines(plan: ImportPlan) -> list[str]:
    """What an import would do, in a few lines."""
    name = json.dumps(plan.dataset, ensure_ascii=False)
    if plan.questions:
        return _question_lines(plan)
    if not plan.changes:
        lines = [f"plan: nothing would change, {name} already holds everything in this file"]
    else:
        into = f"make the dataset {name}" if plan.new else f"change the dataset {name}"
        lines = [f"plan: {into}"]
        for what, counts in (
            ("add", plan.added),
            ("update", plan.updated),
            ("take back", plan.removed),
        ):
            told = ", ".join(f"{count:,} {table}" for table, count in counts.items() if count)
            if told:
                lines.append(f"  {what} {told}")
    lines += _change_lines(plan)
    if plan.kept:
        lines.append(f"  keep {plan.kept:,} labels as people decided, though the file differs")
        lines += [
            f"    {kept.image}, {kept.category}: the file says {kept.in_file}, "
            f"decided was {kept.decided}"
            for kept in plan.kept_examples[:5]
        ]
    return lines


def _question_lines(plan: ImportPlan) -> list[str]:
    """Both readings of each id that must be decided first."""
    lines = ["plan: ids and names tell different things; say which counts, nothing is done before"]
    for one in plan.questions:
        lines += [
            f"  {one.kind} {one.source_id}: was {one.before}, is {one.now}",
            f"    --match ids: {one.by_ids}",
            f"    --match names: {one.by_names}",
        ]
    return lines


def _change_lines(plan: ImportPlan) -> list[str]:
    """What would change its word, its picture or its state."""
    lines = []
    for what, changes in (("word", plan.words), ("picture", plan.pictures)):
        for one in changes[:CHANGES_SHOWN]:
            counted = f"{one.labels:,} labels, {one.decided:,} given by people"
            lines.append(f"  another {what}: {one.before} becomes {one.now} ({counted})")
        if more := len(changes) - CHANGES_SHOWN:
            lines += [f"  and {more:,} more with another {what}"] if more > 0 else []
    for label in plan.states[:CHANGES_SHOWN]:
        change = f"{label.before} becomes {label.now}"
        lines.append(f"  another state: {label.image}, {label.category}: {change}")
    if len(plan.states) > CHANGES_SHOWN:
        lines.append(f"  and {len(plan.states) - CHANGES_SHOWN:,} more with another state")
    return lines
