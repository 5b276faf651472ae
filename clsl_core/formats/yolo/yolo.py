"""YOLO as Ultralytics lays it out: ``data.yaml``, ``images/…`` and ``labels/….txt``.

A line says that its class is present; one with a score behind was made by a model and is a
proposal. An empty or absent label file says nothing, unless it is declared that such an image was
looked at and holds none of the classes. The format has no word for absent, nor for a category that
is present without a box: both are told in the sidecar.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import yaml

from clsl_core.errors import InputError
from clsl_core.formats import sidecar
from clsl_core.formats.boxes import Shape, by_image
from clsl_core.formats.coco.records import leaves_root
from clsl_core.formats.conversion import (
    Pair,
    category_names,
    checked_labels,
    image_stems,
    known_labels,
)
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.text.folder_output import atomic_folder
from clsl_core.formats.text.folder_source import check_folder, is_file, is_folder
from clsl_core.formats.text.json_source import text_of
from clsl_core.formats.yolo.layout import FILES, YAML_NAMES, Entry, picture_of, read_layout
from clsl_core.formats.yolo.lines import box_line, outline_line, parse_line
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

__all__ = ["Empty", "read", "write"]

Empty = Literal["unknown", "absent"]
"""What an image without a line says of all classes."""

_DEFAULT_SPLIT = "train"
_SPLIT_KEYS = {"valid": "val", "validation": "val", "dev": "val", "testing": "test"}


def read(
    path: Path,
    *,
    absent: Absent = "unknown",
    progress: Progress = no_progress,
    empty: Empty = "unknown",
) -> tuple[AnnotationSet, ValidationReport]:
    """Read a YOLO folder.

    Args:
        path: The folder, or its ``data.yaml``.
        absent: What a class is of which an image has no line.
        progress: Told the label files read so far.
        empty: What all classes are in an image without any line.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    folder, file = (path, _yaml_in(path, findings)) if is_folder(path) else (path.parent, path)
    layout = read_layout(folder, file, findings)
    builder = SetBuilder("yolo", findings)
    for number, name in layout.names.items():
        builder.category(f"names[{number}]", name, source_id=number)
    for done, (key, entry) in enumerate(layout.entries.items()):
        if done % 500 == 0:
            progress(done, len(layout.entries), "reading label files")
        _read_image(folder, key, entry, empty, builder, findings)
    header = {"yaml": layout.text, "yaml_name": layout.yaml_name, "lists": layout.lists}
    return builder.finish(header, absent, folder)


def _yaml_in(folder: Path, findings: Findings) -> Path:
    check_folder(folder, findings, YAML_NAMES[0])
    found = next((folder / name for name in YAML_NAMES if is_file(folder / name)), None)
    if found is None:
        findings.refuse("missing-file", "file", f"{folder} holds no {' or '.join(YAML_NAMES)}")
    return found


def _read_image(
    folder: Path, key: str, entry: Entry, empty: Empty, builder: SetBuilder, findings: Findings
) -> None:
    record: JsonObject = {"file_name": entry.picture, "labels": entry.labels, "split": entry.split}
    file = folder / entry.labels
    if is_file(file) and file.resolve().is_relative_to(folder.resolve()):
        record["text"] = text_of(file, findings, entry.labels) if file.stat().st_size else ""
    image = builder.image(entry.labels, entry.picture, record, source_id=key)
    if image is None:
        return
    lines = [
        (f"{entry.labels} line {number}", text)
        for number, text in enumerate(record.get("text", "").splitlines(), start=1)
        if text.strip()
    ]
    for where, text in lines:
        _read_line(where, text, image, builder, findings)
    if not lines and empty == "absent":
        for category in builder.categories:
            builder.labels[image, category] = LabelRecord(image, category, LabelState.ABSENT)


