"""What a format must offer, and where to find it by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from clsl_core.errors import NotFoundError
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    LabelRecord,
    Progress,
    ValidationReport,
    no_progress,
)

__all__ = ["Absent", "Format", "Reader", "Validator", "Writer", "find"]

Absent = Literal["unknown", "negative"]
"""What a missing annotation means: nothing, or (file declared exhaustive) an absent category."""


class Reader(Protocol):
    """Turns a file into an annotation set; raises FormatError with the report when it cannot."""

    def __call__(
        self, path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
    ) -> tuple[AnnotationSet, ValidationReport]:
        """Read ``path``."""


class Validator(Protocol):
    """Reports every problem of a file; bad content never raises."""

    def __call__(self, path: Path) -> ValidationReport:
        """Check ``path``."""


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
        read, validate, write: The three things a format does.
    """

    name: str
    title: str
    suffix: str
    read: Reader
    validate: Validator
    write: Writer


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
