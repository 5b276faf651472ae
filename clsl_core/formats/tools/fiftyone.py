"""FiftyOne's ``labels.json``: ``{"classes": […], "labels": {"<id>": ["a", "b"]}}``.

A label is a name, an index into ``classes``, an object with ``label`` and ``confidence``, or a
list of these, with a ``bounding_box`` or without; with a confidence below 1 a model said it, and it
is a proposal. The id is the file name without its ending; the ending is that of the file in
``data/`` beside. Added here, and ignored by FiftyOne: ``clsl_files`` (the file name of each id),
``clsl_provenance`` (which alone can say absent), ``clsl_export``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from clsl_core.formats import sidecar
from clsl_core.formats.boxes import shapes_of
from clsl_core.formats.coco.coco import SUMMARY_KEY
from clsl_core.formats.conversion import checked_labels, known_labels, share_box
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.tables.listed_labels import names_to_write
from clsl_core.formats.text.folder_source import is_folder
from clsl_core.formats.text.json_output import write_json
from clsl_core.formats.text.json_source import kind_of, read_json_object
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

__all__ = ["FILES_KEY", "read", "write"]

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
    new = list(new_labels)
    lists = names_to_write(annotation_set, new, "fiftyone", ids)
    document = dict(annotation_set.header.get("document") or {}) if native else {}
    classes = [*(document.get("classes") or ())]
    used = {str(label.category_id) for label in lists.told}
    known = {name for name in classes if isinstance(name, str)}
    classes += [x for x in lists.names.values() if x not in known and (x in used or not native)]
    if not native or "classes" in document:
        document["classes"] = classes
    labels: JsonObject = {}
    drawn = {} if native else _detections(annotation_set, new, lists.names)
    decided: dict[SourceId, set[str]] = {image.source_id: set() for image in annotation_set.images}
    for image_id, several in lists.by_image.items():
        decided[image_id] = {lists.names[label.category_id] for label in several}
    for image in annotation_set.images:
        key = str(image.source_id) if ids is None else ids[image.source_id]
        present = lists.present(image)
        same = native and present == image.record.get("names")
        stated = image.record.get("labels")
        left = _kept(stated, classes, present, decided[image.source_id]) if native else []
        boxed = drawn.get(image.source_id, [])
        told = {_name(one, classes) for one in [*left, *boxed]}
        added = [name for name in present if name not in told]
        labels[key] = stated if same else [*left, *boxed, *added]
    document["labels"] = _alike(labels) if lists.told else labels
    if ids is not None:
        document[FILES_KEY] = {ids[x.source_id]: x.file_name for x in annotation_set.images}
    if rows := sidecar.merged_rows(annotation_set, lists.told):
        document[sidecar.HEADER_KEY] = rows
        if lists.told:
            document[SUMMARY_KEY] = summary
    sidecar.prepare(output)
    write_json(document, output)


def _kept(
    value: object, classes: list[object], present: Collection[str], decided: Collection[str]
) -> list[object]:
    """The entries of an image that stand: of what is present, and predictions nobody judged."""
    kept: list[object] = []
    for item in value if isinstance(value, list) else [value]:
        name = _name(item, classes)
        score = item.get("confidence") if isinstance(item, dict) else None
        predicted = isinstance(score, int | float) and score < 1
        if (predicted and name not in decided) or (not predicted and name in present):
            kept.append(item)
    return kept


def _name(item: object, classes: list[object]) -> object:
    """What an entry is called: by its name, or by its place among the classes."""
    name = item.get("label") if isinstance(item, dict) else item
    if isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(classes):
        return classes[name]
    return name


def _detections(
    content: AnnotationSet, new_labels: Iterable[LabelRecord], names: Mapping[SourceId, str]
) -> dict[SourceId, list[JsonObject]]:
    """The boxes by image, as parts of the picture's sides."""
    labels = known_labels(content, checked_labels(content, new_labels))
    found: dict[SourceId, list[JsonObject]] = {}
    for shape in shapes_of(content, labels):
        if shape.share is not None:
            one = {"label": names[shape.category_id], "bounding_box": list(shape.share)}
            found.setdefault(shape.image_id, []).append(one)
    return found


def _alike(labels: JsonObject) -> JsonObject:
    """Labels of which all are lists where one is: a field of FiftyOne has one type."""
    if not any(isinstance(value, list) for value in labels.values()):
        return labels
    return {
        key: value if value is None or isinstance(value, list) else [value]
        for key, value in labels.items()
    }


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
    for name, score, share in _parsed(where, value, classes, findings):
        category = builder.category(where, name)
        if image is None or category is None:
            continue
        label = LabelRecord(image, category, LabelState.PRESENT, score=score)
        if score is not None and score < 1:
            builder.proposals.append(replace(label, source="model"))
        else:
            names.append(name)
            builder.labels[image, category] = label
            if share_box({"share": share}) is not None:
                kept = {"image": image, "number": len(builder.annotations), "share": share}
                builder.annotations.append(AnnotationRecord(None, image, category, kept))


def _parsed(
    where: str, value: object, classes: list[object], findings: Findings
) -> Iterator[tuple[str, float | None, object]]:
    """Name, score and box of each label; what is none is reported."""
    for item in value if isinstance(value, list) else [value]:
        score: float | None = None
        name, share = item, None
        if isinstance(item, dict):
            share = item.get("bounding_box")
            name, confidence = item.get("label"), item.get("confidence")
            if isinstance(confidence, int | float) and not isinstance(confidence, bool):
                score = float(confidence)
        name = _name(name, classes)
        if isinstance(name, str) and name.strip():
            yield name, score, share
        elif item is not None:
            message = f"found {kind_of(name)}; a name or an index into classes was expected"
            findings.error("bad-label", where, message)
