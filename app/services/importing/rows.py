"""The rows of an annotation set: new ones are added, those that differ are updated."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.services.importing.target import BATCH, Inserts, Target
from clsl_core.formats.coco.stored import PairLabels, StoredAnnotations
from clsl_core.formats.text.record_store import LazyRecords
from clsl_core.types import (
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    JsonObject,
    LabelSource,
    LabelState,
    Progress,
    SourceId,
)
from db.models import Annotation, Category, Image, ImageStatus, Label
from db.queries import category_changes, datasets, imported
from db.queries.bulk import update_rows
from db.types import JsonText, json_text

__all__ = ["MissingFile", "Written", "stated_split", "write_rows"]

PLACE = ("dataset_id", "source_id", "position")
IMAGE = ("file_name", "width", "height", "record", "split", "status", "reason", "problem")
CATEGORY = ("name", "supercategory", "record")
ANNOTATION = ("dataset_id", "position", "image_id", "category_id", "record")
LABEL = ("image_id", "category_id", "state", "source", "provenance")
EXAMPLES = 20
SOURCES = frozenset(LabelSource)

Ids = tuple[dict[SourceId, int], dict[SourceId, int]]
"""From the file's ids to ours: of images, of categories."""


class MissingFile(NamedTuple):
    """Why a picture cannot be reached."""

    reason: str
    message: str


@dataclass(slots=True)
class Written:
    """What was done: records added and updated by table; labels left as a person decided.

    Attributes:
        kept: The first of those labels: image and category as the file calls them, its state.
    """

    added: dict[str, int] = field(default_factory=dict)
    updated: dict[str, int] = field(default_factory=dict)
    kept_human: int = 0
    kept: list[tuple[SourceId, SourceId, LabelState]] = field(default_factory=list)


def write_rows(
    target: Target,
    dataset_id: int,
    content: AnnotationSet,
    problems: Mapping[SourceId, MissingFile],
    progress: Progress,
) -> Written:
    """Write a set into a dataset; nothing there is deleted, nothing that people decided changed.

    Args:
        target: Where to.
        dataset_id: The dataset, which exists.
        content: What to bring in.
        problems: Images whose file cannot be reached.
        progress: Told of the rows handed over; what it raises ends the writing.
    """
    written = Written()
    images = _write_images(target, dataset_id, content, problems, written, progress)
    categories = _write_categories(target, dataset_id, content, written, progress)
    ids = (images, categories)
    _write_annotations(target, dataset_id, content, ids, written, progress)
    _write_labels(target, content, ids, written, progress)
    return written


def _key(source_id: SourceId) -> str:
    return json.dumps(source_id)


def _plain(text: str) -> str:
    """Text that every database stores: lone surrogates and NUL become U+FFFD."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _write_images(
    target: Target,
    dataset_id: int,
    content: AnnotationSet,
    problems: Mapping[SourceId, MissingFile],
    written: Written,
    progress: Progress,
) -> dict[SourceId, int]:
    with target.reading() as session:
        old = {
            row.key: (row.id, row.reason, _digest(row.record), row.file_name)
            for row in imported.images(session, dataset_id)
        }
    new = Inserts(target, Image, PLACE + IMAGE, progress, len(content.images))
    changed: list[JsonObject] = []
    for image, text in _with_text(content.images):
        key, error = _key(image.source_id), problems.get(image.source_id)
        row: JsonObject = {
            "file_name": _plain(image.file_name),
            "width": image.width,
            "height": image.height,
            "record": text,
            "split": stated_split(image.record),
        }
        found: JsonObject = {
            "status": ImageStatus.PROBLEM if error else ImageStatus.UNCHECKED,
            "reason": error.reason if error else None,
            "problem": _plain(error.message) if error else None,
        }
        before = old.get(key)
        if before is None:
            position = len(old) + new.count
            new.add((dataset_id, key, position, *row.values(), *found.values()))
        elif before[2] != _digest(image.record):
            if row["split"] is None:
                del row["split"]  # the one given here stays
            changed.append({"id": before[0], **row, **found, "fingerprint": None})
        elif _reachable(before[1]) != _reachable(found["reason"]) or before[3] != row["file_name"]:
            changed.append({"id": before[0], "file_name": row["file_name"], **found})
    new.finish()
    _update(target, Image, changed)
    written.added["images"], written.updated["images"] = new.count, len(changed)
    return _ids(target, Image, dataset_id, content.images)


def _with_text(images: Sequence[ImageRecord]) -> Iterator[tuple[ImageRecord, Any]]:
    """Images with what is to be stored as their record: the file's own text where it stands."""
    if not isinstance(images, LazyRecords):
        yield from ((image, image.record) for image in images)
        return
    kept = images.store.kept
    for index, (image, text) in enumerate(zip(images, images.store.texts(), strict=True)):
        yield image, image.record if index in kept else JsonText(text)


