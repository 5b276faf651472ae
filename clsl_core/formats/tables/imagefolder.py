"""Hugging Face imagefolder: ``metadata.jsonl`` or ``metadata.csv`` beside the pictures.

Each row has a ``file_name`` and a column with a list of names (in CSV as JSON or as a Python
list) or one name. The rest of the row is kept. What is absent, and where labels came from, is
told in the sidecar.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clsl_core.files import atomic_text
from clsl_core.formats import sidecar
from clsl_core.formats.findings import Findings, report_of
from clsl_core.formats.nus_wide.nus_wide_csv import python_names
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.tables.listed_labels import names_to_write
from clsl_core.formats.text.folder_source import is_folder
from clsl_core.formats.text.json_output import write_json_lines
from clsl_core.formats.text.json_source import kind_of, read_json_lines
from clsl_core.formats.text.table_source import header_line, read_table, table_line
from clsl_core.types import (
    AnnotationSet,
    ImageRecord,
    JsonObject,
    LabelRecord,
    LabelState,
    Progress,
    ValidationReport,
    no_progress,
)

__all__ = ["LABEL_COLUMNS", "read", "validate", "write"]

LABEL_COLUMNS = ("labels", "label", "categories", "classes", "tags")
_METADATA = ("metadata.jsonl", "metadata.csv")


def read(
    path: Path,
    *,
    absent: Absent = "unknown",
    progress: Progress = no_progress,
    column: str | None = None,
) -> tuple[AnnotationSet, ValidationReport]:
    """Read the metadata of an imagefolder.

    Args:
        path: The metadata file, or the folder that holds it.
        absent: What a category is that the list of an image does not name.
        progress: Told what was read so far.
        column: The column with the names; the first of ``LABEL_COLUMNS`` when None.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    file = _metadata_file(path, findings)
    header: JsonObject = {}
    if file.suffix.lower() == ".csv":
        table = read_table(file, findings, progress)
        header["table"] = table.style
        rows: list[tuple[int, Any]] = []
        for line, cells in table.rows:
            if len(cells) == len(table.columns):
                rows.append((line, dict(zip(table.columns, cells, strict=True))))
            else:
                message = f"{len(cells)} cells; the header row has {len(table.columns)}"
                findings.error("ragged-row", f"line {line}", message + "; check the quotes")
    else:
        rows = read_json_lines(file, findings, progress)
    chosen = column or _label_column(rows, findings)
    header["column"] = chosen
    builder = SetBuilder("imagefolder", findings)
    for line, row in rows:
        _read_row(f"line {line}", row, chosen, builder, findings)
    return builder.finish(header, absent, file, open_vocabulary=True)


def validate(path: Path) -> ValidationReport:
    """Report every problem of the metadata; bad content never raises."""
    return report_of(read, path)


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the metadata, as CSV when ``output`` ends in ``.csv``, as JSON Lines otherwise.

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: Replaced only when everything was written.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, two images share a file name,
            or ``output`` cannot be written.
    """
    lists = names_to_write(annotation_set, new_labels, "imagefolder")
    header = annotation_set.header if lists.native else {}
    column = str(header.get("column") or LABEL_COLUMNS[0])
    as_csv = output.suffix.lower() == ".csv"
    rows = []
    for image in annotation_set.images:
        present = lists.present(image)
        row = _row(image) if lists.native else _fresh_row(image)
        if not lists.native or present != image.record.get("names"):
            row[column] = json.dumps(present, ensure_ascii=False) if as_csv else present
        rows.append(row)
    sidecar.prepare(output)
    if as_csv:
        _write_table(rows, header.get("table"), output)
    else:
        write_json_lines(rows, output)
    sidecar.write(annotation_set, lists.told, output, summary)


def _metadata_file(path: Path, findings: Findings) -> Path:
    if not is_folder(path):
        return path
    for name in _METADATA:
        if (path / name).is_file():
            return path / name
    message = f"{path} holds neither {' nor '.join(_METADATA)}"
    return findings.refuse("missing-file", "file", message)


def _label_column(rows: list[tuple[int, Any]], findings: Findings) -> str:
    """The column with the names; where there is none the images have no labels yet."""
    keys = {key for _, row in rows if isinstance(row, dict) for key in row}
    for name in LABEL_COLUMNS:
        if name in keys:
            return name
    found = ", ".join(sorted(keys)[:10])
    message = f"no column of labels; found {found!a:.200}, looked for {', '.join(LABEL_COLUMNS)}"
    findings.warn("no-label-column", "file", message)
    return LABEL_COLUMNS[0]


def _read_row(
    where: str, row: object, column: str, builder: SetBuilder, findings: Findings
) -> None:
    if not isinstance(row, dict):
        findings.error("wrong-type", where, f"found {kind_of(row)}, expected an object")
        return
    name = row.get("file_name")
    if isinstance(name, str) and name in builder.images:
        message = f"the image {name!a:.200} has a row already; keep one of the two"
        findings.error("duplicate-image", where, message)
        return
    names = _names(row.get(column))
    if names is None:
        message = (
            f"{column} is {kind_of(row[column])}; a list of names was expected (numbers need "
            "their names: write them out)"
        )
        findings.error("bad-list", where, message)
        return
    record: JsonObject = {"file_name": name, "row": row, "names": names}
    if isinstance(split := row.get("split"), str):
        record["split"] = split
    image = builder.image(where, name, record)
    for text in names:
        category = builder.category(where, text)
        if image is not None and category is not None:
            builder.labels[image, category] = LabelRecord(image, category, LabelState.PRESENT)


def _names(value: object) -> list[str] | None:
    """The names of a cell: a list, a list in a text, one name, or nothing; None if it is wrong."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return python_names(value) if value.lstrip().startswith("[") else [value]
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return list(value)
    return None


def _row(image: ImageRecord) -> JsonObject:
    kept = image.record.get("row")
    return dict(kept) if isinstance(kept, dict) else {"file_name": image.file_name}


def _fresh_row(image: ImageRecord) -> JsonObject:
    row: JsonObject = {"file_name": image.file_name}
    if isinstance(split := image.record.get("split"), str):
        row["split"] = split
    return row


def _write_table(rows: list[JsonObject], style: object, output: Path) -> None:
    """The rows as CSV; columns in the order in which they first occur."""
    columns = list(style["columns"]) if isinstance(style, dict) else []
    known = {column.strip() for column in columns}
    columns += [
        key for key in dict.fromkeys(key for row in rows for key in row) if key not in known
    ]
    end = (style["delimiter"], style["line_end"]) if isinstance(style, dict) else (",", "\n")
    with atomic_text(output) as stream:
        stream.write(header_line(columns or ["file_name"], *end))
        for row in rows:
            cells = (row.get(column.strip(), "") for column in columns)
            texts = (x if isinstance(x, str) else json.dumps(x, ensure_ascii=False) for x in cells)
            stream.write(table_line(texts, *end))
