"""Label Studio's JSON: a list of tasks with ``data``, ``annotations`` and ``predictions``.

Choices of an annotation that was not cancelled say present, labelled rectangles too; predictions
are proposals. What is written here stands in ``meta`` of its task under ``clsl_provenance``,
absent categories only there; ``<output>.export.json`` tells what the export contains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from clsl_core.formats import sidecar
from clsl_core.formats.conversion import category_names, checked_labels, known_labels, named_images
from clsl_core.formats.findings import Findings, report_of
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.text.json_output import write_json
from clsl_core.formats.text.json_source import kind_of, read_json_list
from clsl_core.formats.tools.label_studio_tasks import (
    choices_in,
    file_name_of,
    provenance_in,
    with_labels,
)
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

__all__ = ["read", "validate", "write"]


def read(
    path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
) -> tuple[AnnotationSet, ValidationReport]:
    """Read an export of the kind JSON (not JSON-MIN).

    Args:
        path: The file.
        absent: What a choice is that nobody made.
        progress: Told the characters read so far.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    tasks = read_json_list(path, findings, progress)
    builder = SetBuilder("label-studio", findings)
    provenance: list[object] = []
    for index, task in enumerate(tasks):
        _read_task(f"[{index}]", task, builder, provenance, findings)
    return builder.finish({}, absent, path, open_vocabulary=True, provenance=provenance)


def validate(path: Path) -> ValidationReport:
    """Report every problem of a file; bad content never raises."""
    return report_of(read, path)


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the tasks; one with new labels gets one annotation more, the others stay.

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: Replaced only when everything was written.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, two images share a file name,
            or ``output`` cannot be written.
    """
    labels = checked_labels(annotation_set, new_labels)
    tasks: list[tuple[SourceId, JsonObject]]
    if annotation_set.format == "label-studio":
        names: dict[SourceId, str] = {
            x.source_id: str(x.source_id) for x in annotation_set.categories
        }
        tasks = [(image.source_id, image.record) for image in annotation_set.images]
        ids: dict[SourceId, SourceId] = {key: key for key, _ in tasks}
    else:
        names, files = category_names(annotation_set), named_images(annotation_set)
        labels = known_labels(annotation_set, labels)
        ids = {key: number for number, key in enumerate(files, start=1)}
        tasks = [(key, {"id": ids[key], "data": {"image": name}}) for key, name in files.items()]
    by_image: dict[SourceId, list[LabelRecord]] = {}
    for (image, category), label in labels.items():
        written = replace(label, image_id=ids[image], category_id=names[category])
        by_image.setdefault(image, []).append(written)
    sidecar.prepare(output)
    write_json([with_labels(task, by_image.get(key, ())) for key, task in tasks], output)
    if labels:
        write_json(summary, sidecar.summary_path_for(output))


def _read_task(
    where: str, task: Any, builder: SetBuilder, provenance: list[object], findings: Findings
) -> None:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        message = f"found {kind_of(task)} without data; export as JSON, not JSON-MIN"
        findings.error("not-a-task", where, message)
        return
    name = file_name_of(task["data"])
    key = task.get("id")
    if type(key) is not int and not isinstance(key, str):
        key = None
    if (name if key is None else key) in builder.images:
        message = f"the task {key if key is not None else name!a:.80} occurs twice; remove one"
        findings.error("duplicate-image-id", where, message)
        return
    image = builder.image(f"{where}.data.image", name, task, source_id=key)
    if image is None:
        return
    for kind in ("annotations", "completions", "predictions"):
        entries = task.get(kind)
        if entries is not None and not isinstance(entries, list):
            message = f"{kind} is {kind_of(entries)}; a list was expected"
            findings.error("wrong-type", where, message)
            continue
        for index, entry in enumerate(entries or ()):
            _read_entry(f"{where}.{kind}[{index}]", image, entry, builder, findings)
    provenance += provenance_in(task)


def _read_entry(
    where: str, image: SourceId, entry: object, builder: SetBuilder, findings: Findings
) -> None:
    if not isinstance(entry, dict):
        findings.error("wrong-type", where, f"found {kind_of(entry)}, expected an object")
        return
    if entry.get("was_cancelled") is True:
        return
    machine = "].predictions[" in where
    for name in choices_in(where, entry, findings):
        category = builder.category(where, name)
        if category is None:
            continue
        label = LabelRecord(image, category, LabelState.PRESENT)
        if machine:
            version, score = entry.get("model_version"), entry.get("score")
            proposal = replace(
                label,
                source="model",
                model_run=version if isinstance(version, str) else None,
                score=float(score) if isinstance(score, int | float) and abs(score) < 1e9 else None,
            )
            builder.proposals.append(proposal)
        else:
            annotator, moment = _origin(entry)
            builder.label(where, replace(label, annotator=annotator, decided_at=moment))


def _origin(entry: JsonObject) -> tuple[str | None, str | None]:
    """Annotator and time of an annotation."""
    person = entry.get("completed_by")
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    moment = entry.get("updated_at") or entry.get("created_at")
    named = isinstance(person, str | int) and not isinstance(person, bool)
    return str(person) if named else None, moment if isinstance(moment, str) else None
