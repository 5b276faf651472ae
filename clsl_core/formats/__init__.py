"""Annotation files in and out: each format reads, validates and writes an annotation set.

Others use what is named here, `read_options` for what a person declares about a file, `detect` for
the reason of a guess, and `capabilities` for what a format can hold. `text` is the floor below:
JSON, XML, CSV and folders, read and written safely.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clsl_core.formats.catalogue import FORMATS, get_format
from clsl_core.formats.detect import detect
from clsl_core.formats.registry import Absent, Format, Reader, Writer
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    LabelRecord,
    Progress,
    ValidationReport,
    no_progress,
)

__all__ = [
    "FORMATS",
    "Absent",
    "Format",
    "Reader",
    "Writer",
    "get_format",
    "read",
    "write",
]


def read(
    path: Path | str,
    format_name: str | None = None,
    *,
    absent: Absent = "unknown",
    progress: Progress = no_progress,
) -> tuple[AnnotationSet, ValidationReport]:
    r"""Read an annotation file or folder of any format.

    >>> from tempfile import TemporaryDirectory
    >>> from clsl_core.types import LabelState
    >>> folder = TemporaryDirectory()
    >>> table = Path(folder.name) / "labels.csv"
    >>> _ = table.write_text("file,cat,dog\na.jpg,1,-1\n")
    >>> content, report = read(table)
    >>> content.format, report.ok, [label.state.word for label in content.labels]
    ('csv-wide', True, ['present', 'absent'])
    >>> decision = LabelRecord("a.jpg", "dog", LabelState.PRESENT, source="human")
    >>> write(content, Path(folder.name) / "out.json", [decision], format_name="coco")
    >>> [label.state.word for label in read(Path(folder.name) / "out.json")[0].labels]
    ['present', 'present']
    >>> folder.cleanup()

    Args:
        path: What to read.
        format_name: A key of ``FORMATS``; found from the content when None.
        absent: What is said of nothing: unknown, or (declared exhaustive) absent.
        progress: Told how far reading is.

    Raises:
        FormatError: When it cannot be read, with the report of all problems.
        NotFoundError: When there is no such format.
    """
    source = Path(path)
    name = format_name or detect(source).format
    return get_format(name).read(source, absent=absent, progress=progress)


def write(
    content: AnnotationSet,
    output: Path | str,
    new_labels: Iterable[LabelRecord] = (),
    *,
    format_name: str | None = None,
    summary: JsonObject | None = None,
) -> None:
    """Write an annotation set with added labels, whole or not at all; see ``read``.

    Args:
        content: What ``read`` gave.
        output: The file, or the folder for formats that are folders.
        new_labels: The labels to add, with the ids of ``content``.
        format_name: A key of ``FORMATS``; that of the content when None.
        summary: What the export contains, to be told in it or beside it.

    Raises:
        InputError: When a label names what the set does not have, or ``output`` cannot be
            written.
        NotFoundError: When there is no such format.
    """
    own = get_format(format_name or content.format)
    own.write(content, new_labels, Path(output), summary=summary or {})
