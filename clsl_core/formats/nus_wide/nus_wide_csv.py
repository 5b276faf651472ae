"""NUS-WIDE as one table: ``filepath,label,split_name`` with ``label`` a Python list in a string.

The list names what is present and says nothing about the rest; absent categories are told in the
sidecar.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from clsl_core.files import atomic_text
from clsl_core.formats import sidecar
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.tables.listed_labels import names_to_write
from clsl_core.formats.text.table_source import Table, read_table, table_line
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    LabelRecord,
    LabelState,
    Progress,
    ValidationReport,
    no_progress,
)

__all__ = ["COLUMNS", "python_names", "read", "write"]

COLUMNS = ("filepath", "label", "split_name")


def read(
    path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
) -> tuple[AnnotationSet, ValidationReport]:
    """Read the table.

    Args:
        path: The file.
        absent: What a category is that the list of an image does not name.
        progress: Told the rows read so far.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    table = read_table(path, findings, progress)
    places = {name: i for i, name in enumerate(table.columns)}
    lacking = [name for name in COLUMNS[:2] if name not in places]
    if lacking:
        found = ", ".join(table.columns[:10])
        message = f"no column {', '.join(lacking)}; found {found!a:.200}"
        findings.refuse("missing-column", "line 1", message)
    builder = SetBuilder("nus-wide-csv", findings)
    for line, row in table.rows:
        _read_row(f"line {line}", row, table, builder, findings)
    return builder.finish({"table": table.style}, absent, path, open_vocabulary=True)


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the rows; the list of an image changes only when what is present changes.

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: Replaced only when everything was written.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, two images share a file name,
            or ``output`` cannot be written.
    """
    lists = names_to_write(annotation_set, new_labels, "nus-wide-csv")
    style = annotation_set.header.get("table") if lists.native else None
    if not isinstance(style, dict):
        style = {"columns": list(COLUMNS), "delimiter": ",", "line_end": "\n"}
    end = (style["delimiter"], style["line_end"])
    columns = [name.strip() for name in style["columns"]]
    sidecar.prepare(output)
    with atomic_text(output) as stream:
        stream.write(table_line(style["columns"], *end))
        for image in annotation_set.images:
            kept = image.record.get("cells") if lists.native else None
            row = list(kept) if isinstance(kept, list) else []
            row += [""] * (len(columns) - len(row))
            present = lists.present(image)
            if not isinstance(kept, list):
                row[columns.index("filepath")] = image.file_name
                if "split_name" in columns:
                    row[columns.index("split_name")] = str(image.record.get("split") or "")
            if not isinstance(kept, list) or present != image.record.get("names"):
                row[columns.index("label")] = repr(present)
            stream.write(table_line(row, *end))
    sidecar.write(annotation_set, lists.told, output, summary)


def _read_row(
    where: str, row: list[str], table: Table, builder: SetBuilder, findings: Findings
) -> None:
    if len(row) != len(table.columns):
        message = f"{len(row)} cells; the header row has {len(table.columns)}; check the quotes"
        findings.error("ragged-row", where, message)
        return
    cells = dict(zip(table.columns, row, strict=True))
    names = python_names(cells["label"])
    if names is None:
        message = f"label is {cells['label'][:60]!a}; expected a list such as \"['sky', 'sea']\""
        findings.error("bad-list", where, message)
        return
    if cells["filepath"] in builder.images:
        message = f"the image {cells['filepath']!a:.200} has a row already; keep one of the two"
        findings.error("duplicate-image", where, message)
        return
    record: JsonObject = {"file_name": cells["filepath"], "cells": row, "names": names}
    if split := cells.get("split_name", "").strip():
        record["split"] = split
    image = builder.image(where, cells["filepath"], record)
    for name in names:
        category = builder.category(where, name)
        if image is not None and category is not None:
            builder.labels[image, category] = LabelRecord(image, category, LabelState.PRESENT)


def python_names(text: str) -> list[str] | None:
    """The texts of a Python list, or None when it is no such list."""
    try:
        value = ast.literal_eval(text.strip() or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return None
    return value
