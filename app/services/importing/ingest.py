"""Bringing an annotation file into the database: all of it, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy.orm import Session

from app.services.importing import unfinished
from app.services.importing.identity import Match
from app.services.importing.pictures_there import LocalPictures
from app.services.importing.rows import MissingFile, write_rows
from app.services.importing.second_file import SecondFile, adopt
from app.services.importing.target import CACHE_MEGABYTES, OneTransaction, OutOfSight
from app.services.importing.written import Written
from app.services.jobs.table import JobContext
from app.services.pictures.places import check_place, loader_of
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import FormatError, ImageError, InputError, NotFoundError
from clsl_core.formats import get_format
from clsl_core.formats.detect import Detected, detect
from clsl_core.formats.read_options import ReadOptions, read_with, validate_with
from clsl_core.formats.registry import Absent
from clsl_core.formats.tables.cell_states import Zero
from clsl_core.formats.voc.voc import Difficult
from clsl_core.pictures.fetch import is_url
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    Progress,
    SourceId,
    ValidationReport,
    no_progress,
)
from db.models import Annotation, Category, Dataset, Image, Label, SourceFile
from db.queries import datasets

AUTO = "auto"
"""In place of a format's name: find it from the content."""
SHOWN = 50
_UNDECLARED = (None, "", (), "unknown", "ignore", "auto")
"""What stands where nothing was declared."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to bring in.

    Attributes:
        file: The annotation file.
        image_root: The folder or URL that its file names are relative to.
        name: The dataset; made when new, added to when it exists.
        format: Name of the file's format, or AUTO.
        absent: Whether a missing annotation means UNKNOWN or ABSENT.
        exhaustive: Categories in which it means ABSENT whatever ``absent`` says.
        difficult: What a category of only difficult objects is (VOC).
        zero: What ``0`` means (tables).
        url_field: Of an image's record, whose value is the URL of its picture; "" for none.
        match: What counts where its ids and names disagree with those of the dataset.
    """

    file: str
    image_root: str
    name: str
    format: str = AUTO
    absent: Absent = "unknown"
    exhaustive: tuple[str, ...] = ()
    difficult: Difficult = "ignore"
    zero: Zero = "auto"
    url_field: str = ""
    match: Match = Match.AUTO

    @classmethod
    def of(
        cls,
        file: Path,
        image_root: Path | str,
        name: str,
        format_name: str,
        options: ReadOptions,
        url_field: str = "",
        match: Match = Match.AUTO,
    ) -> ImportRequest:
        """A request with what was declared about the file."""
        return cls(
            str(file),
            str(image_root),
            name,
            format_name,
            options.absent,
            options.exhaustive,
            options.difficult,
            options.zero,
            url_field,
            match,
        )

    @property
    def options(self) -> ReadOptions:
        """What was declared about the file."""
        return ReadOptions(self.absent, tuple(self.exhaustive), self.difficult, self.zero)

    def to_json(self) -> JsonObject:
        """As a job's payload."""
        return asdict(self)


