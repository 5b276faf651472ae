"""Hugging Face imagefolder: ``metadata.jsonl`` or ``metadata.csv`` beside the pictures.

Each row has a ``file_name`` and a column with a list of names (in CSV as JSON or as a Python
list) or one name, or ``objects`` with boxes and their names. The rest of the row is kept. What is
absent, and where labels came from, is told in the sidecar. A folder for each split may have its
own metadata; one file is written for all of them, with the folders in its file names. A plain
folder of pictures is an imagefolder without metadata: it has no labels, or those of its folders.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from clsl_core.files import atomic_text
from clsl_core.formats import sidecar
from clsl_core.formats.conversion import coco_box
from clsl_core.formats.findings import Findings
from clsl_core.formats.nus_wide.nus_wide_csv import python_names
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.splits import split_of_folder
from clsl_core.formats.tables.csv_wide import PICTURES
from clsl_core.formats.tables.listed_labels import names_to_write
from clsl_core.formats.text.folder_source import is_folder
from clsl_core.formats.text.json_output import write_json_lines
from clsl_core.formats.text.json_source import kind_of, read_json_lines
from clsl_core.formats.text.table_source import header_line, read_table, table_line
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    ImageRecord,
    JsonObject,
    LabelRecord,
    LabelState,
    Progress,
    SourceId,
    ValidationReport,
    no_progress,
)

__all__ = ["LABEL_COLUMNS", "METADATA", "Folders", "read", "write"]

LABEL_COLUMNS = ("labels", "label", "categories", "classes", "tags")
METADATA = ("metadata.jsonl", "metadata.csv")
OBJECTS = "objects"
"""The column of collections with boxes: lists of the same length under different keys."""

Folders = Literal["ignore", "labels"]
"""What the folder that a picture lies in says: nothing, or the name of its category."""

_OF_OBJECTS = ("categories", "category", "labels", "label", "names")


def read(
    path: Path,
    *,
    absent: Absent = "unknown",
    progress: Progress = no_progress,
    column: str | None = None,
    folders: Folders = "ignore",
) -> tuple[AnnotationSet, ValidationReport]:
    """Read the metadata of an imagefolder.

    Args:
        path: The metadata file, or the folder that holds it.
        absent: What a category is that the list of an image does not name.
        progress: Told what was read so far.
        column: The column with the names; the first of ``LABEL_COLUMNS`` when None.
        folders: What the folder of a picture says, where there is no metadata.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    files = _metadata_files(path)
    header: JsonObject = {}
    rows: list[tuple[str, str, Any]] = []
    if not files:
        rows = _plain_rows(path, folders, findings)
    for file in files:
        folder = file.parent.relative_to(path).as_posix() if is_folder(path) else "."
        prefix = "" if folder == "." else f"{folder}/"
        place = f"{prefix}{file.name} " if prefix else ""
        for line, row in _rows_of(file, place, header, findings, progress):
            rows.append((f"{place}line {line}", prefix, row))
    chosen = column or (
        _label_column([row for _, _, row in rows], findings) if files else LABEL_COLUMNS[0]
    )
    header["column"] = chosen
    builder = SetBuilder("imagefolder", findings)
    for where, prefix, row in rows:
        _read_row(where, prefix, row, chosen, builder, findings)
    source = files[0] if files else path / METADATA[0]
    return builder.finish(header, absent, source, open_vocabulary=True)


def _rows_of(
    file: Path, place: str, header: JsonObject, findings: Findings, progress: Progress
) -> list[tuple[int, Any]]:
    """Line and content of each row of a file of metadata."""
    if file.suffix.lower() != ".csv":
        return read_json_lines(file, findings, progress)
    table = read_table(file, findings, progress, place=place)
    header.setdefault("table", table.style)
    rows: list[tuple[int, Any]] = []
    for line, cells in table.rows:
        if len(cells) == len(table.columns):
            rows.append((line, dict(zip(table.columns, cells, strict=True))))
        else:
            message = f"{len(cells)} cells; the header row has {len(table.columns)}"
            findings.error("ragged-row", f"{place}line {line}", message + "; check the quotes")
    return rows


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
    present = {image.source_id: lists.present(image) for image in annotation_set.images}
    rows = [_row(image) if lists.native else _fresh_row(image) for image in annotation_set.images]
    names_of = {
        image.source_id: image.record.get("names") if lists.native else None
        for image in annotation_set.images
    }
    if column == OBJECTS and present != names_of:
        column = LABEL_COLUMNS[0]  # boxes cannot say what has none
    as_csv = output.suffix.lower() == ".csv"
    anew = present != names_of or "table" in header
    fresh = not lists.native or column != header.get("column")
    as_lists = anew and (fresh or _need_lists(rows, present.values(), column))
    for (key, names), row in zip(present.items(), rows, strict=True):
        changed = names != names_of[key]
        if as_csv and changed:
            row[column] = json.dumps(names, ensure_ascii=False)
        elif not as_csv and as_lists and (names or changed or row.get(column) is not None):
            row[column] = names
        elif not as_csv and changed:
            row[column] = names[0] if names else None
    sidecar.prepare(output)
    if as_csv:
        _write_table(rows, header.get("table"), output)
    else:
        write_json_lines(rows, output)
    sidecar.write(annotation_set, lists.told, output, summary)


