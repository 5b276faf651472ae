"""A file before it is imported: what it holds, what is wrong, and what an import would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.services.access import rights
from app.services.access.rights import Right
from app.services.importing import ingest, outside_proposals
from app.services.importing.identity import Match
from app.services.importing.image_root import find_root
from app.services.importing.near_pictures import Sought, refuse_all_missing, seek
from app.services.importing.plan import ImportPlan, Question, plan_import
from app.services.importing.rows import MissingFile
from app.services.pictures.places import check_place, loader_of
from app.services.runtime.legible import legible
from app.services.workspace import Workspace
from clsl_core.errors import FormatError, ImageError, InputError
from clsl_core.formats import FORMATS
from clsl_core.formats.coco.results import RESULTS, read_results
from clsl_core.formats.coco.stored import PairLabels
from clsl_core.formats.read_options import read_with
from clsl_core.pictures.loading import ImageLoader, thumbnail
from clsl_core.types import (
    AnnotationSet,
    ImageRecord,
    LabelState,
    Progress,
    Severity,
    SourceId,
    ValidationReport,
    no_progress,
)
from db.queries import datasets

__all__ = ["CategoryShare", "ImportPreview", "ProblemGroup", "Sample", "look"]

EXAMPLES = 5
SAMPLES = 8
TRIED = 40
"""Images that are opened at most, to find the samples."""
LABELS_SHOWN = 20
SIDE = 240
"""Longest side of a sample in pixels."""


@dataclass(frozen=True, slots=True)
class ProblemGroup:
    """Problems of one kind.

    Attributes:
        severity: Whether the file is refused for them.
        code: What they have in common.
        count: How many there are.
        examples: The first of them: the record, and what was found there.
    """

    severity: Severity
    code: str
    count: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CategoryShare:
    """The labels of one category."""

    category: str
    present: int
    absent: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture as it will be reviewed.

    Attributes:
        file_name: As the file has it.
        picture: A small copy as WebP; None where it cannot be used.
        problem: Why not.
        present, absent: Names of categories.
    """

    file_name: str
    picture: bytes | None
    problem: str | None
    present: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportPreview:
    """All that is known of a file before anything is written.

    Attributes:
        format: Key of ``FORMATS``.
        reason: How it was told.
        report: Every problem.
        groups: The same, grouped; errors first, then the most frequent.
        counts: Records of each kind, and labels by state.
        categories: Labels by category, the most frequent first.
        samples: A few pictures.
        image_root: Where the pictures were looked for; None when nobody said where.
        missing: Pictures that cannot be reached, by reason.
        missing_examples: The first of those.
        near: What is there under names close to those in the file, and what is offered.
        plan: What an import would do; None for a file that cannot be imported.
        refusal: Why it would be refused; None when it would not.
    """

    format: str
    reason: str
    report: ValidationReport
    groups: tuple[ProblemGroup, ...]
    counts: dict[str, int] = field(default_factory=dict)
    categories: tuple[CategoryShare, ...] = ()
    samples: tuple[Sample, ...] = ()
    image_root: str | None = None
    missing: dict[str, int] = field(default_factory=dict)
    missing_examples: tuple[tuple[str, str], ...] = ()
    near: tuple[str, ...] = ()
    plan: ImportPlan | None = None
    refusal: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the file can be imported."""
        return self.refusal is None

    @property
    def questions(self) -> tuple[Question, ...]:
        """What somebody must decide before it is."""
        return self.plan.questions if self.plan else ()

    @property
    def moves_from(self) -> str | None:
        """The folder in which the dataset's pictures would no longer be looked for."""
        before = self.plan.image_root if self.plan else None
        return before if before not in (None, self.image_root) else None

    @property
    def title(self) -> str:
        """The format in words."""
        return "COCO results" if self.format == RESULTS else FORMATS[self.format].title


