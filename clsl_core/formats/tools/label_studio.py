"""Label Studio's JSON: a list of tasks with ``data``, ``annotations`` and ``predictions``.

Choices of an annotation that was not cancelled say present, labelled shapes too; predictions are
proposals. A task whose state changed gets one annotation that says all of it, with the control
names of the project's own results. What is written here stands in ``meta`` of its task under
``clsl_provenance``, absent categories only there; ``<output>.export.json`` tells what the export
contains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clsl_core.formats import sidecar
from clsl_core.formats.boxes import by_image
from clsl_core.formats.conversion import category_names, checked_labels, known_labels, named_images
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.text.json_output import write_json
from clsl_core.formats.text.json_source import kind_of, read_json_list
from clsl_core.formats.tools.label_studio_fresh import fresh_task
from clsl_core.formats.tools.label_studio_names import file_name_of, picture_key
from clsl_core.formats.tools.label_studio_tasks import (
    control_of,
    provenance_in,
    said_in,
    with_labels,
)
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    JsonObject,
    LabelRecord,
    LabelState,
    Progress,
    SourceId,
    ValidationReport,
    no_progress,
)

__all__ = ["read", "write"]


def read(
    path: Path,
    *,
    absent: Absent = "unknown",
    progress: Progress = no_progress,
    picture_key: str = "",
) -> tuple[AnnotationSet, ValidationReport]:
    """Read an export of the kind JSON (not JSON-MIN).

    Args:
        path: The file.
        absent: What a choice is that nobody made.
        progress: Told the characters read so far.
        picture_key: Of a task's data, whose value is its picture; found where only one can be it.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    tasks = read_json_list(path, findings, progress)
    reading = _Reading(SetBuilder("label-studio", findings), findings, picture_key)
    for index, task in enumerate(tasks):
        reading.task(f"[{index}]", task)
    if reading.odd:
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in reading.odd.most_common(10))
        message = f"results of these types give no labels, and are kept: {kinds}"
        findings.warn("not-understood", "file", message)
    return reading.builder.finish(
        {}, absent, path, open_vocabulary=True, provenance=reading.provenance
    )


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the tasks; one whose state changes gets one annotation that says it, the others stay.

    A set of another format brings the boxes of images whose size is known.

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
    if annotation_set.format == "label-studio":
        names: dict[SourceId, str] = {
            x.source_id: str(x.source_id) for x in annotation_set.categories
        }
        tasks = {image.source_id: image.record for image in annotation_set.images}
        ids: dict[SourceId, SourceId] = {key: key for key in tasks}
    else:
        names, files = category_names(annotation_set), named_images(annotation_set)
        labels = known_labels(annotation_set, labels)
        ids = {key: number for number, key in enumerate(files, start=1)}
        shapes = by_image(annotation_set, labels)
        tasks = {
            image.source_id: fresh_task(
                ids[image.source_id],
                files[image.source_id],
                ((names[x.category_id], x) for x in shapes.get(image.source_id, ())),
                (image.width, image.height),
            )
            for image in annotation_set.images
        }
    control = control_of(tasks.values())
    of_image: dict[SourceId, list[LabelRecord]] = {}
    for (image, category), label in labels.items():
        written = replace(label, image_id=ids[image], category_id=names[category])
        of_image.setdefault(image, []).append(written)
    sidecar.prepare(output)
    write_json(
        [with_labels(task, of_image.get(key, ()), control) for key, task in tasks.items()], output
    )
    if labels:
        write_json(summary, sidecar.summary_path_for(output))


@dataclass
class _Reading:
    """The tasks of a file on their way into a set.

    Attributes:
        odd: Types of results that say nothing here, counted.
        provenance: The rows that were written here.
    """

    builder: SetBuilder
    findings: Findings
    picture_key: str
    odd: Counter[str] = field(default_factory=Counter)
    provenance: list[object] = field(default_factory=list)

    def task(self, where: str, task: Any) -> None:
        """Take one task in."""
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            message = f"found {kind_of(task)} without data; export as JSON, not JSON-MIN"
            self.findings.error("not-a-task", where, message)
            return
        image = self._image(where, task)
        if image is None:
            return
        for kind in ("annotations", "completions", "predictions"):
            entries = task.get(kind)
            if entries is not None and not isinstance(entries, list):
                message = f"{kind} is {kind_of(entries)}; a list was expected"
                self.findings.error("wrong-type", where, message)
                continue
            for index, entry in enumerate(entries or ()):
                self._entry(f"{where}.{kind}[{index}]", image, entry, kind == "predictions")
        self.provenance += provenance_in(task)

    def _image(self, where: str, task: JsonObject) -> SourceId | None:
        data = task["data"]
        found = picture_key(data, self.picture_key)
        if found is None:
            keys = ", ".join(f"{key:.40}" for key in list(data)[:10])
            message = f"no key of its data can be told to be the picture; name one of: {keys}"
            self.findings.error("no-picture", f"{where}.data", message)
            return None
        name, key = file_name_of(data[found]), task.get("id")
        if type(key) is not int and not isinstance(key, str):
            key = None
        if (name if key is None else key) in self.builder.images:
            message = f"the task {key if key is not None else name!a:.80} occurs twice; remove one"
            self.findings.error("duplicate-image-id", where, message)
            return None
        return self.builder.image(f"{where}.data.{found}", name, task, source_id=key)

    def _entry(self, where: str, image: SourceId, entry: object, machine: bool) -> None:
        if not isinstance(entry, dict):
            message = f"found {kind_of(entry)}, expected an object"
            self.findings.error("wrong-type", where, message)
            return
        if entry.get("was_cancelled") is True:
            return
        for said in said_in(where, entry, self.odd, self.findings):
            for name in said.names:
                category = self.builder.category(where, name)
                if category is None:
                    continue
                label = LabelRecord(image, category, LabelState.PRESENT)
                if machine:
                    self.builder.proposals.append(_proposal(entry, label))
                    continue
                annotator, moment = _origin(entry)
                self.builder.label(where, replace(label, annotator=annotator, decided_at=moment))
                self._box(image, category, said.box)

    def _box(self, image: SourceId, category: SourceId, box: list[float] | None) -> None:
        if box is not None:
            drawn = self.builder.annotations
            record: JsonObject = {"image": image, "number": len(drawn), "bbox": box}
            drawn.append(AnnotationRecord(None, image, category, record))


def _proposal(entry: JsonObject, label: LabelRecord) -> LabelRecord:
    """What a prediction says, with the model's name and its score where it gives them."""
    version, score = entry.get("model_version"), entry.get("score")
    return replace(
        label,
        source="model",
        model_run=version if isinstance(version, str) else None,
        score=float(score) if isinstance(score, int | float) and abs(score) < 1e9 else None,
    )


def _origin(entry: JsonObject) -> tuple[str | None, str | None]:
    """Annotator and time of an annotation."""
    person = entry.get("completed_by")
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    moment = entry.get("updated_at") or entry.get("created_at")
    named = isinstance(person, str | int) and not isinstance(person, bool)
    return str(person) if named else None, moment if isinstance(moment, str) else None