def _metadata_files(path: Path) -> list[Path]:
    """The metadata: the file itself, that of a folder, or one for each folder below it."""
    if not is_folder(path):
        return [path]
    for name in METADATA:
        if (path / name).is_file():
            return [path / name]
    return [file for name in METADATA for file in sorted(path.rglob(name)) if file.is_file()]


def _plain_rows(
    path: Path, folders: Folders, findings: Findings
) -> list[tuple[str, str, JsonObject]]:
    """A row for each picture of a folder without metadata: a collection without labels yet."""
    names = sorted(
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.suffix.lower() in PICTURES and file.is_file()
    )
    if not names:
        message = f"{path} holds neither {' nor '.join(METADATA)}, and no picture"
        findings.refuse("missing-file", "file", message)
    rows: list[tuple[str, str, JsonObject]] = []
    for name in names:
        row: JsonObject = {"file_name": name}
        parts = name.split("/")[1 if split_of_folder(name) else 0 : -1]
        if folders == "labels" and parts:
            row[LABEL_COLUMNS[0]] = [parts[-1]]
        rows.append((name, "", row))
    return rows


def _need_lists(rows: Iterable[JsonObject], present: Iterable[Sequence[str]], column: str) -> bool:
    """Whether a column must hold lists: then it does in every row, as Arrow has one type for it."""
    return any(len(names) > 1 for names in present) or any(
        isinstance(row.get(column), list) for row in rows
    )


def _label_column(rows: Iterable[Any], findings: Findings) -> str:
    """The column with the names; where there is none the images have no labels yet."""
    keys = {key for row in rows if isinstance(row, dict) for key in row}
    for name in (*LABEL_COLUMNS, OBJECTS):
        if name in keys:
            return name
    found = ", ".join(sorted(keys)[:10])
    message = f"no column of labels; found {found!a:.200}, looked for {', '.join(LABEL_COLUMNS)}"
    findings.warn("no-label-column", "file", message)
    return LABEL_COLUMNS[0]


def _read_row(
    where: str,
    prefix: str,
    row: object,
    column: str,
    builder: SetBuilder,
    findings: Findings,
) -> None:
    if not isinstance(row, dict):
        findings.error("wrong-type", where, f"found {kind_of(row)}, expected an object")
        return
    stated = row.get("file_name")
    name = f"{prefix}{stated}" if isinstance(stated, str) and stated else stated
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
    record: JsonObject = {"file_name": name, "row": row, "names": list(dict.fromkeys(names))}
    split = row.get("split")
    if not isinstance(split, str) and isinstance(name, str):
        split = split_of_folder(name)
    if isinstance(split, str):
        record["split"] = split
    image = builder.image(where, name, record)
    if image is None:
        return
    for text in names:
        category = builder.category(where, text)
        if category is not None:
            builder.labels[image, category] = LabelRecord(image, category, LabelState.PRESENT)
    _read_boxes(image, row.get(OBJECTS), builder)


def _read_boxes(image: SourceId, objects: object, builder: SetBuilder) -> None:
    """The boxes of a column ``objects``, as ``x, y, width, height`` in pixels."""
    names, boxes = _names(objects), objects.get("bbox") if isinstance(objects, dict) else None
    if not names or not isinstance(boxes, list) or len(boxes) != len(names):
        return
    for name, box in zip(names, boxes, strict=True):
        record: JsonObject = {"image": image, "number": len(builder.annotations), "bbox": box}
        if coco_box(record) is not None and name in builder.categories:
            builder.annotations.append(AnnotationRecord(None, image, name, record))


def _names(value: object) -> list[str] | None:
    """The names of a cell: a list, a list in a text, one name, or nothing; None if it is wrong."""
    if isinstance(value, dict):
        value = next((value[key] for key in _OF_OBJECTS if key in value), [])
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return python_names(value) if value.lstrip().startswith("[") else [value]
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return list(value)
    return None


def _row(image: ImageRecord) -> JsonObject:
    kept = image.record.get("row")
    row = dict(kept) if isinstance(kept, dict) else {}
    return {**row, "file_name": image.record.get("file_name", image.file_name)}


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