def look(
    workspace: Workspace,
    request: ingest.ImportRequest,
    progress: Progress = no_progress,
    *,
    within: Path | None = None,
) -> ImportPreview:
    """Read a file and tell all that an import would tell and do, without writing anything.

    Args:
        workspace: Where it would be imported. Only read.
        request: What would be imported. Without a name there is no plan; without a folder of
            pictures they are looked for below ``within``.
        progress: Told how far reading is.
        within: The folder of an unpacked archive.

    Raises:
        InputError: The name or folder cannot be used, or a declaration does not fit; or the
            dataset came in another format.
        FormatError: The format is to be found, and it looks like none.
        NotFoundError: There is no such file or format.
    """
    rights.require(Right.MANAGE)
    name = ingest.check_name(request.name) if request.name.strip() else None
    stated = request.image_root.strip()
    root = check_place(stated) if stated else None
    file = Path(request.file)
    found = ingest.recognise(file, request.format)
    if found.format == RESULTS:
        return _results(workspace, replace(request, name=name or ""), found.reason, progress)
    try:
        content, report = read_with(file, found.format, request.options, progress)
    except FormatError as error:
        if error.report is None:
            raise
        groups = group_problems(error.report)
        return ImportPreview(
            found.format, found.reason, error.report, groups, error.report.counts,
            refusal=str(error),
        )  # fmt: skip
    if root is None and within is not None:
        root = str(find_root(content.images, within))
    wanted = replace(request, name=name or "", image_root=root or "")
    return _preview(workspace, wanted, found.reason, content, report, progress)


def _results(
    workspace: Workspace, request: ingest.ImportRequest, reason: str, progress: Progress
) -> ImportPreview:
    """Results of a detector: proposals for a dataset that is there already."""
    with workspace.database.read() as session:
        dataset = datasets.by_name(session, request.name) if request.name else None
        if dataset is None:
            raise InputError(
                "this is a list of COCO results, which names images and categories of another "
                "file: import that file first, then this one under the name of its dataset"
            )
        images, categories = outside_proposals.source_ids(session, dataset.id)
        root = dataset.image_root
    try:
        _, report = read_results(Path(request.file), images, categories, progress)
    except FormatError as error:
        report = error.report or ValidationReport()
        groups = group_problems(report)
        return ImportPreview(RESULTS, reason, report, groups, report.counts, refusal=str(error))
    none = {"proposals": 0}
    plan = ImportPlan(request.name, False, {"proposals": report.counts["proposals"]}, none, none)
    return ImportPreview(
        RESULTS, reason, report, group_problems(report), report.counts, image_root=root, plan=plan
    )


def _preview(
    workspace: Workspace,
    request: ingest.ImportRequest,
    reason: str,
    content: AnnotationSet,
    report: ValidationReport,
    progress: Progress,
) -> ImportPreview:
    root, name = request.image_root or None, request.name or None
    url_field, refusal = request.url_field, None
    sought = Sought(content, {})
    problems = sought.problems
    chosen: dict[SourceId, ImageRecord] = {}
    loader: ImageLoader | None = None
    if root is not None:
        with workspace.database.read() as session:
            existing = None if name is None else datasets.by_name(session, name)
        found = ingest.unreachable(workspace, existing, root, url_field, content, progress)
        sought = seek(content, dict(found), root, request.names)
        content, problems = sought.content, sought.problems
        try:
            if not request.pictures_later:
                refuse_all_missing(sought, root)
        except InputError as error:
            refusal = str(error)
        chosen = dict(_chosen(content, problems))
        urls = {image.file_name: image.record.get(url_field) for image in chosen.values()}
        loader = loader_of(workspace, [root], urls.get if url_field else None)
    tally = _tally(content, chosen, progress)
    states = {
        "labels present": sum(tally.present.values()),
        "labels absent": sum(tally.absent.values()),
    }
    reasons = Counter(problem.reason for problem in problems.values())
    return ImportPreview(
        format=content.format,
        reason=reason,
        report=report,
        groups=group_problems(report),
        counts={**report.counts, **states},
        categories=_shares(content, tally),
        samples=tuple(_samples(chosen, tally, loader)) if loader else (),
        image_root=root,
        missing=dict(reasons.most_common()),
        missing_examples=_missing_examples(content, problems),
        near=sought.told,
        plan=plan_import(workspace, name, sought, progress, root, Match(request.match))
        if name
        else None,
        refusal=refusal,
    )


