"""Bringing an annotation file into the database: all of it, or nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.services.jobs import JobContext
from app.services.workspace import Workspace
from clsl_core.errors import FormatError, ImageError, InputError, NotFoundError
from clsl_core.formats import get_format
from clsl_core.formats.coco_stored import StoredAnnotations
from clsl_core.formats.detect import Detected, detect
from clsl_core.formats.record_store import LazyRecords
from clsl_core.images import LocalImages
from clsl_core.types import (
    AnnotationSet,
    ImageRecord,
    JsonObject,
    LabelSource,
    Progress,
    SourceId,
    ValidationReport,
    no_progress,
)
from db.models import Annotation, Category, Dataset, Image, ImageStatus, Label
from db.queries import datasets as queries
from db.types import JsonText

AUTO = "auto"
"""In place of a format's name: find it from the content."""
BATCH = 5_000
CACHE_MEGABYTES = 48
"""For the indexes of a million rows, which grow at random places."""
SHOWN = 50
SOURCES = frozenset(LabelSource)
STREAMED = {"yield_per": BATCH}
"""So that a result is not held as a whole beside what is made of it."""

Ids = tuple[dict[SourceId, int], dict[SourceId, int]]
"""From the file's ids to ours: of images, of categories."""


class MissingFile(NamedTuple):
    """Why a picture cannot be reached."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to bring in.

    Attributes:
        file: The annotation file.
        image_root: The folder that its file names are relative to.
        name: The dataset; made when new, added to when it exists.
        format: Name of the file's format, or AUTO.
        absent: Whether a missing annotation means UNKNOWN or ABSENT.
    """

    file: str
    image_root: str
    name: str
    format: str = AUTO
    absent: Literal["unknown", "negative"] = "unknown"

    def to_json(self) -> JsonObject:
        """As a job's payload."""
        return asdict(self)


