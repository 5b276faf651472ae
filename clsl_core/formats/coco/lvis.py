"""LVIS v0.5 and v1: COCO's lists, and for each image what was looked for and not found.

Every image names two lists of categories (Gupta, Dollár, Girshick, "LVIS", CVPR 2019, §2):
``neg_category_ids`` were verified to be absent; of ``not_exhaustive_category_ids`` there are
instances, not all of them annotated. What is in neither and has no annotation is UNKNOWN.

What a pair of image and category is, in rising order of authority: nothing said; in
``neg_category_ids``; in ``not_exhaustive_category_ids``; annotated; in our list ``labels``
(see ``coco``), which alone tells where a label came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from clsl_core.formats.coco import coco
from clsl_core.formats.coco.labels import LABELS_KEY, stated_labels
from clsl_core.formats.coco.records import CocoRecords, id_of, known_id, predicted_score
from clsl_core.formats.conversion import Pair, as_coco, checked_labels
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
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

__all__ = ["NEGATIVE", "NOT_EXHAUSTIVE", "read", "write"]

NEGATIVE = "neg_category_ids"
NOT_EXHAUSTIVE = "not_exhaustive_category_ids"
_LISTS = {NEGATIVE: LabelState.ABSENT, NOT_EXHAUSTIVE: LabelState.PRESENT}


class _LvisRecords(CocoRecords):
    """COCO's records, with the file named by the last two parts of ``coco_url`` where need be."""

    def stated_file_name(self, record: JsonObject) -> object:
        stated = super().stated_file_name(record)
        return _name_in_url(record.get("coco_url")) if stated is None else stated


def read(
    path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
) -> tuple[AnnotationSet, ValidationReport]:
    """Read an LVIS file; every record is kept as it was.

    Args:
        path: The JSON file.
        absent: What a category that no list of the image names is; LVIS itself says unknown.
        progress: Told the characters read so far.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    document = read_json_object(path, findings, progress)
    records = _LvisRecords(document, findings)
    _explain_old_names(records.images, findings)
    listed = _listed_labels(document, records, findings)
    stated = stated_labels(document.get(LABELS_KEY), records, findings)
    explicit = {**listed, **records.annotated_labels(), **stated}
    return coco.content_of("lvis", document, records, explicit, findings, absent)


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the source content; what is new goes into the lists of its image and into ``labels``.

    Absent: into ``neg_category_ids``. Present without an annotation: into
    ``not_exhaustive_category_ids``. An image without a change stays as it is; a set of another
    format gets both lists for every image, as LVIS loaders want them.

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: Replaced only when everything was written.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, or ``output`` cannot be
            written.
    """
    native = annotation_set.format == "lvis"
    content, labels = annotation_set, list(new_labels)
    if annotation_set.format not in ("coco", "lvis"):
        content, labels = as_coco(content, labels)
    stated = () if native else content.labels
    labels = list(checked_labels(content, [*stated, *labels]).values())
    by_image: dict[SourceId, list[LabelRecord]] = {}
    for label in labels:
        by_image.setdefault(label.image_id, []).append(label)
    annotated = {
        (item.image_id, item.category_id)
        for item in content.annotations
        if predicted_score(item.record) is None
    }
    images = [
        _with_lists(image, by_image.get(image.source_id, ()), annotated, not native)
        for image in content.images
    ]
    quiet = not content.header.get(LABELS_KEY)
    unsaid = [label for label in labels if not (quiet and _said_by_lists(label, annotated))]
    whole = replace(content, images=images, format="coco")
    coco.write(whole, unsaid, output, summary=summary)


def _name_in_url(url: object) -> str | None:
    """``train2017/000000391895.jpg`` of ``http://…/train2017/000000391895.jpg``."""
    if not isinstance(url, str):
        return None
    try:
        parts = PurePosixPath(unquote(urlsplit(url).path)).parts[-2:]
    except ValueError:
        return None
    return "/".join(part for part in parts if part != "/") or None


def _explain_old_names(images: Iterable[ImageRecord], findings: Findings) -> None:
    """LVIS v0.5 uses the file names of COCO 2014 for the pictures of COCO 2017."""
    old = next((image for image in images if image.file_name.startswith("COCO_")), None)
    if old is not None:
        findings.warn(
            "coco-2014-name",
            "images",
            f"file names such as {old.file_name!a:.80} are those of COCO 2014 (LVIS v0.5); in a "
            f"folder of COCO 2017 that picture is called {old.file_name[-16:]!a}",
        )