def _ids(
    target: Target,
    table: type[Image] | type[Category],
    dataset_id: int,
    records: Sequence[ImageRecord | CategoryRecord],
) -> dict[SourceId, int]:
    with target.reading() as session:
        rows = imported.keys(session, table, dataset_id)
        ids: dict[SourceId, int] = {json.loads(key): id_ for key, id_ in rows}
    if target.rehearses:  # what is new was not written: any id will do that is nobody's
        for index, source_id in enumerate(record.source_id for record in records):
            ids.setdefault(source_id, -1 - index)
    return ids


def stated_split(record: JsonObject) -> str | None:
    """The part of the collection that a record says the image belongs to."""
    split = record.get("split")
    return _plain(split)[:100] if isinstance(split, str) and split else None


def _reachable(reason: str | None) -> bool:
    """Whether looking for the file (not decoding it) would have succeeded."""
    return reason not in ("missing", "unsafe-path")


def _write_categories(
    target: Target, dataset_id: int, content: AnnotationSet, written: Written, progress: Progress
) -> dict[SourceId, int]:
    with target.reading() as session:
        old = {row.source_id: row for row in datasets.categories(session, dataset_id, hidden=True)}
        renamed = category_changes.renamed(session, dataset_id) if old else set()
    new = Inserts(target, Category, PLACE + CATEGORY, progress, len(content.categories))
    changed: list[JsonObject] = []
    for category in content.categories:
        key = _key(category.source_id)
        row: JsonObject = {
            "name": _plain(category.name),
            "supercategory": _plain(category.supercategory) if category.supercategory else None,
            "record": category.record,
        }
        before = old.get(key)
        if before is None:
            position = len(old) + new.count
            new.add((dataset_id, key, position, *row.values()))
        elif not _same(before.record, category.record):
            if before.id in renamed:
                row["name"] = before.name
            changed.append({"id": before.id, **row})
    new.finish()
    _update(target, Category, changed)
    written.added["categories"], written.updated["categories"] = new.count, len(changed)
    return _ids(target, Category, dataset_id, content.categories)


def _annotation_key(record: JsonObject, seen: Counter[bytes]) -> bytes:
    """A key for a record: its id, or its content where it has none; repeats are numbered."""
    text = json.dumps(record.get("id", record), sort_keys=True)
    plain = hashlib.blake2b(text.encode(), digest_size=12).digest()
    seen[plain] += 1
    return plain + seen[plain].to_bytes(4)


def _write_annotations(
    target: Target,
    dataset_id: int,
    content: AnnotationSet,
    ids: Ids,
    written: Written,
    progress: Progress,
) -> None:
    old, same, stored = _differing(target, dataset_id, content, progress)
    total = len(content.annotations)
    new = Inserts(target, Annotation, ANNOTATION, progress, total)
    changed: list[JsonObject] = []
    seen: Counter[bytes] = Counter()
    rows = _annotation_rows(content) if old or same.count(1) < total else iter(())
    for index, (image_id, category_id, record) in enumerate(rows):
        if same[index]:
            continue
        pair = (
            None if image_id is None else ids[0].get(image_id),
            None if category_id is None else ids[1].get(category_id),
        )
        before, digest = None, b""
        if old:
            plain = json.loads(record) if type(record) is JsonText else record
            before, digest = old.get(_annotation_key(plain, seen)), _digest(plain)
        if before is None:
            new.add((dataset_id, stored + new.count, *pair, record))
        elif before[1] != digest:
            changed.append(
                {"id": before[0], "image_id": pair[0], "category_id": pair[1], "record": record}
            )
    new.finish()
    _update(target, Annotation, changed)
    written.added["annotations"], written.updated["annotations"] = new.count, len(changed)