@dataclass(slots=True)
class ImportResult:
    """What an import did. ``added`` and ``updated`` count records by table."""

    dataset_id: int
    dataset: str
    added: dict[str, int] = field(default_factory=dict)
    updated: dict[str, int] = field(default_factory=dict)
    kept_human: int = 0
    problem_images: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything in the database is different now."""
        return any(self.added.values()) or any(self.updated.values())

    @property
    def message(self) -> str:
        """One sentence for the person who asked."""
        if not self.changed:
            return f"nothing changed: {self.dataset!r} already holds everything in this file"
        parts = [f"{count} {table}" for table, count in self.added.items() if count]
        text = "added " + ", ".join(parts) if parts else "added nothing"
        changes = [f"{count} {table}" for table, count in self.updated.items() if count]
        return text + (f"; updated {', '.join(changes)}" if changes else "")


def check_name(name: str) -> str:
    """A dataset name as it is stored.

    Raises:
        InputError: Empty, too long, or with control characters.
    """
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InputError(
            f"{name[:40]!r} cannot be a dataset name: use 1 to 100 printable characters"
        )
    return name


def check_image_root(root: str) -> Path:
    """The folder of the pictures, absolute.

    Raises:
        InputError: It is not a folder.
    """
    path = Path(root).expanduser().absolute()
    if not path.is_dir():
        raise InputError(f"the image folder {root!r} is not a folder: give the one that holds it")
    return path


def recognise(file: Path, format_name: str = AUTO) -> Detected:
    """The format of a file or folder: as it was named, or from what is in it.

    Raises:
        NotFoundError: There is no such file, or no such format.
        FormatError: It looks like no format that is known.
    """
    if not file.exists():
        raise NotFoundError(f"there is no file {str(file)!r}")
    if format_name == AUTO:
        try:
            return detect(file)
        except FormatError:
            if file.suffix.lower() != ".json" or not file.is_file():
                raise
            # Its report says what is wrong with it, and where.
            return Detected("coco", "it ends in .json, and nothing tells another format")
    return Detected(get_format(format_name).name, "it was named")


def validate(file: Path, format_name: str = AUTO) -> ValidationReport:
    """Every problem of a file, without touching the database.

    Raises:
        NotFoundError: There is no such file, or no such format.
        FormatError: The format is to be found, and it looks like none.
    """
    return get_format(recognise(file, format_name).format).validate(file)


def problem_lines(report: ValidationReport) -> list[str]:
    """The first problems of a report, one line each, and how many more there are."""
    shown = [f"{p.severity.value}: {p.where}: {p.message}" for p in report.problems[:SHOWN]]
    more = len(report.problems) - len(shown)
    return [*shown, f"… and {more} more: `clsl validate FILE --json`"] if more else shown


def import_file(
    workspace: Workspace,
    request: ImportRequest,
    progress: Progress = no_progress,
    while_writing: Progress = no_progress,
) -> ImportResult:
    """Read a file and bring it in within one transaction.

    A second import adds what is new and updates what differs; it deletes nothing and leaves
    what people decided alone.

    Args:
        workspace: Where to.
        request: What to bring in.
        progress: Told how far reading is.
        while_writing: Told how far writing is, within the transaction: it must not write to the
            database. What it raises takes everything back.

    Raises:
        FormatError: The file cannot be used; the report lists every reason.
        InputError: The name or the image folder cannot be used.
    """
    name, root = check_name(request.name), check_image_root(request.image_root)
    source = get_format(recognise(Path(request.file), request.format).format)
    content, report = source.read(Path(request.file), absent=request.absent, progress=progress)
    images = LocalImages(root, workspace.settings.max_pixels)
    problems = dict(_missing_files(content, root, images, progress))
    progress(0, 1, "writing to the database")
    with workspace.database.write(f"import {name}", cache_megabytes=CACHE_MEGABYTES) as session:
        dataset = _dataset(session, name, root, request, content, workspace)
        workspace.database.also(session, dataset.id)
        result = ImportResult(dataset.id, name, problems=problem_lines(report))
        image_ids = _write_images(session, dataset.id, content, problems, result, while_writing)
        category_ids = _write_categories(session, dataset.id, content, result)
        ids = (image_ids, category_ids)
        _write_annotations(session, dataset.id, content, ids, result, while_writing)
        _write_labels(session, content, ids, result, while_writing)
    return result


def run_import(workspace: Workspace, context: JobContext) -> JsonObject:
    """Job handler of JobKind.IMPORT. The one transaction makes running it again harmless."""
    fields = {k: v for k, v in context.job.payload.items() if k in ImportRequest.__slots__}
    result = import_file(workspace, ImportRequest(**fields), context.progress, context.tell)
    return {**asdict(result), "message": result.message, "changed": result.changed}


def _missing_files(
    content: AnnotationSet, root: Path, images: LocalImages, progress: Progress
) -> Iterator[tuple[SourceId, MissingFile]]:
    """Images whose file is not there or may not be reached; decoding comes with embedding."""
    total = len(content.images)
    plain = {entry.name for entry in os.scandir(root) if entry.is_file(follow_symlinks=False)}
    for done, image in enumerate(content.images):
        if done % 500 == 0:
            progress(done, total, "looking for the pictures")
        if image.file_name in plain:  # one look at the folder instead of one for each picture
            continue
        try:
            images.fingerprint(image.file_name)
        except ImageError as error:
            yield image.source_id, MissingFile(error.reason, str(error))


def _dataset(
    session: Session,
    name: str,
    root: Path,
    request: ImportRequest,
    content: AnnotationSet,
    workspace: Workspace,
) -> Dataset:
    dataset = queries.by_name(session, name)
    if dataset is None:
        dataset = Dataset(
            name=name,
            format=content.format,
            image_root=str(root),
            header=content.header,
            absent=request.absent,
            backbone=workspace.settings.backbone,
            pretrained=workspace.settings.pretrained,
            retrain_after=workspace.settings.retrain_after,
        )
        session.add(dataset)
    elif dataset.format != content.format:
        raise InputError(
            f"the dataset {name!r} came as {dataset.format}, this file is {content.format}: import "
            "it under another name, or export the dataset in that format first"
        )
    else:
        dataset.image_root = str(root)
        dataset.header = {**dataset.header, **content.header}
        dataset.absent = request.absent
    session.flush()
    return dataset


def _key(source_id: SourceId) -> str:
    return json.dumps(source_id)


def _plain(text: str) -> str:
    """Text that every database stores: lone surrogates and NUL become U+FFFD."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _write_images(
    session: Session,
    dataset_id: int,
    content: AnnotationSet,
    problems: dict[SourceId, MissingFile],
    result: ImportResult,
    progress: Progress,
) -> dict[SourceId, int]:
    query = select(Image.id, Image.source_id, Image.record, Image.reason)
    old = {
        row.source_id: (row.id, row.reason, _digest(row.record))
        for row in session.execute(
            query.where(Image.dataset_id == dataset_id), execution_options=STREAMED
        )
    }
    new = Inserts(session, Image, progress, len(content.images), "writing images")
    changed: list[JsonObject] = []
    for image, text in _with_text(content.images):
        key, error = _key(image.source_id), problems.get(image.source_id)
        row: JsonObject = {
            "file_name": _plain(image.file_name),
            "width": image.width,
            "height": image.height,
            "record": text,
            "split": _split(image.record),
        }
        found: JsonObject = {
            "status": ImageStatus.PROBLEM if error else ImageStatus.UNCHECKED,
            "reason": error.reason if error else None,
            "problem": _plain(error.message) if error else None,
        }
        before = old.get(key)
        if before is None:
            position = len(old) + new.count
            row |= {"dataset_id": dataset_id, "source_id": key, "position": position}
            new.add(row | found)
        elif before[2] != _digest(image.record):
            changed.append({"id": before[0], **row, **found, "fingerprint": None})
        elif _reachable(before[1]) != _reachable(found["reason"]):
            changed.append({"id": before[0], **found})
    new.finish()
    _update(session, Image, changed)
    result.added["images"], result.updated["images"] = new.count, len(changed)
    result.problem_images = len(problems)
    return _ids(session, Image, dataset_id)


