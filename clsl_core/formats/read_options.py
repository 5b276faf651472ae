"""What a person declares about a file before it is read, beyond its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import overload

from clsl_core.errors import InputError
from clsl_core.formats import get_format
from clsl_core.formats.exhaustive import ExhaustiveLabels
from clsl_core.formats.findings import report_of
from clsl_core.formats.registry import Absent
from clsl_core.formats.tables import csv_long, csv_wide
from clsl_core.formats.tables.cell_states import Zero
from clsl_core.formats.voc import voc
from clsl_core.formats.voc.voc import Difficult
from clsl_core.types import (
    AnnotationSet,
    LabelRecord,
    Progress,
    ValidationReport,
    no_progress,
)

__all__ = ["DIFFICULT_FORMATS", "ZERO_FORMATS", "ReadOptions", "read_with", "validate_with"]

DIFFICULT_FORMATS = ("voc",)
"""Formats that know difficult objects."""
ZERO_FORMATS = ("csv-wide", "csv-long")
"""Formats in which ``0`` means absent to some and unknown to others."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Declarations about one file.

    Attributes:
        absent: What a missing annotation means, in all categories.
        exhaustive: Names of the categories that were annotated in every image: there a missing
            annotation means absent, whatever ``absent`` says.
        difficult: What a category of only difficult objects is (VOC).
        zero: What ``0`` means (tables).
    """

    absent: Absent = "unknown"
    exhaustive: tuple[str, ...] = ()
    difficult: Difficult = "ignore"
    zero: Zero = "auto"


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
    if not options.exhaustive or options.absent == "negative":
        return content, report
    content = replace(content, labels=_exhaustive_in(content, options.exhaustive))
    report.counts["labels"] = len(content.labels)
    return content, report


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
    if options.difficult != "ignore" and format_name not in DIFFICULT_FORMATS:
        raise InputError(
            f"{chosen.title} knows no difficult objects: leave that declaration away, it is for "
            f"{', '.join(DIFFICULT_FORMATS)}"
        )
    if options.zero != "auto" and format_name not in ZERO_FORMATS:
        raise InputError(
            f"in {chosen.title} the meaning of 0 is fixed: leave that declaration away, it is for "
            f"{', '.join(ZERO_FORMATS)}"
        )
    absent = options.absent
    if format_name == "voc":
        return voc.read(path, absent=absent, progress=progress, difficult=options.difficult)
    if format_name == "csv-wide":
        return csv_wide.read(path, absent=absent, progress=progress, zero=options.zero)
    if format_name == "csv-long":
        return csv_long.read(path, absent=absent, progress=progress, zero=options.zero)
    return chosen.read(path, absent=absent, progress=progress)


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
    return _OneAfterTheOther(rest, declared)


class _OneAfterTheOther(Sequence[LabelRecord]):
    """Two sequences as one, neither copied."""

    def __init__(self, first: Sequence[LabelRecord], second: Sequence[LabelRecord]) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __iter__(self) -> Iterator[LabelRecord]:
        yield from self._first
        yield from self._second

    @overload
    def __getitem__(self, index: int) -> LabelRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LabelRecord]: ...
    def __getitem__(self, index: int | slice) -> LabelRecord | Sequence[LabelRecord]:
        places = range(len(self))[index]
        return [self._at(i) for i in places] if isinstance(places, range) else self._at(places)

    def _at(self, index: int) -> LabelRecord:
        first = len(self._first)
        return self._first[index] if index < first else self._second[index - first]
