"""Open Images' image-level labels: ``ImageID,Source,LabelName,Confidence``.

People verified with Confidence 1 (present) or 0 (absent); rows whose Source is ``machine`` carry
a score and are proposals, not labels. Two files may lie beside the table:
``class-descriptions.csv``, with anything before it, maps the label names (MIDs) to words;
``<table>-images.csv`` maps the image ids to file names, which are ``<ImageID>.jpg`` otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from clsl_core.files import atomic_text
from clsl_core.formats import sidecar
from clsl_core.formats.conversion import (
    category_names,
    checked_labels,
    image_stems,
    kept_rows,
    known_labels,
)
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.text.table_source import read_table, table_line
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

__all__ = ["COLUMNS", "read", "write"]

COLUMNS = ("ImageID", "Source", "LabelName", "Confidence")
_MACHINE = "machine"
_HUMAN = "verification"
_DESCRIPTIONS = "class-descriptions"


def read(
    path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
) -> tuple[AnnotationSet, ValidationReport]:
    """Read a table of image-level labels.

    Args:
        path: The table.
        absent: What a pair without a row is.
        progress: Told the rows read so far.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    table = read_table(path, findings, progress, delimiter=",")
    places = {name: i for i, name in enumerate(table.columns)}
    lacking = [name for name in COLUMNS if name not in places and name != "Source"]
    if lacking:
        found = ", ".join(table.columns[:10])
        message = f"no column {', '.join(lacking)}; found {found!a:.200}"
        findings.refuse("missing-column", "line 1", message)
    names, files = _descriptions(path, findings), _image_list(path, findings)
    builder = SetBuilder("open-images", findings)
    _declare(builder, names, files)
    for line, row in table.rows:
        if len(row) == len(table.columns):
            cells = {name: row[places[name]].strip() if name in places else "" for name in COLUMNS}
            _read_row(line, row, cells, names, builder, findings)
        else:
            message = f"{len(row)} cells; the header row has {len(table.columns)}; check the quotes"
            findings.error("ragged-row", f"line {line}", message)
    header: JsonObject = {"table": table.style, "image_list": files is not None}
    if names:
        header["described"] = True
    return builder.finish(header, absent, path)


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the rows as they were and one for each new label, and the files that lie beside.

    Machine rows of the source stay. Where the new labels came from is told in the sidecar.

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: Replaced only when everything was written.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, or ``output`` cannot be
            written.
    """
    new = checked_labels(annotation_set, new_labels)
    native = annotation_set.format == "open-images"
    if native:
        images = {image.source_id: str(image.source_id) for image in annotation_set.images}
        names = {item.source_id: str(item.source_id) for item in annotation_set.categories}
    else:
        images, names = image_stems(annotation_set.images), category_names(annotation_set)
    labels = new if native else known_labels(annotation_set, new)
    style = annotation_set.header.get("table") if native else None
    columns = style["columns"] if isinstance(style, dict) else list(COLUMNS)
    end = style["line_end"] if isinstance(style, dict) else "\n"
    rows = kept_rows(annotation_set) if native else []
    rows = [[*row, *[""] * (len(columns) - len(row))] for row in rows]
    said = _said(rows, columns)
    told = [
        replace(label, image_id=images[image], category_id=names[category])
        for (image, category), label in labels.items()
    ]
    sidecar.prepare(output)
    _write_beside(annotation_set, images, names, output, native)
    with atomic_text(output) as stream:
        for row in (columns, *rows):
            stream.write(table_line(row, line_end=end))
        for label in told:
            if said.get((label.image_id, label.category_id)) is not label.state:
                stream.write(table_line(_row(label, columns), line_end=end))
    sidecar.write(annotation_set, told, output, summary, says_absent=True)


def _descriptions(path: Path, findings: Findings) -> dict[str, str]:
    """The words for label names, from the file beside the table; empty without one."""
    own = path.with_name(f"{path.stem}-{_DESCRIPTIONS}.csv")
    found = [own] if own.is_file() else sorted(path.parent.glob(f"*{_DESCRIPTIONS}*.csv"))
    others = [file for file in found if file == own or not _belongs_to_another(file)]
    if not others:
        message = f"no {_DESCRIPTIONS}.csv beside the table; categories are called by their MIDs"
        findings.warn("no-class-descriptions", "file", message)
        return {}
    table = read_table(others[0], findings, delimiter=",", place=f"{others[0].name} ")
    rows = [row for _, row in table.rows]
    if [name.lower() for name in table.columns[:2]] != ["labelname", "displayname"]:
        rows.insert(0, table.columns)
    return {row[0].strip(): row[1] for row in rows if len(row) > 1 and row[0].strip()}


def _belongs_to_another(file: Path) -> bool:
    """Whether the words are those of another table in the folder."""
    stem = file.stem.removesuffix(f"-{_DESCRIPTIONS}")
    return stem != file.stem and file.with_name(f"{stem}.csv").is_file()


def _image_list(path: Path, findings: Findings) -> dict[str, str] | None:
    """The file names of image ids, from the file beside the table; None without one."""
    file = path.with_name(f"{path.stem}-images.csv")
    if not file.is_file():
        return None
    table = read_table(file, findings, delimiter=",", place=f"{file.name} ")
    return {row[0].strip(): row[1] for _, row in table.rows if len(row) > 1 and row[0].strip()}


def _declare(
    builder: SetBuilder, names: Mapping[str, str], files: Mapping[str, str] | None
) -> None:
    """The categories and images that the files beside the table name."""
    for mid, name in names.items():
        builder.category(f"{_DESCRIPTIONS}: {mid:.60}", name or mid, source_id=mid)
    for image, file_name in (files or {}).items():
        record = {"file_name": file_name, "rows": []}
        builder.image(f"images: {image:.60}", file_name, record, source_id=image)


def _read_row(
    line: int,
    row: list[str],
    cells: Mapping[str, str],
    names: Mapping[str, str],
    builder: SetBuilder,
    findings: Findings,
) -> None:
    where, key, mid = f"line {line}", cells["ImageID"], cells["LabelName"]
    if not key or not mid:
        message = f"ImageID is {key[:60]!a}, LabelName {mid[:60]!a}; both must be given"
        findings.error("bad-name", where, message)
        return
    record: JsonObject = {"file_name": f"{key}.jpg", "rows": []}
    image = builder.image(where, f"{key}.jpg", record, source_id=key)
    if names and mid not in names:
        message = f"{mid!a:.60} is not in the class descriptions; called by its MID"
        findings.warn("no-class-description", where, message)
    category = builder.category(where, names.get(mid) or mid, source_id=mid)
    if image is None or category is None:
        return
    builder.images[image].record["rows"].append([line, row])
    confidence = _confidence(cells["Confidence"])
    if confidence is None:
        message = f"Confidence is {cells['Confidence'][:40]!a}; a number from 0 to 1 was expected"
        findings.error("bad-confidence", where, message)
        return
    source = cells["Source"].lower()
    if source == _MACHINE or (not source and 0 < confidence < 1):
        state = LabelState.PRESENT
        proposal = LabelRecord(image, category, state, _MACHINE, score=confidence)
        builder.proposals.append(proposal)
    elif confidence in (0, 1):
        state = LabelState.PRESENT if confidence else LabelState.ABSENT
        builder.label(where, LabelRecord(image, category, state, source or "import"))
    else:
        message = f"a person's Confidence is {confidence:g}, expected 0 or 1; it gives no label"
        findings.warn("unsure-label", where, message)


def _confidence(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None


def _said(
    rows: Iterable[list[str]], columns: list[str]
) -> dict[tuple[SourceId, SourceId], LabelState]:
    """What people's rows say, the last one of each pair."""
    places = {name.strip(): i for i, name in enumerate(columns)}
    said: dict[tuple[SourceId, SourceId], LabelState] = {}
    for row in rows:
        cells = {name: row[places[name]].strip() for name in COLUMNS if name in places}
        confidence = _confidence(cells.get("Confidence", ""))
        if cells.get("Source", "").lower() != _MACHINE and confidence in (0, 1):
            state = LabelState.PRESENT if confidence else LabelState.ABSENT
            said[cells["ImageID"], cells["LabelName"]] = state
    return said


