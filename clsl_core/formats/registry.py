"""What a format must offer, and where to find it by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from clsl_core.errors import NotFoundError
from clsl_core.formats.findings import report_of
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    LabelRecord,
    Progress,
    ValidationReport,
    no_progress,
)

__all__ = ["Absent", "Format", "Reader", "Writer", "find"]

Absent = Literal["unknown", "negative"]
"""What a missing annotation means: nothing, or (file declared exhaustive) an absent category."""


class Reader(Protocol):
    """Turns a file into an annotation set; raises FormatError with the report when it cannot."""

    def __call__(
        self, path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
    ) -> tuple[AnnotationSet, ValidationReport]:
        """Read ``path``."""


class Writer(Protocol):
    """Writes an annotation set with added labels; the file appears whole or not at all."""

    def __call__(
        self,
        annotation_set: AnnotationSet,
        new_labels: Iterable[LabelRecord],
        output: Path,
        *,
        summary: JsonObject,
    ) -> None:
        """Write to ``output``."""


@dataclass(frozen=True, slots=True)
class Format:
    """One annotation format.

    Attributes:
        name: The word used on the command line and in the database, e.g. ``coco``.
        title: The words on the screen.
        suffix: File name ending of an export, with the dot.
        read, write: What a format does.
        declarations: The keyword arguments of ``read`` that ``ReadOptions`` has under the same
            name: what a person may declare about a file of this format.
    """

    name: str
    title: str
    suffix: str
    read: Reader
    write: Writer
    declarations: tuple[str, ...] = ()

    def read_as(
        self, path: Path, *, absent: Absent, progress: Progress, declared: Mapping[str, Any]
    ) -> tuple[AnnotationSet, ValidationReport]:
        """Read ``path`` as it was declared, by the names of ``declarations``."""
        reader: Callable[..., tuple[AnnotationSet, ValidationReport]] = self.read
        return reader(path, absent=absent, progress=progress, **declared)

    def validate(self, path: Path) -> ValidationReport:
        """Every problem of a file; bad content never raises."""
        return report_of(self.read, path)


def find(formats: Mapping[str, Format], name: str) -> Format:
    """The format called ``name``.

    Raises:
        NotFoundError: With the names there are.
    """
    try:
        return formats[name]
    except KeyError:
        known = ", ".join(sorted(formats))
        raise NotFoundError(f"there is no format {name!r}; the formats are: {known}") from None
