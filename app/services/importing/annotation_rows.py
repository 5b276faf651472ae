"""The annotations of a set: new ones are added, those that differ are updated."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.services.importing.second_file import SecondFile
from app.services.importing.target import BATCH, Inserts, Target
from app.services.importing.written import Ids, Written, digest_of, update
from clsl_core.formats.coco.stored import StoredAnnotations
from clsl_core.types import AnnotationSet, JsonObject, Progress, SourceId
from db.models import Annotation
from db.queries import imported
from db.types import JsonText, json_text

__all__ = ["write_annotations"]

COLUMNS = ("dataset_id", "position", "image_id", "category_id", "record", "source_id")
_PLACES = ("object", "number")
"""Of a box that stands in its image's record: where it stands in its file."""

Pair = tuple[int | None, int | None]


def write_annotations(
    target: Target,
    dataset_id: int,
    content: AnnotationSet,
    ids: Ids,
    written: Written,
    progress: Progress,
    second: SecondFile | None,
) -> set[int]:
    """Write the annotations.

    Returns:
        Ours of those that were there and say something else now.
    """
    with target.reading() as session:
        position = imported.next_position(session, dataset_id)
    new = Inserts(target, Annotation, COLUMNS, progress, len(content.annotations))
    changed: list[JsonObject] = []
    removed: list[int] = []
    if second is None or second.terms.has_annotation_ids:
        told = _with_ids(target, dataset_id, content, ids, progress)
    else:
        told = _in_images(target, dataset_id, content, ids, second, removed)
    for before, pair, record, source_id in told:
        if before is None:
            new.add((dataset_id, position + new.count, *pair, record, source_id))
        else:
            values = {"image_id": pair[0], "category_id": pair[1], "record": record}
            changed.append({"id": before, **values})
    new.finish()
    update(target, Annotation, changed)
    if removed:
        target.do(lambda session: imported.delete_annotations(session, removed))
    written.added["annotations"], written.updated["annotations"] = new.count, len(changed)
    written.removed["annotations"] = len(removed)
    return {row["id"] for row in changed}


Told = Iterator[tuple[int | None, Pair, Any, str | None]]
"""Ours where it was there, image and category, record, and the file's own id if it is another."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A stored annotation: ours, its image, the id in its record, and a digest of that."""

    row: int
    image_id: int | None
    own_id: Any
    digest: bytes


@dataclass(slots=True)
class _Stored:
    """The stored annotations that are not letter by letter at the same place of the file.

    Attributes:
        same: For each of the file's, whether it is at its place.
        by_id: By the id in the record.
        by_source: By what their file calls them, and their image.
        by_content: By their image and all of the record but the id.
        last: The highest number among the ids.
        looked: Whether the file's ids are counted in.
        claimed: Ours of those that were found in the file.
    """

    same: bytearray
    by_id: dict[bytes, _Row] = field(default_factory=dict)
    by_source: dict[tuple[str, int | None], _Row] = field(default_factory=dict)
    by_content: dict[tuple[int | None, bytes], list[_Row]] = field(default_factory=dict)
    last: int = 0
    looked: bool = False
    claimed: set[int] = field(default_factory=set)


def _with_ids(
    target: Target, dataset_id: int, content: AnnotationSet, ids: Ids, progress: Progress
) -> Told:
    """Annotations that are records of their own: told by id and image, then by all they say."""
    stored = _differing(target, dataset_id, content, progress)
    differs = bool(stored.by_id) or stored.same.count(1) < len(content.annotations)
    seen: Counter[bytes] = Counter()
    reserved = _Reserved(content, ids)
    for index, (image_id, category_id, record) in enumerate(_rows(content) if differs else ()):
        if stored.same[index]:
            continue
        pair = _pair(ids, image_id, category_id)
        if not stored.by_id:
            yield None, pair, record, None
            continue
        plain = json.loads(record) if type(record) is JsonText else record
        taken = stored.by_id.get(_key(plain, seen))
        before = _found(stored, plain, pair[0], taken, reserved)
        if before is not None:
            stored.claimed.add(before.row)
            ours = plain if before.own_id == plain.get("id") else {**plain, "id": before.own_id}
            if before.digest != digest_of(ours):
                yield before.row, pair, ours, None
        elif taken is None:
            yield None, pair, record, None
        else:  # of another picture, from a file that counts for itself
            free = {**plain, "id": _free_id(stored, content, plain.get("id"))}
            yield None, pair, free, json_text(plain.get("id"))


class _Reserved:
    """Which ids the file gives to annotations of which images; looked up when first asked."""

    def __init__(self, content: AnnotationSet, ids: Ids) -> None:
        self._content, self._ids = content, ids
        self._pairs: set[tuple[str, int | None]] | None = None

    def __contains__(self, row: _Row) -> bool:
        if self._pairs is None:
            self._pairs = {
                (json_text(one.record.get("id")), _pair(self._ids, one.image_id, None)[0])
                for one in self._content.annotations
            }
        return (json_text(row.own_id), row.image_id) in self._pairs


