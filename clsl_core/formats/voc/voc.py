"""PASCAL VOC: a folder with ``Annotations/*.xml`` and ``ImageSets/Main/*.txt``.

What a pair of image and category is, in rising order of authority: nothing said; an object in
the XML; a line in the lists (see ``voc_sets``), ``-1`` meaning absent. An object marked
``difficult`` and nothing but that, or a line ``0``, is told by the policy. File names are those of
the XML, relative to ``JPEGImages``.

XML files may lie in folders (``Annotations/cam1/0001.xml``): an image is known by its path without
the ending. They may also lie beside the pictures, in a folder for each split.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Literal

from clsl_core.errors import InputError
from clsl_core.formats import sidecar
from clsl_core.formats.coco.records import leaves_root
from clsl_core.formats.conversion import checked_labels
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.splits import split_of_folder
from clsl_core.formats.text.folder_output import atomic_folder
from clsl_core.formats.text.folder_source import check_folder
from clsl_core.formats.text.json_source import text_of
from clsl_core.formats.text.xml_source import MAX_BYTES, Element, XmlError, parse_xml
from clsl_core.formats.voc.fresh import fresh_files
from clsl_core.formats.voc.pictures import Pictures
from clsl_core.formats.voc.sets import ImageSets
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

__all__ = ["Difficult", "read", "write"]

Difficult = Literal["ignore", "present", "absent"]
"""What a category of only difficult objects is: unknown, present or absent."""

_BARE = "bare"
"""The key of a header that says that the XML files lie beside the pictures."""

_POLICY = {
    "ignore": LabelState.UNKNOWN,
    "present": LabelState.PRESENT,
    "absent": LabelState.ABSENT,
}


def read(
    path: Path,
    *,
    absent: Absent = "unknown",
    progress: Progress = no_progress,
    difficult: Difficult = "ignore",
) -> tuple[AnnotationSet, ValidationReport]:
    """Read a VOC folder, or a folder of VOC's XML files.

    Args:
        path: The folder that holds ``Annotations``, or that folder itself.
        absent: What a category is of which neither XML nor lists say anything.
        progress: Told the XML files read so far.
        difficult: What a category of only difficult objects is.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    folder = _annotation_folder(path, findings)
    builder = SetBuilder("voc", findings)
    beside = path / "JPEGImages"
    pictures = Pictures.below(beside if beside.is_dir() or folder != path else path)
    files = _listed(folder, ".xml", findings)
    for done, file in enumerate(files):
        if done % 500 == 0:
            progress(done, len(files), "reading XML files")
        place = file.relative_to(folder)
        _read_xml(file, place, pictures, _POLICY[difficult], builder, findings)
        if folder == path:
            _split_by_folder(place, builder)
    lists = _listed(path / "ImageSets" / "Main", ".txt", findings)
    sets = ImageSets({file.name: text_of_list(file, findings) for file in lists})
    _read_sets(sets, pictures, _POLICY[difficult], builder, findings)
    header: JsonObject = {"image_sets": sets.texts}
    if folder == path:
        header[_BARE] = True
    return builder.finish(header, absent, path)


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write a VOC folder: XML files as they were, what is new in the lists.

    Pictures are not copied. Where labels came from is told beside the folder (see ``sidecar``).

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
    if annotation_set.format == "voc":
        told = list(new.values())
        documents = dict(_kept_documents(annotation_set))
        sets = ImageSets(annotation_set.header.get("image_sets") or {})
        _add_to_sets(sets, told)
    else:
        documents, sets, told = fresh_files(annotation_set, new)
    with atomic_folder(output) as folder:
        bare = annotation_set.format == "voc" and annotation_set.header.get(_BARE)
        annotations = folder if bare else folder / "Annotations"
        lists = folder / "ImageSets" / "Main"
        annotations.mkdir(exist_ok=True)
        if sets.texts or not bare:
            lists.mkdir(parents=True)
        for name, raw in documents.items():
            file = annotations / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(raw)
        for name, text in sets.texts.items():
            (lists / name).write_bytes(text.encode("utf-8", "replace"))
        sidecar.prepare(output)
    sidecar.write(annotation_set, told, output, summary, says_absent=True)


def text_of_list(file: Path, findings: Findings) -> str:
    """The text of a list, which may be empty."""
    return text_of(file, findings, file.name) if file.stat().st_size else ""


def _annotation_folder(path: Path, findings: Findings) -> Path:
    folder = path / "Annotations"
    check_folder(path, findings, "Annotations")
    lists = path / "ImageSets" / "Main"
    if not folder.is_dir() and not lists.is_dir() and not any(path.rglob("*.xml")):
        message = f"{path} holds neither Annotations/*.xml nor ImageSets/Main/*.txt"
        findings.refuse("not-voc", "file", message)
    return path if not folder.is_dir() and any(path.rglob("*.xml")) else folder


def _listed(folder: Path, suffix: str, findings: Findings) -> list[Path]:
    """The regular files of a folder and below it with that ending, by path."""
    if not folder.is_dir():
        return []
    try:
        files = [file for file in folder.rglob("*") if file.suffix.lower() == suffix]
    except OSError as error:
        findings.refuse("unreadable-file", folder.name, f"cannot be listed: {error}")
    return sorted(file for file in files if file.is_file())


