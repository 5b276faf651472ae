"""The rows of an annotation set: new ones are added, those that differ are updated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from app.services.importing.annotation_rows import write_annotations
from app.services.importing.label_rows import take_back, write_labels
from app.services.importing.second_file import SecondFile
from app.services.importing.target import Inserts, Target
from app.services.importing.written import Ids, NameChange, Written, digest_of, update
from clsl_core.formats.text.record_store import LazyRecords
from clsl_core.types import (
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    JsonObject,
    Progress,
    SourceId,
)
from db.models import Category, Image, ImageStatus
from db.queries import category_changes, datasets, imported
from db.types import JsonText

__all__ = ["MissingFile", "stated_split", "write_rows"]

PLACE = ("dataset_id", "source_id", "position")
IMAGE = ("file_name", "width", "height", "record", "split", "status", "reason", "problem")
CATEGORY = ("name", "supercategory", "record")


class MissingFile(NamedTuple):
    """Why a picture cannot be reached."""

    reason: str
    message: str


def write_rows(
    target: Target,
    dataset_id: int,
    content: AnnotationSet,
    problems: Mapping[SourceId, MissingFile],
    progress: Progress,
    second: SecondFile | None = None,
) -> Written:
    """Write a set into a dataset; nothing that people decided is changed.

    Args:
        target: Where to.
        dataset_id: The dataset, which exists.
        content: What to bring in, with the dataset's ids.
        problems: Images whose file cannot be reached.
        progress: Told of the rows handed over; what it raises ends the writing.
        second: What the file is to a dataset that was there before.
    """
    written = Written()
    images = _write_images(target, dataset_id, content, problems, written, progress, second)
    categories = _write_categories(target, dataset_id, content, written, progress)
    ids: Ids = (images, categories)
    changed = write_annotations(target, dataset_id, content, ids, written, progress, second)
    unstated = write_labels(target, content, ids, written, progress)
    if second is not None and unstated:
        with target.reading() as session:
            declared = any(_declared(one.declared) for one in imported.sources(session, dataset_id))
        take_back(target, unstated, ids, second, changed, declared=declared, written=written)
    return written


def _declared(said: JsonObject) -> bool:
    """Whether a file was declared exhaustive, or nobody knows any more whether it was."""
    exhaustive = said.get("exhaustive", ())
    whole = said.get("absent") == "negative" or said.get("empty") == "absent"
    return whole or exhaustive is None or bool(exhaustive)


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
    second: SecondFile | None,
) -> dict[SourceId, int]:
    renamed = {_key(old): _key(new) for old, new in (second.renamed if second else {}).items()}
    with target.reading() as session:
        old = {
            renamed.get(row.key, row.key): (
                row.id,
                row.reason,
                digest_of(row.record),
                row.file_name,
            )
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
        elif before[2] != digest_of(image.record) or before[3] != row["file_name"]:
            if row["split"] is None:
                del row["split"]  # the one given here stays
            if before[3] != row["file_name"]:
                written.pictures.append(NameChange(before[0], before[3], row["file_name"]))
            if renamed:
                row["source_id"] = key
            changed.append({"id": before[0], **row, **found, "fingerprint": None})
        elif _reachable(before[1]) != _reachable(found["reason"]) or before[3] != row["file_name"]:
            changed.append({"id": before[0], "file_name": row["file_name"], **found})
    new.finish()
    update(target, Image, changed)
    written.added["images"], written.updated["images"] = new.count, len(changed)
    return _ids(target, Image, dataset_id, content.images, renamed)


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
    renamed: Mapping[str, str],
) -> dict[SourceId, int]:
    with target.reading() as session:
        rows = imported.keys(session, table, dataset_id)
        ids: dict[SourceId, int] = {json.loads(renamed.get(key, key)): id_ for key, id_ in rows}
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
            if before.name != row["name"]:
                written.words.append(NameChange(before.id, before.name, row["name"]))
            changed.append({"id": before.id, **row})
    new.finish()
    update(target, Category, changed)
    written.added["categories"], written.updated["categories"] = new.count, len(changed)
    return _ids(target, Category, dataset_id, content.categories, {})


def _same(one: JsonObject, other: JsonObject) -> bool:
    """Whether two records are equal, key order included."""
    return json.dumps(one) == json.dumps(other)
