"""CSV, long: one row for each label, ``file,category,state[,source,score,…]``.

Common other names of the columns are understood. Without a state column every row says present.
Rows whose source is a model are proposals, not labels. A row without a category names an image
that has no label yet; a row without a file names a category.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from clsl_core.files import atomic_text
from clsl_core.formats import sidecar
from clsl_core.formats.conversion import (
    category_names,
    checked_labels,
    kept_rows,
    known_labels,
    named_images,
    own_names,
)
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.tables.cell_states import MinusOne, Signs, Zero
from clsl_core.formats.text.table_source import Table, read_table, table_line
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

__all__ = [
    "MACHINE_SOURCES",
    "STATE",
    "WITHOUT_STATE",
    "completed",
    "field_names",
    "has_columns",
    "read",
    "write",
]

MACHINE_SOURCES = frozenset({"machine", "model", "prediction", "proposal"})
STATE = "state"
WITHOUT_STATE = "without_state"
"""In a table's style: how many cells the rows have that are from before it had states."""
_FULL = ("file", "category", "state", *sidecar.COLUMNS[3:])
_NAMES = {
    "file": ("file", "file_name", "filename", "filepath", "path", "image", "image_path"),
    "category": ("category", "category_name", "label", "label_name", "class", "tag"),
    "state": ("state", "value", "present"),
    **{name: (name,) for name in sidecar.COLUMNS[3:]},
}


_SEVERAL = re.compile(r"\s*[,;|]\s*|\s+")


@dataclass(frozen=True, slots=True)
class _Fields:
    """Which column holds what; None for a column that the file does not have."""

    positions: Mapping[str, int]

    @classmethod
    def of(cls, columns: Iterable[str]) -> _Fields:
        """Find the columns by their names, the first of several."""
        lower = [name.strip().lower() for name in columns]
        positions: dict[str, int] = {}
        for field, names in _NAMES.items():
            found = next((lower.index(name) for name in names if name in lower), None)
            if found is not None:
                positions[field] = found
        return cls(positions)

    def text(self, row: list[str], field: str) -> str:
        """The cell of a field, empty where there is none."""
        index = self.positions.get(field, len(row))
        return row[index] if index < len(row) else ""

    def state(self, row: list[str], signs: Signs) -> LabelState:
        """The state of a row; present where the file has no such column."""
        if "state" not in self.positions:
            return LabelState.PRESENT
        return signs.state(self.text(row, "state"))


