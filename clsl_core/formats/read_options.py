"""What a person declares about a file before it is read, beyond its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from clsl_core.errors import InputError
from clsl_core.formats import FORMATS, get_format
from clsl_core.formats.exhaustive import ExhaustiveLabels
from clsl_core.formats.findings import report_of
from clsl_core.formats.lazy_sequence import OneAfterTheOther
from clsl_core.formats.registry import Absent, Format
from clsl_core.formats.tables.cell_states import MinusOne, Zero
from clsl_core.formats.tables.imagefolder import Folders
from clsl_core.formats.voc.voc import Difficult
from clsl_core.formats.yolo.yolo import Empty
from clsl_core.types import (
    AnnotationSet,
    LabelRecord,
    Progress,
    ValidationReport,
    no_progress,
)

__all__ = ["ReadOptions", "Scores", "judged", "read_with", "validate_with"]

Scores = Literal["proposals", "final"]
"""What the predictions of a file are."""

_LACKS = {
    "difficult": "{} knows no difficult objects",
    "zero": "in {} the meaning of 0 is fixed",
    "minus_one": "in {} the meaning of -1 is fixed",
    "not_labels": "{} has no columns that could be left out",
    "folders": "the pictures of {} have no folders that could be labels",
    "empty": "{} has no label files that could be empty",
    "picture_key": "{} has no keys among which one could be chosen",
}
"""The declarations that not every format takes, and what is said of one that does not."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Declarations about one file.

    Attributes:
        absent: What a missing annotation means, in all categories.
        exhaustive: Names of the categories that were annotated in every image: there a missing
            annotation means absent, whatever ``absent`` says.
        difficult: What a category of only difficult objects is (VOC).
        zero: What ``0`` means (tables).
        minus_one: What ``-1`` means (tables).
        not_labels: The columns that are no categories (wide tables).
        scores: What predictions are: proposals for people to judge, or final, which makes labels
            of them.
        threshold: The least score of a prediction that is taken in.
        folders: What the folder of a picture says (a plain folder of pictures).
        empty: What all classes are in an image without a line (YOLO).
        picture_key: Of a task's data, whose value is its picture (Label Studio).
    """

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


def read_with(
    path: Path, format_name: str, options: ReadOptions, progress: Progress = no_progress
) -> tuple[AnnotationSet, ValidationReport]:
    r"""Read a file as it was declared.

    >>> from tempfile import TemporaryDirectory
    >>> folder = TemporaryDirectory()
    >>> table = Path(folder.name) / "labels.csv"
    >>> _ = table.write_text("file,cat,dog\na.jpg,1,\nb.jpg,,\n")
    >>> content, _ = read_with(table, "csv-wide", ReadOptions(exhaustive=("cat",)))
    >>> [(x.image_id, x.category_id, x.state.word) for x in content.labels]
    [('a.jpg', 'cat', 'present'), ('b.jpg', 'cat', 'absent')]
    >>> folder.cleanup()

    Args:
        path: The file or folder.
        format_name: A key of ``FORMATS``.
        options: What was declared.
        progress: Told how far reading is.

    Raises:
        FormatError: When it cannot be read, with the report of all problems.
        InputError: When something was declared that this format or file does not have.
        NotFoundError: When there is no such format.
    """
    content, report = _read(path, format_name, options, progress)
    if content.proposals:
        content = judged(content, options)
        report.counts |= {"labels": len(content.labels), "proposals": len(content.proposals)}
    if not options.exhaustive or options.absent == "negative":
        return content, report
    content = replace(content, labels=_exhaustive_in(content, options.exhaustive))
    report.counts["labels"] = len(content.labels)
    return content, report


def judged(content: AnnotationSet, options: ReadOptions) -> AnnotationSet:
    """The set with those of its predictions that were asked for, as what was declared.

    Where both are known, what a person said counts.
    """
    taken = [x for x in content.proposals if x.score is None or x.score >= options.threshold]
    if options.scores == "proposals":
        return replace(content, proposals=taken)
    new = {(x.image_id, x.category_id): replace(x, source="import") for x in taken}
    if isinstance(content.labels, ExhaustiveLabels):
        return replace(content, labels=content.labels.with_stated(new), proposals=())
    for label in content.labels:
        new.pop((label.image_id, label.category_id), None)
    labels = OneAfterTheOther(content.labels, list(new.values()))
    return replace(content, labels=labels, proposals=())


def validate_with(path: Path, format_name: str, options: ReadOptions) -> ValidationReport:
    """Every problem of a file that is read as declared; bad content never raises.

    Raises:
        InputError: When something was declared that this format or file does not have.
        NotFoundError: When there is no such format.
    """
    return report_of(lambda file: read_with(file, format_name, options), path)


def _read(
    path: Path, format_name: str, options: ReadOptions, progress: Progress
) -> tuple[AnnotationSet, ValidationReport]:
    chosen = get_format(format_name)
    declared = dict(_declarations(chosen, options))
    return chosen.read_as(path, absent=options.absent, progress=progress, declared=declared)


def _declarations(chosen: Format, options: ReadOptions) -> Iterator[tuple[str, Any]]:
    """What was declared that not every format takes."""
    for item in fields(options):
        value = getattr(options, item.name)
        if item.name in _LACKS and value != item.default:
            if item.name not in chosen.declarations:
                raise InputError(_lacking(chosen, item.name))
            yield item.name, value


def _lacking(chosen: Format, declaration: str) -> str:
    able = [other.name for other in FORMATS.values() if declaration in other.declarations]
    lacks = _LACKS[declaration].format(chosen.title)
    return f"{lacks}: leave that declaration away, it is for {', '.join(able)}"


def _exhaustive_in(content: AnnotationSet, names: Sequence[str]) -> Sequence[LabelRecord]:
    known = {category.name for category in content.categories}
    missing = next((name for name in names if name not in known), None)
    if missing is not None:
        near = get_close_matches(missing, known, 3) or sorted(known)[:5]
        raise InputError(
            f"the file has no category {missing!a:.100} that could be exhaustive; there are "
            f"{', '.join(f'{name!a:.60}' for name in near) or 'none'}"
        )
    chosen = {item.source_id for item in content.categories if item.name in names}
    stated = {
        (label.image_id, label.category_id): label
        for label in content.labels
        if label.category_id in chosen
    }
    declared = ExhaustiveLabels([item.source_id for item in content.images], chosen, stated)
    rest = [label for label in content.labels if label.category_id not in chosen]
    return OneAfterTheOther(rest, declared)
