"""The words everything else is written in: label states, records of a file, the label matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "AnnotationRecord",
    "AnnotationSet",
    "CategoryRecord",
    "Finetune",
    "ImageRecord",
    "JsonObject",
    "LabelMatrix",
    "LabelRecord",
    "LabelSource",
    "LabelState",
    "Origin",
    "Problem",
    "Progress",
    "Severity",
    "SourceId",
    "ValidationReport",
    "no_progress",
]

SourceId = int | str
"""An id as its file wrote it. COCO files in the wild use numbers and strings."""

JsonObject = dict[str, Any]

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)``; may raise JobCancelled to stop the work."""


def no_progress(done: int, total: int, what: str) -> None:
    """Ignore progress."""


class LabelState(IntEnum):
    """What is known of one category in one image.

    A missing annotation is UNKNOWN, never ABSENT, unless somebody said the file was exhaustive.
    """

    ABSENT = -1
    UNKNOWN = 0
    PRESENT = 1

    @property
    def word(self) -> str:
        """The state as files and the HTTP routes spell it: ``present``, ``absent``, ``unknown``."""
        return self.name.lower()

    @classmethod
    def from_word(cls, word: str) -> LabelState:
        """Parse ``present``, ``absent`` or ``unknown``.

        Raises:
            ValueError: For any other word.
        """
        try:
            return cls[word.strip().upper()]
        except KeyError:
            raise ValueError(f"{word!r} is not one of present, absent, unknown") from None


class LabelSource(StrEnum):
    """Where a label came from. A model never overwrites IMPORT or HUMAN.

    MODEL_AUDITED: a person accepted many proposals unseen, after an audit of some of them.
    """

    IMPORT = "import"
    HUMAN = "human"
    MODEL_AUDITED = "model, audited"


class Finetune(StrEnum):
    """What of a backbone is trained: nothing, low-rank updates of its image tower, or all of it."""

    NONE = "none"
    LORA = "lora"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of an annotation file. ``record`` is the source object, key order kept."""

    source_id: SourceId
    file_name: str
    width: int | None
    height: int | None
    record: JsonObject


@dataclass(frozen=True, slots=True)
class CategoryRecord:
    """One category of an annotation file. Names need not be unique; source ids are."""

    source_id: SourceId
    name: str
    supercategory: str | None
    record: JsonObject


@dataclass(frozen=True, slots=True)
class AnnotationRecord:
    """One box or mask, carried through verbatim.

    ``image_id`` and ``category_id`` are source ids; they are None where the record does not
    name an image or a category that the file contains (the record is still kept).
    """

    source_id: SourceId | None
    image_id: SourceId | None
    category_id: SourceId | None
    record: JsonObject


@dataclass(frozen=True, slots=True)
class LabelRecord:
    """One image-level label with its provenance. ``state`` is never UNKNOWN."""

    image_id: SourceId
    category_id: SourceId
    state: LabelState
    source: str = LabelSource.IMPORT
    model_run: str | None = None
    score: float | None = None
    annotator: str | None = None
    decided_at: str | None = None


@dataclass(frozen=True, slots=True)
class AnnotationSet:
    """The content of one annotation file.

    Attributes:
        format: Name of the format it was read from, e.g. ``coco``.
        header: Every top-level key in source order; the keys whose content lives in the lists
            below hold None as a place mark.
        images, categories, annotations: Records in source order.
        labels: Image-level labels the file states, at most one for each image and category.
        proposals: What a model said, where the file tells it apart from what people said; never
            a label.
    """

    format: str
    header: JsonObject
    images: Sequence[ImageRecord]
    categories: Sequence[CategoryRecord]
    annotations: Sequence[AnnotationRecord]
    labels: Sequence[LabelRecord]
    proposals: Sequence[LabelRecord] = ()


class Severity(StrEnum):
    """ERROR refuses the file; WARNING is kept and explained."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about one record.

    Attributes:
        severity: Whether the file is refused for it.
        code: Stable short name such as ``duplicate-image-id``.
        where: The record, e.g. ``annotations[17]``.
        message: What was found, what was expected and what happens with it.
    """

    severity: Severity
    code: str
    where: str
    message: str


@dataclass(slots=True)
class ValidationReport:
    """All problems of one file together, with the counts of what was read.

    Attributes:
        problems: Those that are told one by one.
        counts: How many records there are of each kind.
        untold: How many more there are of a severity and code; one of ``problems`` says so too.
    """

    problems: list[Problem] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    untold: dict[tuple[Severity, str], int] = field(default_factory=dict)

    def add(self, severity: Severity, code: str, where: str, message: str) -> None:
        """Note one more problem."""
        self.problems.append(Problem(severity, code, where, message))

    def error(self, code: str, where: str, message: str) -> None:
        """Note a problem that refuses the file."""
        self.add(Severity.ERROR, code, where, message)

    def warn(self, code: str, where: str, message: str) -> None:
        """Note a problem that the file is read in spite of."""
        self.add(Severity.WARNING, code, where, message)

    @property
    def errors(self) -> list[Problem]:
        """The problems that refuse the file."""
        return [p for p in self.problems if p.severity is Severity.ERROR]

    @property
    def ok(self) -> bool:
        """Whether the file can be used."""
        return not self.errors

    def by_code(self) -> dict[str, int]:
        """How often each code occurs, most frequent first."""
        return dict(Counter(p.code for p in self.problems).most_common())


class Origin(IntEnum):
    """How a label came to be known.

    QUEUE answers a proposal of an ordered queue, RANDOM one of the control arm; UNASKED was given
    without a proposal, IMPORTED by a file.
    """

    IMPORTED = 0
    QUEUE = 1
    RANDOM = 2
    UNASKED = 3


@dataclass(frozen=True, slots=True)
class LabelMatrix:
    """Labels of N images over C categories.

    Attributes:
        values: (N, C) int8 in {-1, 0, +1}; 0 is UNKNOWN.
        image_ids: (N,) int64, the row keys.
        category_ids: (C,) int64, the column keys.
    """

    values: npt.NDArray[np.int8]
    image_ids: npt.NDArray[np.int64]
    category_ids: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        expected = (len(self.image_ids), len(self.category_ids))
        if self.values.shape != expected:
            raise ValueError(f"label values have shape {self.values.shape}, expected {expected}")

    @classmethod
    def from_triples(
        cls,
        image_ids: Sequence[int],
        category_ids: Sequence[int],
        triples: Iterable[tuple[int, int, int]],
    ) -> LabelMatrix:
        """Build from ``(image_id, category_id, state)``; ids outside the axes are ignored."""
        rows = {id_: i for i, id_ in enumerate(image_ids)}
        columns = {id_: i for i, id_ in enumerate(category_ids)}
        values = np.zeros((len(rows), len(columns)), np.int8)
        for image_id, category_id, state in triples:
            row, column = rows.get(image_id), columns.get(category_id)
            if row is not None and column is not None:
                values[row, column] = state
        return cls(values, np.asarray(image_ids, np.int64), np.asarray(category_ids, np.int64))

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(N, C) mask of the entries that are not UNKNOWN."""
        known: npt.NDArray[np.bool_] = self.values != 0
        return known
