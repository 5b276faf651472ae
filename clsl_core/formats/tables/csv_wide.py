"""CSV, wide: one row for each image, one column for each category.

The first column is the path of the image. A cell is ``1`` (present), ``-1`` (absent), ``0`` or
empty (unknown). ``0`` means absent where the file has no ``-1``, or where that was declared; the
report says which; ``-1`` can be declared to mean uncertain, which is unknown. The columns
``split``, ``width`` and ``height`` are no categories, nor are those that were declared to be none
or hold mostly something else (``Female``, ``68``): they are kept and give no label.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
    own_names,
)
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.tables.cell_states import ZEROS, MinusOne, Signs, Zero, is_state
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

__all__ = ["PICTURES", "RESERVED", "label_columns", "read", "write"]

RESERVED = ("split", "width", "height")
_CELLS = "cells"
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def read(
    path: Path,
    *,
    absent: Absent = "unknown",
    progress: Progress = no_progress,
    zero: Zero = "auto",
    minus_one: MinusOne = "absent",
    not_labels: Sequence[str] = (),
    delimiter: str | None = None,
) -> tuple[AnnotationSet, ValidationReport]:
    """Read a wide table.

    Args:
        path: The file.
        absent: What an unknown cell is.
        progress: Told the rows read so far.
        zero: What ``0`` means.
        minus_one: What ``-1`` means.
        not_labels: The names of columns that are no categories.
        delimiter: One character; found from the header row when None.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    table = read_table(path, findings, progress, delimiter=delimiter)
    builder = SetBuilder("csv-wide", findings)
    columns = _categories(table, _other_columns(table, not_labels, findings), builder, findings)
    signs = Signs.of(_cells(table, columns), zero, minus_one)
    signs.tell(_cells(table, columns), findings)
    for line, row in table.rows:
        _read_row(f"line {line}", row, table, columns, signs, builder, findings)
    header = {"table": {**table.style, **signs.to_json()}}
    return builder.finish(header, absent, path)


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
    native = annotation_set.format == "csv-wide"
    images = own_names(annotation_set) if native else named_images(annotation_set)
    style = annotation_set.header.get("table") if native else None
    if not isinstance(style, dict):
        style = {"columns": ["file_name"], "delimiter": ",", "line_end": "\n"}
    columns, names = _columns(annotation_set, list(style["columns"]), native)
    labels = new if native else known_labels(annotation_set, new)
    header = [*style["columns"], *names]
    signs = Signs.of_header(style)
    rows = _rows(annotation_set, images, columns, labels, signs, len(header))
    sidecar.prepare(output)
    with atomic_text(output) as stream:
        end = (style["delimiter"], style["line_end"])
        stream.write(header_line(header, *end))
        for row in rows:
            stream.write(table_line(row, *end))
    told = [x for pair, x in labels.items() if pair in new or x.source != "import"]
    renamed = _with_written_ids(told, images, header, columns)
    sidecar.write(annotation_set, renamed, output, summary, says_absent=True)


def _categories(
    table: Table, others: Collection[int], builder: SetBuilder, findings: Findings
) -> dict[int, SourceId]:
    """The category of each column that has one."""
    line = "line 1"
    first = table.columns[0]
    if first.lower().endswith(PICTURES):
        message = f"the first row begins with {first!a:.100}; a header row with names was expected"
        findings.refuse("no-header-row", line, message)
    categories: dict[int, SourceId] = {}
    seen: dict[str, int] = {}
    for index, name in enumerate(table.columns[1:], start=1):
        if name.lower() in RESERVED or index in others:
            continue
        where = f"{line}, column {index + 1}"
        if name in seen:
            message = f"the column {name!a:.100} is also column {seen[name] + 1}; rename one"
            findings.error("duplicate-category-name", where, message)
        elif (category := builder.category(where, name)) is not None:
            categories[index] = category
        seen.setdefault(name, index)
    return categories


def _cells(table: Table, columns: Iterable[int]) -> Iterator[str]:
    columns = list(columns)
    for _, cells in table.rows:
        yield from (cells[i] for i in columns if i < len(cells))


def _other_columns(table: Table, declared: Sequence[str], findings: Findings) -> set[int]:
    """The columns that are no categories: those declared, and those that hold mostly no states."""
    names = table.columns
    for name in declared:
        if name not in names[1:]:
            message = f"there is no column {name!a:.100} that could be no label"
            findings.error(
                "no-such-column", "line 1", f"{message}; found {', '.join(names)!a:.200}"
            )
    left_out = {i for i, name in enumerate(names) if name in declared}
    open_ = [i for i in label_columns(names) if i not in left_out]
    odd = {i: odd_cell for i in open_ if (odd_cell := _mostly_odd([r for _, r in table.rows], i))}
    if len(odd) == len(open_):  # then it is no table of this kind: each cell is told
        return left_out
    for index, cell in odd.items():
        message = (
            f"{names[index]!a:.100} holds other things than 1, 0, -1 (such as {cell!a:.40}): the "
            "column is kept, and gives no labels"
        )
        findings.warn("column-left-out", f"line 1, column {index + 1}", message)
    return left_out | odd.keys()


def label_columns(names: Sequence[str]) -> list[int]:
    """The places of the columns that may be categories."""
    return [i for i, name in enumerate(names) if i and name.strip().lower() not in RESERVED]


def _mostly_odd(rows: Iterable[Sequence[str]], column: int) -> str | None:
    """An example of what a column holds most of, where that is no state; None where it is."""
    cells = [row[column] for row in rows if column < len(row) and row[column].strip()]
    odd = [cell for cell in cells if not is_state(cell)]
    return odd[0] if len(odd) > 1 and 2 * len(odd) > len(cells) else None


def _read_row(
    where: str,
    row: list[str],
    table: Table,
    columns: Mapping[int, SourceId],
    signs: Signs,
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
            state = signs.state(row[index])
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
    own = {category.source_id for category in content.categories}
    others = [name for name in known if name not in own]
    names = category_names(content, (header[0].strip(), *RESERVED, *others))
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
    signs: Signs,
    width: int,
) -> list[list[str]]:
    """All rows without the header, with the labels in their cells."""
    rows: dict[SourceId, list[str]] = {}
    for image in content.images:
        kept = image.record.get(_CELLS) if content.format == "csv-wide" else None
        row = list(kept) if isinstance(kept, list) else [names[image.source_id]]
        rows[image.source_id] = row + [""] * (width - len(row))
    negative = signs.absent_cell(row[i] for row in rows.values() for i in columns.values())
    for (image_id, category), label in labels.items():
        index = columns[category]
        if signs.state(rows[image_id][index]) is not label.state:
            present = label.state is LabelState.PRESENT
            rows[image_id][index] = "1" if present else negative
    if signs.zero is LabelState.UNKNOWN:
        _keep_zeros_unknown(rows.values(), columns.values(), signs)
    return list(rows.values())


def _keep_zeros_unknown(rows: Iterable[list[str]], columns: Iterable[int], signs: Signs) -> None:
    """Empty the zeros when no ``-1`` is left that would tell that they mean unknown."""
    rows, columns = list(rows), list(columns)
    minus_one: MinusOne = "absent" if signs.minus_one is LabelState.ABSENT else "unknown"
    found = Signs.of((row[i] for row in rows for i in columns), "auto", minus_one)
    if found.zero is LabelState.UNKNOWN:
        return
    for row in rows:
        for index in columns:
            if row[index].strip() in ZEROS:
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