def _row(label: LabelRecord, columns: Iterable[str]) -> list[str]:
    cells = {
        "ImageID": str(label.image_id),
        "Source": _HUMAN,
        "LabelName": str(label.category_id),
        "Confidence": "1" if label.state is LabelState.PRESENT else "0",
    }
    return [cells.get(name.strip(), "") for name in columns]


def _write_beside(
    content: AnnotationSet,
    images: Mapping[SourceId, str],
    names: Mapping[SourceId, str],
    output: Path,
    native: bool,
) -> None:
    """The words for label names and the file names of images, where the set knows them."""
    told = any(item.name != names[item.source_id] for item in content.categories)
    if told or content.header.get("described") or not native:
        with atomic_text(output.with_name(f"{output.stem}-{_DESCRIPTIONS}.csv")) as stream:
            stream.write(table_line(("LabelName", "DisplayName")))
            for item in content.categories:
                stream.write(table_line((names[item.source_id], item.name)))
    if content.header.get("image_list") or not native:
        with atomic_text(output.with_name(f"{output.stem}-images.csv")) as stream:
            stream.write(table_line(("ImageID", "FileName")))
            for image in content.images:
                stated = image.record.get("file_name") if native else None
                name = stated if isinstance(stated, str) else image.file_name
                stream.write(table_line((images[image.source_id], name)))