def group_problems(report: ValidationReport) -> tuple[ProblemGroup, ...]:
    """The problems of a report by kind: errors first, then the most frequent."""
    told: dict[tuple[Severity, str], list[tuple[str, str]]] = {}
    for problem in report.problems:
        said = (legible(problem.where), legible(problem.message, 500))
        told.setdefault((problem.severity, problem.code), []).append(said)
    groups = [
        # What is not told one by one is told by one line at the end.
        ProblemGroup(
            severity,
            code,
            len(said) + max(0, report.untold.get((severity, code), 0) - 1),
            tuple(said[:EXAMPLES]),
        )
        for (severity, code), said in told.items()
    ]
    groups.sort(key=lambda group: (group.severity is not Severity.ERROR, -group.count, group.code))
    return tuple(groups)


@dataclass(slots=True)
class _Tally:
    """Labels by category id, and those of the samples by image id."""

    present: Counter[SourceId] = field(default_factory=Counter)
    absent: Counter[SourceId] = field(default_factory=Counter)
    of_samples: dict[SourceId, list[tuple[SourceId, LabelState]]] = field(default_factory=dict)
    names: dict[SourceId, str] = field(default_factory=dict)


def _tally(
    content: AnnotationSet, chosen: Mapping[SourceId, ImageRecord], progress: Progress
) -> _Tally:
    names = {category.source_id: legible(category.name) for category in content.categories}
    tally = _Tally(of_samples={image_id: [] for image_id in chosen}, names=names)
    total = len(content.labels)
    for done, (image_id, category_id, state) in enumerate(_labels(content)):
        if done % 100_000 == 0:
            progress(done, total, "counting labels")
        counter = tally.present if state is LabelState.PRESENT else tally.absent
        counter[category_id] += 1
        if image_id in tally.of_samples:
            tally.of_samples[image_id].append((category_id, state))
    return tally


def _labels(content: AnnotationSet) -> Iterator[tuple[SourceId, SourceId, LabelState]]:
    if isinstance(content.labels, PairLabels):
        for image_id, category_id in content.labels.pairs():
            yield image_id, category_id, LabelState.PRESENT
        return
    for label in content.labels:
        yield label.image_id, label.category_id, label.state


def _shares(content: AnnotationSet, tally: _Tally) -> tuple[CategoryShare, ...]:
    shares = [
        CategoryShare(tally.names[key], tally.present[key], tally.absent[key])
        for key in (category.source_id for category in content.categories)
    ]
    return tuple(sorted(shares, key=lambda share: (-share.present, -share.absent)))


def _chosen(
    content: AnnotationSet, problems: Mapping[SourceId, MissingFile]
) -> Iterator[tuple[SourceId, ImageRecord]]:
    """Images to be shown, from all over the file; those that are there first."""
    step = max(1, len(content.images) // TRIED)
    spread = [content.images[i] for i in range(0, len(content.images), step)[:TRIED]]
    spread.sort(key=lambda image: image.source_id in problems)
    for image in spread[:SAMPLES]:
        yield image.source_id, image


def _samples(
    chosen: Mapping[SourceId, ImageRecord], tally: _Tally, loader: ImageLoader
) -> Iterator[Sample]:
    for image_id, image in chosen.items():
        picture, problem = None, None
        try:
            picture = thumbnail(loader.load(image.file_name, at_least=SIDE), SIDE)
        except ImageError as error:
            problem = legible(str(error))
        labels = tally.of_samples[image_id][:LABELS_SHOWN]
        of_state = {
            wanted: tuple(tally.names[key] for key, state in labels if state is wanted)
            for wanted in (LabelState.PRESENT, LabelState.ABSENT)
        }
        yield Sample(
            legible(image.file_name),
            picture,
            problem,
            of_state[LabelState.PRESENT],
            of_state[LabelState.ABSENT],
        )


def _missing_examples(
    content: AnnotationSet, problems: Mapping[SourceId, MissingFile]
) -> tuple[tuple[str, str], ...]:
    if not problems:
        return ()
    found: list[tuple[str, str]] = []
    for image in content.images:
        if image.source_id in problems:
            said = problems[image.source_id].message
            found.append((legible(image.file_name), legible(said)))
            if len(found) == EXAMPLES:
                break
    return tuple(found)
