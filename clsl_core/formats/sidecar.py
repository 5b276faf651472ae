"""``<output>.provenance.csv``: where labels came from, for formats that cannot say it.

One row for each label that was added: ``image, category`` (their ids in the file beside it),
``state, source, model_run, score, annotator, decided_at``. A reader takes the file in with the
one it lies beside, so that an export imports again to the same state even where the format has
no word for an absent category. What the export contains is told in ``<output>.export.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from clsl_core.errors import InputError
from clsl_core.files import atomic_text
from clsl_core.formats.findings import Findings
from clsl_core.formats.text.folder_source import is_file
from clsl_core.formats.text.table_source import read_table, table_line
from clsl_core.types import AnnotationSet, JsonObject, LabelRecord, LabelState, SourceId

__all__ = [
    "COLUMNS",
    "HEADER_KEY",
    "label_of",
    "path_for",
    "prepare",
    "read",
    "row_of",
    "summary_path_for",
    "write",
]

COLUMNS = (
    "image",
    "category",
    "state",
    "source",
    "model_run",
    "score",
    "annotator",
    "decided_at",
)
HEADER_KEY = "clsl_provenance"
"""The key of a set's header under which the rows stay between import and export."""


def path_for(output: Path) -> Path:
    """Where the provenance of a file or folder lies."""
    return _beside(output, ".provenance.csv")


def summary_path_for(output: Path) -> Path:
    """Where it is told what an export contains."""
    return _beside(output, ".export.json")


def _beside(output: Path, ending: str) -> Path:
    """A path beside another, which may be ``.`` or the root and then has no name of its own."""
    named = output if output.name not in ("", "..") else output.resolve()
    return named.parent / f"{named.name}{ending}"


def read(source: Path, findings: Findings) -> list[JsonObject]:
    """The rows beside a file, as texts, with their line number; none where there is no such file.

    Raises:
        FormatError: When the provenance file is damaged.
    """
    path = path_for(source)
    if not is_file(path):
        return []
    table = read_table(path, findings, delimiter=",", place=f"{path.name} ")
    lacking = [name for name in COLUMNS[:3] if name not in table.columns]
    if lacking:
        message = f"{path.name} has no column {', '.join(lacking)}; mend or remove that file"
        findings.refuse("bad-provenance", path.name, message)
    rows = []
    for line, cells in table.rows:
        texts = dict(zip(table.columns, cells, strict=False))
        place = f"{path.name} line {line}"
        rows.append({"place": place, **{name: texts.get(name, "") for name in COLUMNS}})
    return rows


def embedded(values: Sequence[object], findings: Findings) -> list[JsonObject]:
    """The rows that a JSON file holds under ``HEADER_KEY``; what is no row is reported."""
    rows: list[JsonObject] = []
    for index, value in enumerate(values):
        place = f"{HEADER_KEY}[{index}]"
        if isinstance(value, dict):
            texts = {name: value.get(name) for name in COLUMNS}
            cells = {name: "" if text is None else str(text) for name, text in texts.items()}
            rows.append({"place": place, **cells})
        else:
            findings.warn("provenance-ignored", place, f"found {value!a:.60}; it gives no label")
    return rows


def label_of(
    row: JsonObject, image: SourceId, category: SourceId, state: LabelState
) -> LabelRecord:
    """The label that a row tells."""
    score: float | None = None
    with suppress(ValueError):
        score = float(row["score"])
    return LabelRecord(
        image_id=image,
        category_id=category,
        state=state,
        source=row["source"] or "import",
        model_run=row["model_run"] or None,
        score=score if score is not None and math.isfinite(score) else None,
        annotator=row["annotator"] or None,
        decided_at=row["decided_at"] or None,
    )


def prepare(output: Path) -> None:
    """Remove the provenance of an earlier export, which the new file would contradict.

    Raises:
        InputError: When it cannot be removed.
    """
    for path in (path_for(output), summary_path_for(output)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{path} cannot be replaced: {error.strerror or error}") from error


def write(
    content: AnnotationSet,
    labels: Iterable[LabelRecord],
    output: Path,
    summary: JsonObject,
    *,
    says_absent: bool = False,
    says_present: bool = True,
) -> None:
    """Write the provenance the set came with and that of the labels added, and the summary.

    Nothing is written when there is no such label.

    Args:
        content: The set that was written.
        labels: With the ids of the written file.
        output: The file or folder that was written.
        summary: What the export contains.
        says_absent: Whether the file itself can say that a category is absent.
        says_present: Whether it can say so of any that is present.

    Raises:
        InputError: When a file cannot be written.
    """
    said = {
        state
        for state, able in ((LabelState.PRESENT, says_present), (LabelState.ABSENT, says_absent))
        if able
    }
    rows = merged_rows(content, labels, said)
    if not rows:
        return
    with atomic_text(path_for(output)) as stream:
        stream.write(table_line(COLUMNS))
        for row in rows:
            stream.write(table_line(row[name] for name in COLUMNS))
    with atomic_text(summary_path_for(output)) as stream:
        stream.write(_json(summary) + "\n")


def merged_rows(
    content: AnnotationSet,
    labels: Iterable[LabelRecord],
    said: Container[LabelState] = (LabelState.PRESENT,),
) -> list[dict[str, str]]:
    """The rows the set came with and those of the labels added, one for each pair.

    A label without an origin has none where the file itself says it.

    Args:
        content: The set.
        labels: Those added.
        said: The states that the file itself can say.
    """
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in content.header.get(HEADER_KEY) or ():
        rows[row["image"], row["category"]] = {name: row[name] for name in COLUMNS}
    for label in labels:
        pair = str(label.image_id), str(label.category_id)
        if _is_bare(label) and label.state in said:
            rows.pop(pair, None)
        else:
            rows[pair] = row_of(label)
    return list(rows.values())


def _is_bare(label: LabelRecord) -> bool:
    """Whether nothing is known of where a label is from."""
    return label == LabelRecord(label.image_id, label.category_id, label.state)


def row_of(label: LabelRecord) -> dict[str, str]:
    """The cells of a label by column."""
    score = label.score
    return {
        "image": str(label.image_id),
        "category": str(label.category_id),
        "state": label.state.word,
        "source": str(label.source),
        "model_run": label.model_run or "",
        "score": "" if score is None or not math.isfinite(score) else repr(float(score)),
        "annotator": label.annotator or "",
        "decided_at": label.decided_at or "",
    }


def _json(summary: JsonObject) -> str:
    try:
        return json.dumps(summary, ensure_ascii=False, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"the summary cannot be written as JSON: {error}") from error