def _differing(
    target: Target, dataset_id: int, content: AnnotationSet, progress: Progress
) -> tuple[dict[bytes, tuple[int, bytes]], bytearray, int]:
    """Compare the stored annotations with those at the same places of the file.

    Most of a file that comes again is the same, letter by letter and in the same order: of that
    nothing is parsed or held in memory.

    Returns:
        Id and digest of the stored records that are not at their place, by key; for each of the
        file's whether it is; and how many are stored.
    """
    total = len(content.annotations)
    old: dict[bytes, tuple[int, bytes]] = {}
    same, seen, stored = bytearray(total), Counter[bytes](), 0
    rows = _annotation_rows(content)
    with target.reading() as session:
        for id_, text in imported.annotation_texts(session, dataset_id):
            row = next(rows, None)
            if row is not None and text == _stored_text(row[2]):
                same[stored] = 1
            else:
                record = json.loads(text)
                old[_annotation_key(record, seen)] = (id_, _digest(record))
            stored += 1
            if stored % BATCH == 0:
                progress(stored, max(total, stored), "comparing annotations")
    return old, same, stored


def _stored_text(record: Any) -> str:
    """A record as it stands in the database."""
    return record if type(record) is JsonText else json_text(record)


def _annotation_rows(
    content: AnnotationSet,
) -> Iterator[tuple[SourceId | None, SourceId | None, Any]]:
    """Image id, category id and what is to be stored as the record."""
    if isinstance(content.annotations, StoredAnnotations):
        for image_id, category_id, record in content.annotations.rows():
            yield image_id, category_id, JsonText(record) if isinstance(record, str) else record
    else:
        for annotation in content.annotations:
            yield annotation.image_id, annotation.category_id, annotation.record


def _write_labels(
    target: Target,
    content: AnnotationSet,
    ids: Ids,
    written: Written,
    progress: Progress,
) -> None:
    """Labels of the file; what a person decided here is kept."""
    kinds: dict[Any, Any] = {}  # each pair of state and source is held once, not a million times
    with target.reading() as session:
        old = {
            image_id << 32 | category_id: kinds.setdefault((state, source), (state, source))
            for image_id, category_id, state, source in imported.labels(session, ids[1].values())
        }
    new = Inserts(target, Label, LABEL, progress, len(content.labels))
    changed: list[JsonObject] = []
    for image_id, category_id, state, source, provenance in _label_rows(content):
        pair = (ids[0][image_id], ids[1][category_id])
        before = old.get(pair[0] << 32 | pair[1])
        if before is None:
            new.add((*pair, state, source, provenance))
        elif before[0] != state and before[1] is not LabelSource.IMPORT:
            written.kept_human += 1
            if len(written.kept) < EXAMPLES:
                written.kept.append((image_id, category_id, state))
        elif before[0] != state:
            changed.append(
                {"image_id": pair[0], "category_id": pair[1], "state": state, "source": source}
            )
    new.finish()
    _update(target, Label, changed)
    written.added["labels"], written.updated["labels"] = new.count, len(changed)


def _label_rows(
    content: AnnotationSet,
) -> Iterator[tuple[SourceId, SourceId, LabelState, LabelSource, JsonObject | None]]:
    """Image id, category id, state, source, and what else the file says of where it is from."""
    if isinstance(content.labels, PairLabels):
        for image_id, category_id in content.labels.pairs():
            yield image_id, category_id, LabelState.PRESENT, LabelSource.IMPORT, None
        return
    for label in content.labels:
        source = LabelSource(label.source) if label.source in SOURCES else LabelSource.IMPORT
        provenance = {
            key: value
            for key in ("source", "model_run", "score", "annotator", "decided_at")
            if (value := getattr(label, key)) not in (None, str(LabelSource.IMPORT))
        }
        yield label.image_id, label.category_id, label.state, source, provenance or None


def _same(one: JsonObject, other: JsonObject) -> bool:
    """Whether two records are equal, key order included."""
    return json.dumps(one) == json.dumps(other)


def _digest(record: JsonObject) -> bytes:
    """Differs when two records do, key order included."""
    return hashlib.blake2b(json.dumps(record).encode(), digest_size=16).digest()


def _update(target: Target, table: type[Any], rows: list[JsonObject]) -> None:
    if rows:
        target.do(lambda session: update_rows(session, table, rows))