def _with_text(images: Sequence[ImageRecord]) -> Iterator[tuple[ImageRecord, Any]]:
    """Images with what is to be stored as their record: the file's own text where it stands."""
    if not isinstance(images, LazyRecords):
        yield from ((image, image.record) for image in images)
        return
    kept = images.store.kept
    for index, (image, text) in enumerate(zip(images, images.store.texts(), strict=True)):
        yield image, image.record if index in kept else JsonText(text)


def _ids(
    session: Session, table: type[Image] | type[Category], dataset_id: int
) -> dict[SourceId, int]:
    query = select(table.source_id, table.id).where(table.dataset_id == dataset_id)
    return {json.loads(key): id_ for key, id_ in session.execute(query, execution_options=STREAMED)}


def _split(record: JsonObject) -> str | None:
    """The part of the collection that a record says the image belongs to."""
    split = record.get("split")
    return _plain(split)[:100] if isinstance(split, str) and split else None


def _reachable(reason: str | None) -> bool:
    """Whether looking for the file (not decoding it) would have succeeded."""
    return reason not in ("missing", "unsafe-path")


def _write_categories(
    session: Session, dataset_id: int, content: AnnotationSet, result: ImportResult
) -> dict[SourceId, int]:
    old = {row.source_id: row for row in queries.categories(session, dataset_id)}
    new: list[JsonObject] = []
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
            position = len(old) + len(new)
            new.append(row | {"dataset_id": dataset_id, "source_id": key, "position": position})
        elif not _same(before.record, category.record):
            changed.append({"id": before.id, **row})
    _insert(session, Category, new)
    _update(session, Category, changed)
    result.added["categories"], result.updated["categories"] = len(new), len(changed)
    return _ids(session, Category, dataset_id)


def _annotation_key(record: JsonObject, seen: Counter[bytes]) -> bytes:
    """A key for a record: its id, or its content where it has none; repeats are numbered."""
    text = json.dumps(record.get("id", record), sort_keys=True)
    plain = hashlib.blake2b(text.encode(), digest_size=12).digest()
    seen[plain] += 1
    return plain + seen[plain].to_bytes(4)


def _write_annotations(
    session: Session,
    dataset_id: int,
    content: AnnotationSet,
    ids: Ids,
    result: ImportResult,
    progress: Progress,
) -> None:
    query = select(Annotation.id, Annotation.record).where(Annotation.dataset_id == dataset_id)
    stored = session.execute(query.order_by(Annotation.position), execution_options=STREAMED)
    seen: Counter[bytes] = Counter()
    old = {_annotation_key(row.record, seen): (row.id, _digest(row.record)) for row in stored}
    total = len(content.annotations)
    new = Inserts(session, Annotation, progress, total, "writing annotations")
    changed: list[JsonObject] = []
    if old:
        seen.clear()
        for annotation in content.annotations:
            row = _annotation_row(
                annotation.image_id, annotation.category_id, annotation.record, ids
            )
            before = old.get(_annotation_key(annotation.record, seen))
            if before is None:
                new.add(row | {"dataset_id": dataset_id, "position": len(old) + new.count})
            elif before[1] != _digest(annotation.record):
                changed.append({"id": before[0], **row})
    else:
        for image_id, category_id, record in _annotation_rows(content):
            row = _annotation_row(image_id, category_id, record, ids)
            row["dataset_id"], row["position"] = dataset_id, new.count
            new.add(row)
    new.finish()
    _update(session, Annotation, changed)
    result.added["annotations"], result.updated["annotations"] = new.count, len(changed)


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