def _split_by_folder(place: PurePath, builder: SetBuilder) -> None:
    """Note the split where XML files lie in a folder for each."""
    image, split = builder.images.get(_id_of(place)), split_of_folder(place.as_posix())
    if image is not None and split is not None:
        image.record["split"] = split


def _id_of(place: PurePath) -> str:
    return place.with_suffix("").as_posix()


def _read_xml(
    file: Path,
    place: PurePath,
    pictures: Pictures,
    policy: LabelState,
    builder: SetBuilder,
    findings: Findings,
) -> None:
    where, key = f"{file.parents[len(place.parts) - 1].name}/{place.as_posix()}", _id_of(place)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise XmlError(f"larger than {MAX_BYTES:,} bytes", 1)
        raw = file.read_bytes()
        root = parse_xml(raw)
    except XmlError as error:
        findings.error("bad-xml", f"{where} line {error.line}", f"{error}; mend or remove it")
        return
    except OSError as error:
        findings.error("unreadable-file", where, f"cannot be opened: {error.strerror}")
        return
    if root.name != "annotation":
        message = f"the document is <{root.name:.40}>; <annotation> was expected"
        findings.error("not-voc", f"{where} line {root.line}", message)
        return
    name = pictures.of(key, root.text_of("filename"), where, findings)
    sides = (_side(root.text_of("size", "width")), _side(root.text_of("size", "height")))
    record = {"file_name": name, **_kept(raw)}
    image = builder.image(where, name, record, source_id=key, size=sides)
    if image is not None:
        _read_objects(root, where, image, policy, builder, findings)


def _kept(raw: bytes) -> JsonObject:
    """The document as text, from which its bytes can be made again."""
    try:
        return {"xml": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"xml": raw.decode("latin-1"), "encoding": "latin-1"}


def _kept_documents(content: AnnotationSet) -> Iterator[tuple[str, bytes]]:
    for image in content.images:
        text = image.record.get("xml")
        if isinstance(text, str):
            if leaves_root(str(image.source_id)):
                raise InputError(f"the image {image.source_id!a:.100} would leave the folder")
            raw = text.encode(image.record.get("encoding", "utf-8"), "replace")
            yield f"{image.source_id}.xml", raw


def _read_objects(
    root: Element,
    where: str,
    image: SourceId,
    policy: LabelState,
    builder: SetBuilder,
    findings: Findings,
) -> None:
    for element in root.children:
        if element.name != "object":
            continue
        place = f"{where} line {element.line}"
        category = builder.category(place, element.text_of("name"))
        if category is None:
            continue
        hard = element.text_of("difficult") in ("1", "true")
        number = len(builder.annotations)
        record: JsonObject = {"image": image, "object": number, "category": category}
        if hard:
            record["difficult"] = True
        if (box := _box(element.child("bndbox"))) is not None:
            record["bbox"] = box
        elif element.child("bndbox") is not None:
            findings.warn("bad-box", place, "the <bndbox> has no four numbers; no box is shown")
        builder.annotations.append(AnnotationRecord(None, image, category, record))
        state = policy if hard else LabelState.PRESENT
        pair = (image, category)
        if state is not LabelState.UNKNOWN and (not hard or pair not in builder.labels):
            builder.labels[pair] = LabelRecord(image, category, state)


def _box(element: Element | None) -> list[float] | None:
    """``x, y, width, height``, from 0; VOC counts pixels from 1 and includes the last one."""
    if element is None:
        return None
    try:
        left, top, right, bottom = (
            float(element.text_of(side)) for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        return None
    box = [left - 1, top - 1, right - left + 1, bottom - top + 1]
    return box if all(map(math.isfinite, box)) else None


def _side(text: str) -> int | None:
    usable = text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0
    return int(text) if usable else None


def _read_sets(
    sets: ImageSets,
    pictures: Pictures,
    policy: LabelState,
    builder: SetBuilder,
    findings: Findings,
) -> None:
    drawn = dict(builder.labels)
    for name, split, images in sets.split_lists():
        for image in images:
            _image_of_list(f"ImageSets/Main/{name}", image, pictures, builder)
            if image in builder.images:
                builder.images[image].record.setdefault("split", split)
    for category in sets.categories:
        builder.category("ImageSets/Main", category)
    states = {1: LabelState.PRESENT, -1: LabelState.ABSENT, 0: policy}
    for where, category, image, value in sets.lines(findings):
        _image_of_list(where, image, pictures, builder)
        if image not in builder.images or category not in builder.categories:
            continue
        label, pair = LabelRecord(image, category, states[value]), (image, category)
        if drawn.get(pair) and label.state is LabelState.ABSENT:
            message = f"{category!a:.80} is absent here, but the XML has it; the list counts"
            findings.warn("label-against-annotation", where, message)
            del drawn[pair]
            builder.labels.pop(pair, None)
        if label.state is not LabelState.UNKNOWN:
            builder.label(where, label)


def _image_of_list(where: str, image: str, pictures: Pictures, builder: SetBuilder) -> None:
    if image not in builder.images:
        name = pictures.by_stem.get(image, f"{image}.jpg")
        builder.image(where, name, {"file_name": name}, source_id=image)


def _add_to_sets(sets: ImageSets, labels: Iterable[LabelRecord]) -> None:
    by_category: dict[str, dict[str, int]] = {}
    for label in labels:
        values = by_category.setdefault(str(label.category_id), {})
        values[str(label.image_id)] = label.state.value
    for category, values in by_category.items():
        sets.set_values(category, values)
