"""Every error this program raises on purpose.

    ClslError
    ├── InputError             something from outside is not as it must be
    │   ├── FormatError        an annotation file; carries the validation report
    │   ├── ImageError         one picture; carries a short reason
    │   └── UnsafePathError    a file name that leaves its dataset's root
    ├── NotFoundError          no such dataset, category, job, file …
    ├── ConflictError          the name is taken, a training is already live …
    ├── BackboneError          weights cannot be loaded or fetched
    ├── FeatureStoreError      cached features are damaged or do not fit
    ├── TrainingError          there is nothing to learn from
    ├── DatabaseError          the database cannot be used as it is
    └── JobCancelled           somebody asked the running job to stop

A message says what was found, what was expected, where, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clsl_core.types import ValidationReport

__all__ = [
    "BackboneError",
    "ClslError",
    "ConflictError",
    "DatabaseError",
    "FeatureStoreError",
    "FormatError",
    "ImageError",
    "InputError",
    "JobCancelled",
    "NotFoundError",
    "TrainingError",
    "UnsafePathError",
]


class ClslError(Exception):
    """The root of the tree: a message meant for the person at the screen."""


class InputError(ClslError):
    """Something from outside (file, upload, request, argument) is not as it must be."""


class FormatError(InputError):
    """An annotation file cannot be read.

    Attributes:
        report: Every problem found, or None when the file could not be parsed at all.
    """

    def __init__(self, message: str, report: ValidationReport | None = None) -> None:
        super().__init__(message)
        self.report = report


class ImageError(InputError):
    """One picture cannot be used.

    Attributes:
        reason: One of ``missing``, ``empty``, ``not-an-image``, ``truncated``, ``too-large``,
            ``unsafe-path``, ``unreadable``, ``unreachable``.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class UnsafePathError(ImageError):
    """A file name that points outside its dataset's root."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "unsafe-path")


class NotFoundError(ClslError):
    """What was asked for does not exist."""


class ConflictError(ClslError):
    """The request contradicts the present state."""


class BackboneError(ClslError):
    """A backbone's weights cannot be loaded or fetched."""


class FeatureStoreError(ClslError):
    """Cached features are damaged, or were made by another backbone."""


class TrainingError(ClslError):
    """There is nothing to learn from, or learning failed for a stated reason."""


class DatabaseError(ClslError):
    """The database cannot be used as it is."""


class JobCancelled(ClslError):  # noqa: N818 - a request, not a fault
    """Somebody asked the running job to stop."""
