"""What a task of Label Studio says, and a task with labels added."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from clsl_core.formats import sidecar
from clsl_core.formats.findings import Findings
from clsl_core.formats.text.json_source import kind_of
from clsl_core.types import JsonObject, LabelRecord, LabelState

__all__ = ["Control", "Said", "control_of", "names_in", "provenance_in", "said_in", "with_labels"]

KINDS = frozenset(
    ("choices", "labels", "rectanglelabels", "ellipselabels", "polygonlabels", "keypointlabels")
) | {"brushlabels", "bitmasklabels", "vectorlabels"}
"""Types of results whose value holds names under the same word."""

BEFORE = "clsl_before"
"""Of a task's ``meta``: annotations that one complete annotation took the place of."""

_ENTRIES = ("annotations", "completions")


@dataclass(frozen=True, slots=True)
class Control:
    """The names of a control and its object in the configuration of a project."""

    from_name: str = "choice"
    to_name: str = "image"


@dataclass(frozen=True, slots=True)
class Said:
    """What one result says: names, and where, ``x, y, width, height`` in pixels, if it does."""

    names: list[str]
    box: list[float] | None


def control_of(tasks: Iterable[JsonObject]) -> Control:
    """The control with which choices are made in a project, as its own results name it."""
    objects: Counter[str] = Counter()
    controls: Counter[tuple[str, str]] = Counter()
    for result in (one for task in tasks for one in _results_of(task)):
        names = (result.get("from_name"), result.get("to_name"))
        if isinstance(names[0], str) and isinstance(names[1], str):
            objects[names[1]] += 1
            if result.get("type") == "choices":
                controls[names[0], names[1]] += 1
    if controls:
        return Control(*controls.most_common(1)[0][0])
    return Control(to_name=objects.most_common(1)[0][0]) if objects else Control()


def _results_of(task: JsonObject) -> Iterator[JsonObject]:
    for key in (*_ENTRIES, "predictions"):
        entries = task.get(key)
        for entry in entries if isinstance(entries, list) else ():
            results = entry.get("result") if isinstance(entry, dict) else None
            for result in results if isinstance(results, list) else ():
                if isinstance(result, dict):
                    yield result