def _found(
    stored: _Stored,
    record: JsonObject,
    image_id: int | None,
    same_id: _Row | None,
    reserved: _Reserved,
) -> _Row | None:
    """The stored annotation that one of the file is, if there is one."""
    known = stored.by_source.get((json_text(record.get("id")), image_id))
    if known is None and same_id is not None and same_id.image_id in (None, image_id):
        known = same_id
    if known is not None and known.row not in stored.claimed:
        return known
    alike = stored.by_content.get((image_id, _digest_but_id(record)), [])
    return next((x for x in alike if x.row not in stored.claimed and x not in reserved), None)


def _digest_but_id(record: JsonObject) -> bytes:
    return digest_of({key: value for key, value in record.items() if key != "id"})


def _free_id(stored: _Stored, content: AnnotationSet, wanted: Any) -> Any:
    """An id that no annotation of the dataset or the file has."""
    if not stored.looked:
        numbers = (one.record.get("id") for one in content.annotations)
        top = max((id_ for id_ in numbers if isinstance(id_, int)), default=0)
        stored.last, stored.looked = max(stored.last, top), True
    stored.last += 1
    return f"{wanted}_{stored.last}" if isinstance(wanted, str) else stored.last


def _in_images(
    target: Target,
    dataset_id: int,
    content: AnnotationSet,
    ids: Ids,
    second: SecondFile,
    removed: list[int],
) -> Told:
    """Annotations that stand in their image's record: told by image, category and order."""
    redrawn = {ids[0][source_id] for source_id in second.redrawn}
    spoken = {ids[1][category.source_id] for category in content.categories}
    old: dict[Pair, list[tuple[int, bytes]]] = defaultdict(list)
    with target.reading() as session:
        for row, image, category, text in imported.drawn(session, dataset_id):
            if image in redrawn and category in spoken:
                digest = digest_of(_placeless(json.loads(text)))
                old[image, category].append((row, digest))
    for rows in old.values():
        rows.reverse()
    for image_id, category_id, record in _rows(content):
        pair = _pair(ids, image_id, category_id)
        waiting = old.get(pair)
        if not waiting:
            yield None, pair, record, None
            continue
        before, digest = waiting.pop()
        if digest != digest_of(_placeless(record)):
            yield before, pair, record, None
    removed += [id_ for rows in old.values() for id_, _ in rows]


def _pair(ids: Ids, image_id: SourceId | None, category_id: SourceId | None) -> Pair:
    return (
        None if image_id is None else ids[0].get(image_id),
        None if category_id is None else ids[1].get(category_id),
    )


def _placeless(record: JsonObject) -> JsonObject:
    return {key: value for key, value in record.items() if key not in _PLACES}


def _differing(
    target: Target, dataset_id: int, content: AnnotationSet, progress: Progress
) -> _Stored:
    """Compare the stored annotations with those at the same places of the file.

    Most of a file that comes again is the same, letter by letter and in the same order: of that
    nothing is parsed or held in memory.
    """
    total = len(content.annotations)
    found, seen = _Stored(bytearray(total)), Counter[bytes]()
    rows = _rows(content)
    with target.reading() as session:
        for done, (id_, image_id, text, source_id) in enumerate(
            imported.annotations_with_source(session, dataset_id)
        ):
            row = next(rows, None)
            if row is not None and text == _stored_text(row[2]):
                found.same[done] = 1
            else:
                _note(found, seen, (id_, image_id, source_id), json.loads(text))
            if done % BATCH == 0:
                progress(done, max(total, done), "comparing annotations")
    return found


def _note(
    found: _Stored,
    seen: Counter[bytes],
    row: tuple[int, int | None, str | None],
    record: JsonObject,
) -> None:
    id_, image_id, source_id = row
    own = record.get("id")
    known = _Row(id_, image_id, own, digest_of(record))
    found.by_id[_key(record, seen)] = known
    found.by_content.setdefault((image_id, _digest_but_id(record)), []).append(known)
    if source_id is not None:
        found.by_source[source_id, image_id] = known
    if isinstance(own, int):
        found.last = max(found.last, own)


def _key(record: JsonObject, seen: Counter[bytes]) -> bytes:
    """A key for a record: its id, or its content where it has none; repeats are numbered."""
    text = json.dumps(record.get("id", record), sort_keys=True)
    plain = hashlib.blake2b(text.encode(), digest_size=12).digest()
    seen[plain] += 1
    return plain + seen[plain].to_bytes(4)


def _stored_text(record: Any) -> str:
    """A record as it stands in the database."""
    return record if type(record) is JsonText else json_text(record)


def _rows(content: AnnotationSet) -> Iterator[tuple[SourceId | None, SourceId | None, Any]]:
    """Image id, category id and what is to be stored as the record."""
    if isinstance(content.annotations, StoredAnnotations):
        for image_id, category_id, record in content.annotations.rows():
            yield image_id, category_id, JsonText(record) if isinstance(record, str) else record
    else:
        for annotation in content.annotations:
            yield annotation.image_id, annotation.category_id, annotation.record
