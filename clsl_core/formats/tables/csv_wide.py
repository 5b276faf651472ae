"""CSV, wide: one row for each image, one column for each category.

The first column is the path of the image. A cell is ``1`` (present), ``-1`` (absent), ``0`` or
empty (unknown). ``0`` means absent where the file has no ``-1``, or where that was declared; the
report says which. The columns ``split``, ``width`` and ``height`` are no categories.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from clsl_core.files import atomic_text
from clsl_core.formats import sidecar
from clsl_core.formats.conversion import (
    Pair,
    category_names,
    checked_labels,
    known_labels,
    named_images,
)
from clsl_core.formats.findings import Findings, report_of
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.tables.cell_states import Zero, absent_cell, state_of_cell, zero_means
from clsl_core.formats.text.table_source import Table, header_line, read_table, table_line
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    LabelRecord,
    LabelState,
    Progress,
    SourceId,
    ValidationReport,
    no_progress,
)

__all__ = ["RESERVED", "read", "validate", "write"]

RESERVED = ("split", "width", "height")
_CELLS = "cells"
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def read(
    path: Path,
    *,
    absent: Absent = "unknown",
    progress: Progress = no_progress,
    zero: Zero = "auto",
    delimiter: str | None = None,
) -> tuple[AnnotationSet, ValidationReport]:
    """Read a wide table.

    Args:
        path: The file.
        absent: What an unknown cell is.
        progress: Told the rows read so far.
        zero: What ``0`` means.
        delimiter: One character; found from the header row when None.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    table = read_table(path, findings, progress, delimiter=delimiter)
    builder = SetBuilder("csv-wide", findings)
    columns = _categories(table, builder, findings)
    cells = (cells[i] for _, cells in table.rows for i in columns if i < len(cells))
    convention = zero_means(cells, zero)
    _tell_convention(table, columns, convention, findings)
    for line, row in table.rows:
        _read_row(f"line {line}", row, table, columns, convention, builder, findings)
    header = {"table": {**table.style, "zero": convention.word}}
    return builder.finish(header, absent, path)