def _read_line(
    where: str, text: str, image: SourceId, builder: SetBuilder, findings: Findings
) -> None:
    try:
        line = parse_line(text)
    except ValueError as error:
        findings.error("bad-line", where, f"{text[:60]!a}: {error}")
        return
    if line.number not in builder.categories:
        message = f"class {line.number} has no name in data.yaml; it gives no label"
        findings.warn("missing-category", where, message)
        return
    label = LabelRecord(image, line.number, LabelState.PRESENT)
    if line.score is not None:
        builder.proposals.append(replace(label, source="model", score=line.score))
        return
    builder.labels[image, line.number] = label
    kept: JsonObject = {"image": image, "number": len(builder.annotations), "share": line.share}
    if line.outline is not None:
        kept["outline"] = line.outline
    builder.annotations.append(AnnotationRecord(None, image, line.number, kept))


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write ``data.yaml`` and the label files; pictures are not copied.

    Of a set of this format only the files of images change of which a class was rejected: its
    lines go. Of another one, boxes go along where the size of their picture is known, and outlines
    where every box of the image has one, as Ultralytics does not mix the two in a file.

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: A folder that does not exist yet, or is empty.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, or ``output`` exists or cannot
            be written.
    """
    new = checked_labels(annotation_set, new_labels)
    if annotation_set.format == "yolo":
        files, told = _kept_files(annotation_set, new), list(new.values())
    else:
        files, told = _fresh_files(annotation_set, new)
    with atomic_folder(output) as folder:
        for name, text in files.items():
            if leaves_root(name):
                raise InputError(f"the file {name!a:.100} would leave the folder")
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("utf-8", "replace"))
        sidecar.prepare(output)
    sidecar.write(annotation_set, told, output, summary, says_present=False)


def _kept_files(content: AnnotationSet, new: Mapping[Pair, LabelRecord]) -> dict[str, str]:
    rejected: dict[SourceId, set[SourceId]] = {}
    for (image, category), label in new.items():
        if label.state is LabelState.ABSENT:
            rejected.setdefault(image, set()).add(category)
    header = content.header
    files = {str(header.get("yaml_name") or YAML_NAMES[0]): str(header.get("yaml") or "")}
    files |= header.get("lists") or {}
    before: dict[str, str] = {}
    for one in content.images:
        text, labels = one.record.get("text"), str(one.record.get("labels"))
        if isinstance(text, str):
            files[labels] = _without(text, rejected.get(one.source_id, ()))
        before[labels] = str(one.record.get("file_name", one.file_name))
    if any(name not in files or picture_of(name) != before[name] for name in before):
        files[FILES] = json.dumps(before, ensure_ascii=False, indent=1) + "\n"
    return files


def _without(text: str, rejected: Iterable[SourceId]) -> str:
    numbers = set(rejected)
    if not numbers:
        return text
    return "".join(line for line in text.splitlines(keepends=True) if not _is_of(line, numbers))


def _is_of(line: str, numbers: set[SourceId]) -> bool:
    try:
        return parse_line(line).number in numbers
    except ValueError:
        return False


def _fresh_files(
    content: AnnotationSet, new: Mapping[Pair, LabelRecord]
) -> tuple[dict[str, str], list[LabelRecord]]:
    names, stems = category_names(content), image_stems(content.images)
    numbers = {category: number for number, category in enumerate(names)}
    labels = known_labels(content, new)
    shapes = by_image(content, labels)
    splits = {image.source_id: _split_of(image) for image in content.images}
    keys = {key: f"images/{splits[key]}/{stem}" for key, stem in stems.items()}
    files, before, written = {}, {}, set()
    for image in content.images:
        drawn = [x for x in shapes.get(image.source_id, ()) if x.share is not None]
        written |= {(image.source_id, x.category_id) for x in drawn}
        name = f"labels/{splits[image.source_id]}/{stems[image.source_id]}.txt"
        files[name] = _lines(drawn, numbers)
        before[name] = image.file_name
    document: JsonObject = {"path": "."}
    document |= {split: f"images/{split}" for split in dict.fromkeys(splits.values())}
    for needed in ("train", "val"):  # without which Ultralytics does not begin
        document.setdefault(needed, f"images/{next(iter(splits.values()), _DEFAULT_SPLIT)}")
    document["names"] = {number: names[category] for category, number in numbers.items()}
    files[YAML_NAMES[0]] = yaml.dump(
        document, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False
    )
    files[FILES] = json.dumps(before, ensure_ascii=False, indent=1) + "\n"
    told = [
        replace(label, image_id=keys[image], category_id=numbers[category])
        for (image, category), label in labels.items()
        if label.source != "import" or (image, category) in new or (image, category) not in written
    ]
    return files, told


def _split_of(image: ImageRecord) -> str:
    split = image.record.get("split")
    if not isinstance(split, str) or not split.strip():
        return _DEFAULT_SPLIT
    plain = _SPLIT_KEYS.get(split.strip().lower(), split.strip().lower())
    return plain if plain in ("train", "val", "test") else _DEFAULT_SPLIT


def _lines(shapes: Iterable[Shape], numbers: Mapping[SourceId, int]) -> str:
    drawn = list(shapes)
    outlined = all(shape.outline is not None for shape in drawn)
    lines = []
    for shape in drawn:
        number = numbers[shape.category_id]
        if outlined and shape.outline is not None:
            lines.append(outline_line(number, shape.outline))
        elif shape.share is not None:
            lines.append(box_line(number, shape.share))
    return "".join(f"{line}\n" for line in lines)