def said_in(where: str, entry: JsonObject, odd: Counter[str], findings: Findings) -> Iterator[Said]:
    """What an annotation or prediction says; what is no label is counted by its type.

    Args:
        where: The place in the file.
        entry: The annotation or prediction.
        odd: Receives the types that say nothing here.
        findings: Receives what is faulty.
    """
    results = entry.get("result")
    if not isinstance(results, list):
        message = f"result is {kind_of(results)}; a list was expected; not used"
        findings.warn("bad-result", where, message)
        return
    for index, result in enumerate(results):
        kind = result.get("type") if isinstance(result, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            odd[str(kind)[:60]] += 1
            continue
        value = result.get("value")
        names = value.get(kind) if isinstance(value, dict) else None
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            yield Said(names, _box(result, value))
        else:
            message = f"{kind} is {kind_of(names)}; a list of names was expected; not used"
            findings.warn("bad-result", f"{where}.result[{index}]", message)


def names_in(entry: JsonObject) -> list[str]:
    """The names that an annotation gives."""
    return [name for said in said_in("", entry, Counter(), Findings("")) for name in said.names]


def _box(result: JsonObject, value: JsonObject) -> list[float] | None:
    """The box of a shape, whose places are percents of the picture; None for other shapes."""
    sides = _numbers(result.get("original_width"), result.get("original_height"))
    places = _of_points(value["points"]) if "points" in value else _of_corner(value)
    if sides is None or places is None:
        return None
    return [share / 100 * side for share, side in zip(places, sides * 2, strict=True)]


def _of_corner(value: JsonObject) -> list[float] | None:
    """``x, y, width, height`` of a rectangle or an ellipse, in percent."""
    if "radiusX" not in value:
        return _numbers(*(value.get(key) for key in ("x", "y", "width", "height")))
    found = _numbers(*(value.get(key) for key in ("x", "y", "radiusX", "radiusY")))
    if found is None:
        return None
    x, y, across, down = found
    return [x - across, y - down, 2 * across, 2 * down]


def _of_points(points: object) -> list[float] | None:
    """The same of a polygon."""
    corners = points if isinstance(points, list) else []
    if not corners or not all(isinstance(one, list) and len(one) == 2 for one in corners):
        return None
    xs, ys = (_numbers(*(one[axis] for one in corners)) for axis in (0, 1))
    if xs is None or ys is None:
        return None
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _numbers(*values: object) -> list[float] | None:
    """The values as floats; None where one is no finite number."""
    found = [float(x) for x in values if isinstance(x, int | float) and not isinstance(x, bool)]
    return found if len(found) == len(values) and all(map(math.isfinite, found)) else None


def provenance_in(task: JsonObject) -> list[object]:
    """The rows that were written here, if any."""
    meta = task.get("meta")
    rows = meta.get(sidecar.HEADER_KEY) if isinstance(meta, dict) else None
    return rows if isinstance(rows, list) else []


def with_labels(task: JsonObject, labels: Iterable[LabelRecord], control: Control) -> JsonObject:
    """The task with one annotation that says the present state, and rows for all of it in ``meta``.

    An annotation that says so already stays as it is.
    """
    new = list(labels)
    if not new:
        return task
    rows = {row["category"]: row for row in provenance_in(task) if isinstance(row, dict)}
    rows |= {str(label.category_id): dict(sidecar.row_of(label)) for label in new}
    present = [str(x.category_id) for x in new if x.state is LabelState.PRESENT]
    absent = {str(x.category_id) for x in new if x.state is LabelState.ABSENT}
    meta = task.get("meta")
    others = dict(meta) if isinstance(meta, dict) else {}
    changed = dict(task)
    key = next((key for key in _ENTRIES if isinstance(task.get(key), list)), _ENTRIES[0])
    entries = task.get(key) or []
    stated = [
        one for one in entries if isinstance(one, dict) and one.get("was_cancelled") is not True
    ]
    said = {name for one in stated for name in names_in(one)}
    if not said.issuperset(present) or said & absent:
        whole = _complete(stated, present, absent, said, control)
        if len(stated) > 1 or said & absent:
            others[BEFORE] = [*(others.get(BEFORE) or ()), *stated]
        rest = [one for one in entries if not any(one is other for other in stated)]
        changed[key] = [*rest, whole]
    changed["meta"] = {**others, sidecar.HEADER_KEY: list(rows.values())}
    return changed


def _complete(
    stated: list[JsonObject],
    present: list[str],
    absent: Collection[str],
    said: Collection[str],
    control: Control,
) -> JsonObject:
    """One annotation for all there are, with what is present and without what is absent."""
    results: list[JsonObject] = []
    for one in stated:
        found = one.get("result")
        for result in found if isinstance(found, list) else ():
            kept = _without(result, absent)
            if kept is not None and kept not in results:
                results.append(kept)
    added = [name for name in dict.fromkeys(present) if name not in said]
    if added:
        results = _chosen_too(results, added, control)
    base: JsonObject = stated[-1] if stated else {"origin": "clsl"}
    return {**base, "result": results}


def _without(result: object, absent: Collection[str]) -> JsonObject | None:
    """A result without some names; None where nothing is left of it."""
    if not isinstance(result, dict):
        return None
    kind, value = result.get("type"), result.get("value")
    names = value.get(kind) if isinstance(value, dict) and kind in KINDS else None
    if not isinstance(names, list) or not any(str(name) in absent for name in names):
        return result
    left = [name for name in names if name not in absent]
    return {**result, "value": {**value, kind: left}} if left and value else None


def _chosen_too(results: list[JsonObject], added: list[str], control: Control) -> list[JsonObject]:
    """The results with more choices: in the control's own result, or in a new one."""
    for index, result in enumerate(results):
        value = result.get("value")
        names = value.get("choices") if isinstance(value, dict) else None
        own = (result.get("type"), result.get("from_name")) == ("choices", control.from_name)
        if own and isinstance(value, dict) and isinstance(names, list):
            more = {**result, "value": {**value, "choices": [*names, *added]}}
            return [*results[:index], more, *results[index + 1 :]]
    new = {
        "type": "choices",
        "from_name": control.from_name,
        "to_name": control.to_name,
        "value": {"choices": added},
    }
    return [*results, new]