def validate(path: Path) -> ValidationReport:
    """Report every problem of a wide table; bad content never raises."""
    return report_of(read, path)


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the table; cells whose state did not change stay as they were.

    Where labels came from is told beside the file (see ``sidecar``).

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: Replaced only when everything was written.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, two images share a file name,
            or ``output`` cannot be written.
    """
    new = checked_labels(annotation_set, new_labels)
    images = named_images(annotation_set)
    native = annotation_set.format == "csv-wide"
    style = annotation_set.header.get("table") if native else None
    if not isinstance(style, dict):
        style = {"columns": ["file_name"], "delimiter": ",", "line_end": "\n"}
    columns, names = _columns(annotation_set, list(style["columns"]), native)
    labels = new if native else known_labels(annotation_set, new)
    header = [*style["columns"], *names]
    zero = LabelState.from_word(style.get("zero", "absent"))
    rows = _rows(annotation_set, images, columns, labels, zero, len(header))
    sidecar.prepare(output)
    with atomic_text(output) as stream:
        end = (style["delimiter"], style["line_end"])
        stream.write(header_line(header, *end))
        for row in rows:
            stream.write(table_line(row, *end))
    told = [x for pair, x in labels.items() if pair in new or x.source != "import"]
    renamed = _with_written_ids(told, images, header, columns)
    sidecar.write(annotation_set, renamed, output, summary, says_absent=True)


def _categories(table: Table, builder: SetBuilder, findings: Findings) -> dict[int, SourceId]:
    """The category of each column that has one."""
    line = "line 1"
    first = table.columns[0]
    if first.lower().endswith(_PICTURES):
        message = f"the first row begins with {first!a:.100}; a header row with names was expected"
        findings.refuse("no-header-row", line, message)
    categories: dict[int, SourceId] = {}
    seen: dict[str, int] = {}
    for index, name in enumerate(table.columns[1:], start=1):
        if name.lower() in RESERVED:
            continue
        where = f"{line}, column {index + 1}"
        if name in seen:
            message = f"the column {name!a:.100} is also column {seen[name] + 1}; rename one"
            findings.error("duplicate-category-name", where, message)
        elif (category := builder.category(where, name)) is not None:
            categories[index] = category
        seen.setdefault(name, index)
    return categories


def _tell_convention(
    table: Table, columns: Mapping[int, SourceId], zero: LabelState, findings: Findings
) -> None:
    zeros = any(
        index < len(cells) and cells[index].strip() in ("0", "0.0")
        for _, cells in table.rows
        for index in columns
    )
    if zeros:
        message = f"0 is read as {zero.word}; declare what it means if that is wrong"
        findings.warn("zero-convention", "file", message)


def _read_row(
    where: str,
    row: list[str],
    table: Table,
    columns: Mapping[int, SourceId],
    zero: LabelState,
    builder: SetBuilder,
    findings: Findings,
) -> None:
    if len(row) != len(table.columns):
        message = f"{len(row)} cells; the header row has {len(table.columns)}; check the quotes"
        findings.error("ragged-row", where, message)
        return
    values = {
        name.lower(): cell
        for name, cell in zip(table.columns[1:], row[1:], strict=True)
        if name.lower() in RESERVED
    }
    name = row[0]
    if name in builder.images:
        message = f"the image {name!a:.200} has a row already; keep one of the two"
        findings.error("duplicate-image", where, message)
        return
    record: JsonObject = {"file_name": name, _CELLS: row}
    if split := values.get("split", "").strip():
        record["split"] = split
    sides = (_side(values.get("width")), _side(values.get("height")))
    image = builder.image(where, name, record, size=sides)
    if image is None:
        return
    for index, category in columns.items():
        try:
            state = state_of_cell(row[index], zero)
        except ValueError as error:
            findings.error("bad-state", f"{where}, column {index + 1}", str(error))
            continue
        if state is not LabelState.UNKNOWN:
            builder.labels[image, category] = LabelRecord(image, category, state)


def _side(text: str | None) -> int | None:
    value = (text or "").strip()
    usable = value.isascii() and value.isdigit() and len(value) < 10 and int(value) > 0
    return int(value) if usable else None


def _columns(
    content: AnnotationSet, header: list[str], native: bool
) -> tuple[dict[SourceId, int], list[str]]:
    """The column of each category, and the names of the columns to be added."""
    known = [name.strip() for name in header] if native else []
    columns: dict[SourceId, int] = {}
    added: list[str] = []
    names = category_names(content, (header[0].strip(), *RESERVED))
    for category in content.categories:
        if category.source_id in known:
            columns[category.source_id] = known.index(str(category.source_id))
        else:
            columns[category.source_id] = len(header) + len(added)
            added.append(names[category.source_id])
    return columns, added


def _rows(
    content: AnnotationSet,
    names: Mapping[SourceId, str],
    columns: Mapping[SourceId, int],
    labels: Mapping[Pair, LabelRecord],
    zero: LabelState,
    width: int,
) -> list[list[str]]:
    """All rows without the header, with the labels in their cells."""
    rows: dict[SourceId, list[str]] = {}
    for image in content.images:
        kept = image.record.get(_CELLS) if content.format == "csv-wide" else None
        row = list(kept) if isinstance(kept, list) else [names[image.source_id]]
        rows[image.source_id] = row + [""] * (width - len(row))
    negative = absent_cell((row[i] for row in rows.values() for i in columns.values()), zero)
    for (image_id, category), label in labels.items():
        index = columns[category]
        if state_of_cell(rows[image_id][index], zero) is not label.state:
            present = label.state is LabelState.PRESENT
            rows[image_id][index] = "1" if present else negative
    if zero is LabelState.UNKNOWN:
        _keep_zeros_unknown(rows.values(), columns.values())
    return list(rows.values())


def _keep_zeros_unknown(rows: Iterable[list[str]], columns: Iterable[int]) -> None:
    """Empty the zeros when no ``-1`` is left that would tell that they mean unknown."""
    rows, columns = list(rows), list(columns)
    if zero_means((row[i] for row in rows for i in columns), "auto") is LabelState.UNKNOWN:
        return
    for row in rows:
        for index in columns:
            if row[index].strip() in ("0", "0.0", "-0", "-0.0"):
                row[index] = ""


def _with_written_ids(
    labels: Iterable[LabelRecord],
    images: Mapping[SourceId, str],
    header: list[str],
    columns: Mapping[SourceId, int],
) -> Iterable[LabelRecord]:
    for label in labels:
        name = header[columns[label.category_id]].strip()
        yield replace(label, image_id=images[label.image_id], category_id=name)