@dataclass(slots=True)
class ImportResult:
    """What an import did. ``added``, ``updated`` and ``removed`` count records by table."""

    dataset_id: int
    dataset: str
    added: dict[str, int] = field(default_factory=dict)
    updated: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    kept_human: int = 0
    problem_images: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything in the database is different now."""
        counts = (self.added, self.updated, self.removed)
        return any(number for one in counts for number in one.values())

    @property
    def message(self) -> str:
        """One sentence for the person who asked."""
        if not self.changed:
            return f"nothing changed: {self.dataset!r} already holds everything in this file"
        parts = [f"{count} {table}" for table, count in self.added.items() if count]
        text = "added " + ", ".join(parts) if parts else "added nothing"
        for done, counts in (("updated", self.updated), ("took back", self.removed)):
            changes = [f"{count} {table}" for table, count in counts.items() if count]
            text += f"; {done} {', '.join(changes)}" if changes else ""
        return text


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


def check_format(name: str, own: str, content: AnnotationSet) -> None:
    """A file goes into a dataset of its own format only, so that it can go out as it came.

    Raises:
        InputError: The dataset's format is another one.
    """
    if own != content.format:
        raise InputError(
            f"the dataset {name!r} came as {own}, this file is {content.format}: import it under "
            "another name, or export the dataset in that format first"
        )


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


def validate(
    file: Path, format_name: str = AUTO, options: ReadOptions | None = None
) -> ValidationReport:
    """Every problem of a file, without touching the database.

    Raises:
        InputError: Something was declared that this format or file does not have.
        NotFoundError: There is no such file, or no such format.
        FormatError: The format is to be found, and it looks like none.
    """
    return validate_with(file, recognise(file, format_name).format, options or ReadOptions())


def problem_lines(report: ValidationReport) -> list[str]:
    """The first problems of a report, one line each, and how many more there are."""
    shown = [f"{p.severity.value}: {p.where}: {p.message}" for p in report.problems[:SHOWN]]
    more = len(report.problems) - len(shown)
    return [*shown, f"… and {more} more: `clsl validate FILE --json`"] if more else shown


def import_file(
    workspace: Workspace,
    request: ImportRequest,
    progress: Progress = no_progress,
    while_locked: Progress = no_progress,
) -> ImportResult:
    """Read a file and bring it in: all of it, or nothing.

    A new dataset is hidden until its last row is there. A second import adds what is new and
    updates what differs, in one transaction; it takes back labels that only an updated record
    supported, and leaves what people decided alone.

    Args:
        workspace: Where to.
        request: What to bring in.
        progress: Told how far reading is and, of a new dataset, writing.
        while_locked: Told how far writing into an existing dataset is, within the transaction: it
            must not write to the database. What either raises takes everything back.

    Raises:
        FormatError: The file cannot be used; the report lists every reason.
        InputError: The name or the image folder cannot be used.
        ConflictError: Another import makes a dataset of that name at this moment.
        UndecidedError: Ids and names of the file tell different things, and nobody said which
            counts.
    """
    name, root = check_name(request.name), check_place(request.image_root)
    found = recognise(Path(request.file), request.format).format
    content, report = read_with(Path(request.file), found, request.options, progress)
    with workspace.database.read() as session:
        existing = datasets.by_name(session, name)
    problems = dict(unreachable(workspace, existing, root, request.url_field, content, progress))
    progress(0, 1, "writing to the database")
    if existing is None:
        dataset = _new_dataset(name, root, request, content, workspace.settings)
        dataset_id, written = _write_new(workspace, dataset, content, request, problems, progress)
    else:
        dataset_id = existing.id
        with workspace.database.write(dataset_id, cache_megabytes=CACHE_MEGABYTES) as session:
            dataset = session.get_one(Dataset, dataset_id)
            second = second_file(session, dataset, root, request.match, content)
            found_problems = {second.ids.image(key): one for key, one in problems.items()}
            target = OneTransaction(session)
            written = write_rows(
                target, dataset_id, second.content, found_problems, while_locked, second
            )
            if written.changed:
                session.add(_source(dataset_id, request, content))
            _change_dataset(dataset, root, request, second.content)
    workspace.database.analyse(Image, Category, Annotation, Label)
    return ImportResult(
        dataset_id,
        name,
        written.added,
        written.updated,
        written.removed,
        written.kept_human,
        len(problems),
        problem_lines(report),
    )


def _write_new(
    workspace: Workspace,
    dataset: Dataset,
    content: AnnotationSet,
    request: ImportRequest,
    problems: Mapping[SourceId, MissingFile],
    progress: Progress,
) -> tuple[int, Written]:
    database = workspace.database
    dataset_id = unfinished.begin(database, dataset)
    try:
        stamp = partial(unfinished.stamp, dataset_id=dataset_id)
        with OutOfSight(database, dataset_id, stamp) as target:
            written = write_rows(target, dataset_id, content, problems, progress)
        with database.write(dataset_id) as session:
            session.add(_source(dataset_id, request, content))
        unfinished.show(database, dataset_id)
    except BaseException:
        unfinished.discard(database, dataset_id)
        raise
    return dataset_id, written


def run_import(workspace: Workspace, context: JobContext) -> JsonObject:
    """Job handler of JobKind.IMPORT. Running it again is harmless: nobody sees half of it."""
    fields = {k: v for k, v in context.job.payload.items() if k in ImportRequest.__slots__}
    result = import_file(workspace, ImportRequest(**fields), context.progress, context.tell)
    return {**asdict(result), "message": result.message, "changed": result.changed}


def unreachable(
    workspace: Workspace,
    existing: Dataset | None,
    root: str,
    url_field: str,
    content: AnnotationSet,
    progress: Progress,
) -> Iterator[tuple[SourceId, MissingFile]]:
    """Images whose file is not there or may not be reached; decoding comes with embedding.

    Nothing is fetched: what has a URL is taken to be there.
    """
    roots = [root, *(existing.more_roots if existing else [])]
    url_field = url_field or (existing.url_field or "" if existing else "")
    loader, total = loader_of(workspace, roots), len(content.images)
    plain = set()
    if not is_url(root):
        plain = {entry.name for entry in os.scandir(root) if entry.is_file(follow_symlinks=False)}
    for done, image in enumerate(content.images):
        if done % 500 == 0:
            progress(done, total, "looking for the pictures")
        if image.file_name in plain:  # one look at the folder instead of one for each picture
            continue
        if url_field and is_url(str(image.record.get(url_field))):
            continue
        try:
            loader.fingerprint(image.file_name)
        except ImageError as error:
            yield image.source_id, MissingFile(error.reason, str(error))


def second_file(
    session: Session, dataset: Dataset, root: str, match: Match, content: AnnotationSet
) -> SecondFile:
    """A file in the terms of the dataset that it comes into.

    Raises:
        InputError: The dataset came in another format.
        UndecidedError: It cannot be told what is the same.
    """
    check_format(dataset.name, dataset.format, content)
    before = [dataset.image_root, *dataset.more_roots]
    pictures = LocalPictures([root, *dataset.more_roots], before)
    return adopt(session, dataset, content, Match(match), pictures)


def _source(dataset_id: int, request: ImportRequest, content: AnnotationSet) -> SourceFile:
    options = asdict(request.options)
    declared = {key: value for key, value in options.items() if value not in _UNDECLARED}
    return SourceFile(
        dataset_id=dataset_id,
        name=Path(request.file).name,
        header=content.header,
        declared=declared,
        matched=str(request.match),
    )


def _new_dataset(
    name: str, root: str, request: ImportRequest, content: AnnotationSet, settings: Settings
) -> Dataset:
    return Dataset(
        name=name,
        format=content.format,
        image_root=root,
        url_field=request.url_field or None,
        header=content.header,
        absent=request.absent,
        backbone=settings.backbone,
        pretrained=settings.pretrained,
        retrain_after=settings.retrain_after,
    )


def _change_dataset(
    dataset: Dataset, root: str, request: ImportRequest, content: AnnotationSet
) -> None:
    dataset.image_root, dataset.url_field = root, request.url_field or dataset.url_field
    dataset.header = content.header
    dataset.absent = request.absent
