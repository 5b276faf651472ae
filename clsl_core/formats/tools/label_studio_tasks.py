"""What a task of Label Studio says, and a task with labels added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from clsl_core.formats import sidecar
from clsl_core.formats.findings import Findings
from clsl_core.formats.text.json_source import kind_of
from clsl_core.types import JsonObject, LabelRecord, LabelState

__all__ = ["choices_in", "file_name_of", "provenance_in", "with_labels"]

_KINDS = {"choices": "choices", "rectanglelabels": "rectanglelabels"}
_UPLOADS = "/data/"
_LOCAL = "/data/local-files/"
_OURS = "clsl"


def file_name_of(data: JsonObject) -> object:
    """The path of a task's picture.

    Uploads and local files are named without the prefix of Label Studio's server; of a URL the
    last two parts are taken.
    """
    value = data.get("image", data.get("img"))
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
        if parts.path.startswith(_LOCAL):
            return parse_qs(parts.query).get("d", [value])[0]
        if parts.scheme in ("http", "https", "s3", "gs"):
            last = [part for part in PurePosixPath(unquote(parts.path)).parts if part != "/"][-2:]
            return "/".join(last) or None
    except ValueError:
        return value
    return value.removeprefix(_UPLOADS)


def choices_in(where: str, entry: JsonObject, findings: Findings) -> Iterator[str]:
    """The names that an annotation or prediction gives; what is no choice is reported."""
    results = entry.get("result")
    if not isinstance(results, list):
        message = f"result is {kind_of(results)}; a list was expected; not used"
        findings.warn("bad-result", where, message)
        return
    for index, result in enumerate(results):
        kind = result.get("type") if isinstance(result, dict) else None
        if not isinstance(kind, str) or kind not in _KINDS:
            continue
        value = result.get("value")
        names = value.get(_KINDS[kind]) if isinstance(value, dict) else None
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            yield from names
        else:
            message = f"{kind} is {kind_of(names)}; a list of names was expected; not used"
            findings.warn("bad-result", f"{where}.result[{index}]", message)


def provenance_in(task: JsonObject) -> list[object]:
    """The rows that were written here, if any."""
    meta = task.get("meta")
    rows = meta.get(sidecar.HEADER_KEY) if isinstance(meta, dict) else None
    return rows if isinstance(rows, list) else []


def with_labels(task: JsonObject, labels: Iterable[LabelRecord]) -> JsonObject:
    """The task with an annotation of what is present, and rows for all of it in ``meta``."""
    new = list(labels)
    if not new:
        return task
    rows = {row["category"]: row for row in provenance_in(task) if isinstance(row, dict)}
    rows |= {str(label.category_id): dict(sidecar.row_of(label)) for label in new}
    present = [str(x.category_id) for x in new if x.state is LabelState.PRESENT]
    changed = dict(task)
    if present:
        result = {
            "type": "choices",
            "from_name": "labels",
            "to_name": "image",
            "value": {"choices": present},
        }
        kept = task.get("annotations")
        before = kept if isinstance(kept, list) else []
        changed["annotations"] = [*before, {"result": [result], "origin": _OURS}]
    meta = task.get("meta")
    others = meta if isinstance(meta, dict) else {}
    changed["meta"] = {**others, sidecar.HEADER_KEY: list(rows.values())}
    return changed
