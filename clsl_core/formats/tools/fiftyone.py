"""FiftyOne's ``labels.json``: ``{"classes": […], "labels": {"<id>": ["a", "b"]}}``.

A label is a name, an index into ``classes``, an object with ``label`` and ``confidence``, or a
list of these. The id is the file name without its ending; the ending is that of the file in
``data/`` beside. Added here, and ignored by FiftyOne: ``clsl_files`` (the file name of each id),
``clsl_provenance`` (which alone can say absent), ``clsl_export``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from clsl_core.formats import sidecar
from clsl_core.formats.coco.coco import SUMMARY_KEY
from clsl_core.formats.findings import Findings, report_of
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.tables.listed_labels import names_to_write
from clsl_core.formats.text.folder_source import is_folder
from clsl_core.formats.text.json_output import write_json
from clsl_core.formats.text.json_source import kind_of, read_json_object
from clsl_core.types import (
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

__all__ = ["FILES_KEY", "read", "validate", "write"]

FILES_KEY = "clsl_files"


def read(
    path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
) -> tuple[AnnotationSet, ValidationReport]:
    """Read ``labels.json``, or the folder that holds it.

    Args:
        path: The file or folder.
        absent: What a class is that an image does not list.
        progress: Told the characters read so far.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    file = path / "labels.json" if is_folder(path) else path
    findings = Findings(path.name)
    document = read_json_object(file, findings, progress)
    labels, classes = document.get("labels"), document.get("classes")
    classes = [] if classes is None else classes
    if not isinstance(labels, dict):
        message = f"labels is {kind_of(labels)}; an object from image ids to labels was expected"
        findings.refuse("wrong-type", "labels", message)
    if not isinstance(classes, list):
        message = f"classes is {kind_of(classes)}; a list of names was expected"
        findings.refuse("wrong-type", "classes", message)
    builder = SetBuilder("fiftyone", findings)
    for index, name in enumerate(classes):
        if not isinstance(name, str) or name in builder.categories:
            message = f"found {kind_of(name)}; a name that occurs once was expected"
            findings.error("bad-name", f"classes[{index}]", message)
        else:
            builder.category(f"classes[{index}]", name)
    files = _files(file, document.get(FILES_KEY), labels, findings)
    for key, value in labels.items():
        _read_image(key, value, files, classes, builder, findings)
    rows = document.get(sidecar.HEADER_KEY)
    provenance = rows if isinstance(rows, list) else []
    return builder.finish(
        {"document": {**document, "labels": None}},
        absent,
        file,
        open_vocabulary=True,
        provenance=provenance,
    )


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
    """Write ``labels.json``; the labels of an image change only when what is present changes.

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: Replaced only when everything was written.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, or ``output`` cannot be
            written.
    """
    native = annotation_set.format == "fiftyone"
    ids = None if native else _ids(annotation_set.images)
    lists = names_to_write(annotation_set, new_labels, "fiftyone", ids)
    document = dict(annotation_set.header.get("document") or {}) if native else {}
    classes = [*(document.get("classes") or ())]
    used = {str(label.category_id) for label in lists.told}
    known = {name for name in classes if isinstance(name, str)}
    classes += [x for x in lists.names.values() if x not in known and (x in used or not native)]
    if not native or "classes" in document:
        document["classes"] = classes
    labels: JsonObject = {}
    for image in annotation_set.images:
        key = str(image.source_id) if ids is None else ids[image.source_id]
        present = lists.present(image)
        same = native and present == image.record.get("names")
        labels[key] = image.record.get("labels") if same else present
    document["labels"] = labels
    if ids is not None:
        document[FILES_KEY] = {ids[x.source_id]: x.file_name for x in annotation_set.images}
    if rows := sidecar.merged_rows(annotation_set, lists.told):
        document[sidecar.HEADER_KEY] = rows
        if lists.told:
            document[SUMMARY_KEY] = summary
    sidecar.prepare(output)
    write_json(document, output)


def _ids(images: Iterable[ImageRecord]) -> dict[SourceId, str]:
    """File names without their ending; with it where two would be the same."""
    stems = [str(PurePosixPath(image.file_name).with_suffix("")) for image in images]
    often = Counter(stems)
    taken: set[str] = set()
    ids: dict[SourceId, str] = {}
    for image, stem in zip(images, stems, strict=True):
        name = stem if often[stem] == 1 else image.file_name
        if name in taken:
            name = f"{name} ({image.source_id})"
        taken.add(name)
        ids[image.source_id] = name
    return ids


def _files(
    file: Path, stated: object, labels: Mapping[str, object], findings: Findings
) -> dict[str, str]:
    """The file name of each id: as stated, or as found in ``data/``."""
    if isinstance(stated, dict):
        return {key: name for key, name in stated.items() if isinstance(name, str)}
    data = file.parent / "data"
    try:
        found = sorted(p.relative_to(data).as_posix() for p in data.rglob("*") if p.is_file())
    except OSError:
        found = []
    names = {str(PurePosixPath(name).with_suffix("")): name for name in found}
    missing = next((key for key in labels if key not in names and key not in found), None)
    if missing is not None:
        message = f"no file {missing!a:.80}.* in data/; such ids are taken to be <id>.jpg"
        findings.warn("no-data-file", "labels", message)
    return names | {name: name for name in found}


def _read_image(
    key: str,
    value: object,
    files: Mapping[str, str],
    classes: list[object],
    builder: SetBuilder,
    findings: Findings,
) -> None:
    where = f"labels[{key!a:.80}]"
    names: list[str] = []
    file_name = files.get(key, f"{key}.jpg")
    record: JsonObject = {"file_name": file_name, "labels": value, "names": names}
    image = builder.image(where, file_name, record, source_id=key)
    for name, score in _parsed(where, value, classes, findings):
        category = builder.category(where, name)
        if image is not None and category is not None:
            names.append(name)
            label = LabelRecord(image, category, LabelState.PRESENT, score=score)
            builder.labels[image, category] = label


def _parsed(
    where: str, value: object, classes: list[object], findings: Findings
) -> Iterator[tuple[str, float | None]]:
    """Name and score of each label; what is none is reported."""
    for item in value if isinstance(value, list) else [value]:
        score: float | None = None
        name = item
        if isinstance(item, dict):
            name, confidence = item.get("label"), item.get("confidence")
            score = float(confidence) if isinstance(confidence, float) else None
        if isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(classes):
            name = classes[name]
        if isinstance(name, str) and name.strip():
            yield name, score
        elif item is not None:
            message = f"found {kind_of(name)}; a name or an index into classes was expected"
            findings.error("bad-label", where, message)