def read(
    path: Path,
    *,
    absent: Absent = "unknown",
    progress: Progress = no_progress,
    zero: Zero = "auto",
    minus_one: MinusOne = "absent",
    delimiter: str | None = None,
) -> tuple[AnnotationSet, ValidationReport]:
    """Read a long table.

    Args:
        path: The file.
        absent: What a pair without a row is.
        progress: Told the rows read so far.
        zero: What the state ``0`` means.
        minus_one: What the state ``-1`` means.
        delimiter: One character; found from the header row when None.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    table = read_table(path, findings, progress, delimiter=delimiter)
    fields = _checked_fields(table, findings)
    signs = Signs.of((fields.text(row, "state") for _, row in table.rows), zero, minus_one)
    signs.tell((fields.text(row, "state") for _, row in table.rows), findings)
    _tell_of_several(table, fields, findings)
    builder = SetBuilder("csv-long", findings)
    for line, row in table.rows:
        if len(row) > len(table.columns):
            message = f"{len(row)} cells; the header row has {len(table.columns)}; check the quotes"
            findings.error("ragged-row", f"line {line}", message)
        else:
            _read_row(line, row, fields, signs, builder, findings)
    header = {"table": {**table.style, **signs.to_json()}}
    return builder.finish(header, absent, path)


def field_names(columns: Iterable[str]) -> list[str]:
    """What each column holds, as this module calls it; others by their own name."""
    names = [name.strip() for name in columns]
    for field, index in _Fields.of(names).positions.items():
        names[index] = field
    return names


def completed(row: list[str], style: JsonObject) -> list[str]:
    """A row with a cell for each column; of a table that had no states it says present."""
    full = [*row, *[""] * (len(style["columns"]) - len(row))]
    if WITHOUT_STATE in style and len(row) <= style[WITHOUT_STATE]:
        full[field_names(style["columns"]).index(STATE)] = LabelState.PRESENT.word
    return full


def has_columns(columns: Iterable[str]) -> bool:
    """Whether a header row names the files and categories of a long table."""
    return {"file", "category"} <= _Fields.of(columns).positions.keys()


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the rows as they were, and behind them one row for each label that is new.

    What the columns of the source cannot say is told beside the file (see ``sidecar``); a set of
    another format gets all columns.

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
    native = annotation_set.format == "csv-long"
    images = own_names(annotation_set) if native else named_images(annotation_set)
    style = annotation_set.header.get("table") if native else None
    if not isinstance(style, dict):
        style = {"columns": list(_FULL), "delimiter": ",", "line_end": "\n"}
    if native:
        names = {item.source_id: str(item.source_id) for item in annotation_set.categories}
    else:
        names = category_names(annotation_set)
    labels = new if native else known_labels(annotation_set, new)
    written = [
        replace(label, image_id=images[image], category_id=names[category])
        for (image, category), label in labels.items()
    ]
    rows = kept_rows(annotation_set) if native else []
    if WITHOUT_STATE in style:
        rows = [completed(row, style) for row in rows]
    fields = _Fields.of(style["columns"])
    unsaid = _unsaid(rows, written, fields, Signs.of_header(style))
    lines = [*rows, *(_row(label, fields, len(style["columns"])) for label in unsaid)]
    bare = _bare_rows(lines, images.values(), names.values(), fields, len(style["columns"]))
    sidecar.prepare(output)
    with atomic_text(output) as stream:
        for line in (style["columns"], *lines, *bare):
            stream.write(table_line(line, style["delimiter"], style["line_end"]))
    complete = all(name in fields.positions for name in _FULL)
    told = () if complete else [x for x in written if native or x.source != "import"]
    says_absent = STATE in fields.positions
    sidecar.write(annotation_set, told, output, summary, says_absent=says_absent)


def _checked_fields(table: Table, findings: Findings) -> _Fields:
    fields = _Fields.of(table.columns)
    for field in ("file", "category"):
        if field not in fields.positions:
            message = (
                f"no column for the {field}: found {', '.join(table.columns[:10])!a:.200}, "
                f"expected one called {', '.join(_NAMES[field])}"
            )
            findings.refuse("missing-column", "line 1", message)
    return fields


def _tell_of_several(table: Table, fields: _Fields, findings: Findings) -> None:
    """Say when a cell seems to name several categories, since it is read as one."""
    cells = {fields.text(row, "category").strip(): line for line, row in table.rows}
    known = Counter(part for cell in cells for part in set(_SEVERAL.split(cell)))
    for cell, line in cells.items():
        parts = _SEVERAL.split(cell)
        if len(parts) > 1 and all(part and known[part] > 1 for part in parts):
            message = (
                f"{cell[:80]!a} is read as one category, but looks like {len(parts)}; a table of "
                "this kind has one category in each row: split such cells"
            )
            findings.warn("several-labels", f"line {line}", message)
            return


def _read_row(
    line: int,
    row: list[str],
    fields: _Fields,
    signs: Signs,
    builder: SetBuilder,
    findings: Findings,
) -> None:
    where = f"line {line}"
    image = category = None
    file_name, name = fields.text(row, "file"), fields.text(row, "category")
    if name.strip():
        category = builder.category(where, name, record={"name": name, "rows": []})
    if file_name.strip() or not name.strip():
        image = builder.image(where, file_name, {"file_name": file_name, "rows": []})
    if image is not None:
        builder.images[image].record["rows"].append([line, row])
    elif category is not None:
        builder.categories[category].record["rows"].append([line, row])
    if image is None or category is None:
        return
    try:
        state = fields.state(row, signs)
    except ValueError as error:
        findings.error("bad-state", where, str(error))
        return
    if state is LabelState.UNKNOWN:
        return
    label = _label(row, fields, LabelRecord(image, category, state), where, findings)
    if label.source in MACHINE_SOURCES:
        builder.proposals.append(label)
    else:
        builder.label(where, label)


def _label(
    row: list[str], fields: _Fields, bare: LabelRecord, where: str, findings: Findings
) -> LabelRecord:
    """The label with the provenance of its row."""
    text, score = fields.text(row, "score").strip(), None
    if text:
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            findings.warn("bad-score", where, f"the score {text[:40]!a} is no number; left out")
            score = None
    return replace(
        bare,
        source=fields.text(row, "source").strip().lower() or bare.source,
        model_run=fields.text(row, "model_run") or None,
        score=score,
        annotator=fields.text(row, "annotator") or None,
        decided_at=fields.text(row, "decided_at") or None,
    )


def _unsaid(
    rows: Iterable[list[str]], labels: Iterable[LabelRecord], fields: _Fields, signs: Signs
) -> list[LabelRecord]:
    """The labels that no row states and that the columns can state."""
    said: dict[tuple[SourceId, SourceId], list[str]] = {}
    for row in rows:
        if fields.text(row, "source").strip().lower() not in MACHINE_SOURCES:
            said[fields.text(row, "file"), fields.text(row, "category")] = row
    unsaid = []
    for label in labels:
        stated = said.get((label.image_id, label.category_id))
        can_say = label.state is LabelState.PRESENT or "state" in fields.positions
        same = stated is not None and fields.state(stated, signs) is label.state
        if can_say and not (same and _same_origin(stated or [], fields, label)):
            unsaid.append(label)
    return unsaid


def _same_origin(row: list[str], fields: _Fields, label: LabelRecord) -> bool:
    cells = _row(label, fields, len(row))
    return all(
        fields.text(row, name).strip() == fields.text(cells, name)
        or (name == "source" and label.source == "import" and not fields.text(row, name))
        for name in sidecar.COLUMNS[3:]
    )


def _row(label: LabelRecord, fields: _Fields, width: int) -> list[str]:
    cells = {**sidecar.row_of(label), "file": str(label.image_id)}
    row = [""] * width
    for field, index in fields.positions.items():
        if index < width:
            row[index] = cells[field]
    return row


def _bare_rows(
    rows: Iterable[list[str]],
    images: Iterable[str],
    categories: Iterable[str],
    fields: _Fields,
    width: int,
) -> Iterable[list[str]]:
    """A row for each image and category that no other row names."""
    for field, names in (("file", images), ("category", categories)):
        named = {fields.text(row, field) for row in rows}
        for name in names:
            if name not in named:
                row = [""] * width
                row[fields.positions[field]] = name
                yield row