def _listed_labels(
    document: JsonObject, records: CocoRecords, findings: Findings
) -> dict[Pair, LabelRecord]:
    """The labels of the two lists of every image."""
    labels: dict[Pair, LabelRecord] = {}
    images = document.get("images")
    known = {id(image.record): image.source_id for image in records.images}
    for index, record in enumerate(images if isinstance(images, list) else ()):
        if id(record) not in known:
            continue
        image_id = known[id(record)]
        for key, state in _LISTS.items():
            for place, category_id in _entries(record, key, index, findings):
                meant = known_id(category_id, records.category_ids)
                category_id = category_id if meant is None else meant  # noqa: PLW2901
                label = LabelRecord(image_id, category_id, state)
                if _usable(label, place, records, labels, findings):
                    labels[image_id, category_id] = label
    return labels


def _entries(
    record: JsonObject, key: str, index: int, findings: Findings
) -> Iterable[tuple[str, SourceId]]:
    """The category ids of one list with their addresses; what is no id is reported."""
    where, values = f"images[{index}].{key}", record.get(key)
    if values is None:
        return
    if not isinstance(values, list):
        message = f"{key} is {kind_of(values)}; a list of category ids was expected; not used"
        findings.warn("bad-category-list", where, message)
        return
    for position, value in enumerate(values):
        if (category := id_of(value)) is not None:
            yield f"{where}[{position}]", category
        else:
            message = f"found {kind_of(value)}; a category id was expected; not used"
            findings.warn("bad-category-list", f"{where}[{position}]", message)


def _usable(
    label: LabelRecord,
    where: str,
    records: CocoRecords,
    labels: Mapping[Pair, LabelRecord],
    findings: Findings,
) -> bool:
    category = f"category {label.category_id!a:.60}"
    if label.category_id not in records.category_ids:
        message = f"{category} is not in this file; the entry is kept but gives no label"
        findings.warn("missing-category", where, message)
        return False
    other = labels.get((label.image_id, label.category_id))
    if label.state is LabelState.ABSENT and records.has_annotation(label):
        message = f"{category} is said to be absent but is annotated; the annotation counts"
        findings.warn("label-against-annotation", where, message)
        return False
    if other is not None and other.state is not label.state:
        message = f"{category} is in both lists of its image; it counts as present"
        findings.warn("contradicting-labels", where, message)
    return True


def _with_lists(
    image: ImageRecord,
    labels: Iterable[LabelRecord],
    annotated: set[tuple[SourceId | None, SourceId | None]],
    complete: bool,
) -> ImageRecord:
    """The image with the labels in its lists; the same object where nothing changes."""
    before = {key: list(_list(image.record, key)) for key in _LISTS}
    after = {key: list(values) for key, values in before.items()}
    for label in labels:
        category = label.category_id
        present = label.state is LabelState.PRESENT
        to_add, other = (NOT_EXHAUSTIVE, NEGATIVE) if present else (NEGATIVE, NOT_EXHAUSTIVE)
        after[other] = [value for value in after[other] if known_id(value, (category,)) != category]
        boxed = (image.source_id, category) in annotated
        listed = any(known_id(value, (category,)) == category for value in after[to_add])
        if not listed and not boxed:
            after[to_add].append(category)
    changed = {key: after[key] for key in _LISTS if after[key] != before[key]}
    if complete:
        changed = {key: after[key] for key in _LISTS if key not in image.record} | changed
    return replace(image, record={**image.record, **changed}) if changed else image


def _list(record: JsonObject, key: str) -> list[object]:
    values = record.get(key)
    return values if isinstance(values, list) else []


def _said_by_lists(
    label: LabelRecord, annotated: set[tuple[SourceId | None, SourceId | None]]
) -> bool:
    """Whether a label has nothing to tell beyond its state, which the lists or a box tell."""
    against = (label.image_id, label.category_id) in annotated
    bare = LabelRecord(label.image_id, label.category_id, label.state)
    return label == bare and (label.state is LabelState.PRESENT or not against)