def _annotation_row(
    image_id: SourceId | None, category_id: SourceId | None, record: Any, ids: Ids
) -> JsonObject:
    return {
        "image_id": None if image_id is None else ids[0].get(image_id),
        "category_id": None if category_id is None else ids[1].get(category_id),
        "record": record,
    }


def _write_labels(
    session: Session,
    content: AnnotationSet,
    ids: Ids,
    result: ImportResult,
    progress: Progress,
) -> None:
    """Labels of the file; what a person decided here is kept."""
    query = select(Label.image_id, Label.category_id, Label.state, Label.source).where(
        Label.category_id.in_(list(ids[1].values()))
    )
    old = {
        (image_id, category_id): (state, source)
        for image_id, category_id, state, source in session.execute(
            query, execution_options=STREAMED
        )
    }
    new = Inserts(session, Label, progress, len(content.labels), "writing labels")
    changed: list[JsonObject] = []
    for label in content.labels:
        pair = (ids[0][label.image_id], ids[1][label.category_id])
        source = LabelSource(label.source) if label.source in SOURCES else LabelSource.IMPORT
        provenance = {
            key: value
            for key in ("source", "model_run", "score", "annotator", "decided_at")
            if (value := getattr(label, key)) not in (None, str(LabelSource.IMPORT))
        }
        row: JsonObject = {
            "image_id": pair[0],
            "category_id": pair[1],
            "state": label.state,
            "source": source,
        }
        before = old.get(pair)
        if before is None:
            row["provenance"] = provenance or None
            new.add(row)
        elif before[0] != label.state and before[1] is LabelSource.HUMAN:
            result.kept_human += 1
        elif before[0] != label.state:
            changed.append(row)
    new.finish()
    _update(session, Label, changed)
    result.added["labels"], result.updated["labels"] = new.count, len(changed)


def _same(one: JsonObject, other: JsonObject) -> bool:
    """Whether two records are equal, key order included."""
    return json.dumps(one) == json.dumps(other)


def _digest(record: JsonObject) -> bytes:
    """Differs when two records do, key order included."""
    return hashlib.blake2b(json.dumps(record).encode(), digest_size=16).digest()


class Inserts:
    """Rows on their way into a table, in batches and past the unit of work.

    Attributes:
        count: How many there were so far.
    """

    def __init__(
        self, session: Session, table: type[Any], progress: Progress, total: int, what: str
    ) -> None:
        self.count = 0
        self._connection, self._table = session.connection(), table.__table__
        self._progress, self._total, self._what = progress, total, what
        self._rows: list[JsonObject] = []

    def add(self, row: JsonObject) -> None:
        """Take one more row; all have the same columns, in the same order."""
        self._rows.append(row)
        self.count += 1
        if len(self._rows) == BATCH:
            self.finish()

    def finish(self) -> None:
        """Send what is left."""
        if not self._rows:
            return
        if self._connection.dialect.name == "sqlite":
            self._send_values()
        else:
            self._connection.execute(insert(self._table), self._rows)
        self._rows = []
        self._progress(self.count, max(self._total, self.count), self._what)

    def _send_values(self) -> None:
        """Straight to the driver: a statement of a few columns costs less than its wrapping."""
        dialect = self._connection.dialect
        names = list(self._rows[0])
        columns = []
        for name in names:
            bind = self._table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
            values: list[Any] = [row[name] for row in self._rows]
            columns.append(values if bind is None else [bind(value) for value in values])
        marks = ", ".join("?" * len(names))
        places = f"{self._table.name} ({', '.join(names)})"  # our own tables and columns
        statement = f"INSERT INTO {places} VALUES ({marks})"  # noqa: S608
        self._connection.exec_driver_sql(statement, list(zip(*columns, strict=True)))


def _insert(session: Session, table: type[Any], rows: Sequence[JsonObject]) -> None:
    for start in range(0, len(rows), BATCH):
        session.execute(insert(table), rows[start : start + BATCH])


def _update(session: Session, table: type[Any], rows: Sequence[JsonObject]) -> None:
    """By primary key; rows with different columns are sent apart."""
    by_columns: dict[tuple[str, ...], list[JsonObject]] = {}
    for row in rows:
        by_columns.setdefault(tuple(row), []).append(row)
    for group in by_columns.values():
        session.execute(update(table), group)
