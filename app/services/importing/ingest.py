"""Bringing an annotation file into the database: all of it, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.services.importing import outside_proposals, unfinished
from app.services.importing.identity import Match
from app.services.importing.near_pictures import Names, Sought, refuse_all_missing, seek
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
from clsl_core.formats.coco.results import RESULTS, read_results
from clsl_core.formats.detect import Detected, detect
from clsl_core.formats.read_options import ReadOptions, Scores, read_with, validate_with
from clsl_core.formats.registry import Absent
from clsl_core.formats.tables.cell_states import MinusOne, Zero
from clsl_core.formats.tables.imagefolder import Folders
from clsl_core.formats.voc.voc import Difficult
from clsl_core.formats.yolo.yolo import Empty
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
from db.queries import datasets, stored

AUTO = "auto"
"""In place of a format's name: find it from the content."""
SHOWN = 50


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
        minus_one, not_labels, picture_key, folders, empty, scores, threshold: See ``ReadOptions``.
        url_field: Of an image's record, whose value is the URL of its picture; "" for none.
        match: What counts where its ids and names disagree with those of the dataset.
        names: Which names the pictures may have.
        model: The name of the model whose proposals a file holds, where that does not say it.
        pictures_later: Whether to import though not one picture is there.
    """

    file: str
    image_root: str
    name: str
    format: str = AUTO
    absent: Absent = "unknown"
    exhaustive: tuple[str, ...] = ()
    difficult: Difficult = "ignore"
    zero: Zero = "auto"
    minus_one: MinusOne = "absent"
    not_labels: tuple[str, ...] = ()
    picture_key: str = ""
    folders: Folders = "ignore"
    empty: Empty = "unknown"
    scores: Scores = "proposals"
    threshold: float = 0.0
    url_field: str = ""
    names: Names = "alike"
    pictures_later: bool = False
    model: str = ""
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
        **more: Any,
    ) -> ImportRequest:
        """A request with what was declared about the file."""
        declared = {item.name: getattr(options, item.name) for item in fields(options)}
        return cls(
            str(file),
            str(image_root),
            name,
            format_name,
            **declared,
            url_field=url_field,
            **more,
        )

    @property
    def options(self) -> ReadOptions:
        """What was declared about the file."""
        declared = {item.name: getattr(self, item.name) for item in fields(ReadOptions)}
        lists = {key: tuple(value) for key, value in declared.items() if isinstance(value, list)}
        return ReadOptions(**{**declared, **lists})

    @property
    def model_name(self) -> str:
        """What the model is called whose proposals the file holds, unless that says it."""
        return self.model.strip() or Path(self.file).name

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
    if format_name in (AUTO, RESULTS) and outside_proposals.is_results(file):
        return Detected(RESULTS, "it is a list of results with scores")
    if format_name == AUTO:
        try:
            return detect(file)
        except FormatError as error:
            if error.report is not None:
                raise
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
    if outside_proposals.is_results(Path(request.file)):
        return _import_results(workspace, name, request, progress)
    found = recognise(Path(request.file), request.format).format
    content, report = read_with(Path(request.file), found, request.options, progress)
    with workspace.database.read() as session:
        existing = datasets.by_name(session, name)
    problems = dict(unreachable(workspace, existing, root, request.url_field, content, progress))
    sought = seek(content, problems, root, request.names)
    if not request.pictures_later:
        refuse_all_missing(sought, root)
    content, problems = sought.content, sought.problems
    progress(0, 1, "writing to the database")
    if existing is None:
        dataset = _new_dataset(name, root, request, content, workspace.settings)
        dataset_id, written = _write_new(workspace, dataset, content, problems, request, progress)
    else:
        dataset_id = existing.id
        with workspace.database.write(dataset_id, cache_megabytes=CACHE_MEGABYTES) as session:
            dataset = stored.one(session, Dataset, dataset_id)
            second = second_file(session, dataset, root, request.match, sought)
            found_problems = {second.ids.image(key): one for key, one in problems.items()}
            target = OneTransaction(session)
            written = write_rows(
                target, dataset_id, second.content, found_problems, while_locked, second
            )
            _store_proposals(session, dataset_id, second.content, request, written)
            if written.changed:
                stored.add(session, _source(dataset_id, request, content))
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
        [*sought.told, *problem_lines(report)],
    )


def _store_proposals(
    session: Session,
    dataset_id: int,
    content: AnnotationSet,
    request: ImportRequest,
    written: Written,
) -> None:
    """Keep what models said in the file."""
    new = outside_proposals.store(session, dataset_id, content.proposals, request.model_name)
    if new:
        written.added["proposals"] = new


def _import_results(
    workspace: Workspace, name: str, request: ImportRequest, progress: Progress
) -> ImportResult:
    """Add what a detector found in the pictures of a dataset that is there already."""
    with workspace.database.read() as session:
        dataset = datasets.by_name(session, name)
        if dataset is None:
            raise InputError(
                f"{Path(request.file).name} is a list of COCO results, which names images and "
                f"categories of another file: import that file as {name!r} first"
            )
        images, categories = outside_proposals.source_ids(session, dataset.id)
    proposals, report = read_results(Path(request.file), images, categories, progress)
    taken = [x for x in proposals if x.score is None or x.score >= request.threshold]
    result = ImportResult(dataset.id, name, problems=problem_lines(report))
    with workspace.database.write(dataset.id) as session:
        if request.scores == "final":
            result.added["labels"] = outside_proposals.store_final(session, dataset.id, taken)
        else:
            result.added["proposals"] = outside_proposals.store(
                session, dataset.id, taken, request.model_name
            )
    return result


def _write_new(
    workspace: Workspace,
    dataset: Dataset,
    content: AnnotationSet,
    problems: Mapping[SourceId, MissingFile],
    request: ImportRequest,
    progress: Progress,
) -> tuple[int, Written]:
    database = workspace.database
    with unfinished.begun(database, dataset) as dataset_id:
        try:
            stamp = partial(unfinished.stamp, dataset_id=dataset_id)
            with OutOfSight(database, dataset_id, stamp) as target:
                written = write_rows(target, dataset_id, content, problems, progress)
            with database.write(dataset_id) as session:
                stored.add(session, _source(dataset_id, request, content))
                _store_proposals(session, dataset_id, content, request, written)
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
    session: Session, dataset: Dataset, root: str, match: Match, sought: Sought
) -> SecondFile:
    """A file, whose pictures were looked for, in the terms of the dataset that it comes into.

    Raises:
        InputError: The dataset came in another format.
        UndecidedError: It cannot be told what is the same.
    """
    check_format(dataset.name, dataset.format, sought.content)
    before = [dataset.image_root, *dataset.more_roots]
    pictures = LocalPictures([root, *dataset.more_roots], before, sought.stated)
    return adopt(session, dataset, sought.content, Match(match), pictures)


def _source(dataset_id: int, request: ImportRequest, content: AnnotationSet) -> SourceFile:
    options = request.options
    declared = {
        item.name: value
        for item in fields(options)
        if (value := getattr(options, item.name)) != item.default
    }
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
