"""Annotation files in and out: each format reads, validates and writes an annotation set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clsl_core.formats.coco import coco, lvis
from clsl_core.formats.nus_wide import csv as nus_wide_csv
from clsl_core.formats.nus_wide import nus_wide
from clsl_core.formats.registry import Absent, Format, Reader, Validator, Writer, find
from clsl_core.formats.tables import csv_long, csv_wide, imagefolder, open_images
from clsl_core.formats.tools import datumaro, fiftyone, label_studio
from clsl_core.formats.voc import voc
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
    "Validator",
    "Writer",
    "get_format",
    "read",
    "write",
]

_ALL = (
    Format("coco", "COCO instances JSON", ".json", coco.read, coco.validate, coco.write),
    Format("lvis", "LVIS v0.5 or v1 JSON", ".json", lvis.read, lvis.validate, lvis.write),
    Format("voc", "PASCAL VOC folder", "", voc.read, voc.validate, voc.write),
    Format(
        "csv-wide",
        "CSV, a column for each category",
        ".csv",
        csv_wide.read,
        csv_wide.validate,
        csv_wide.write,
    ),
    Format(
        "csv-long",
        "CSV, a row for each label",
        ".csv",
        csv_long.read,
        csv_long.validate,
        csv_long.write,
    ),
    Format(
        "open-images",
        "Open Images CSV",
        ".csv",
        open_images.read,
        open_images.validate,
        open_images.write,
    ),
    Format(
        "nus-wide", "NUS-WIDE lists (folder)", "", nus_wide.read, nus_wide.validate, nus_wide.write
    ),
    Format(
        "nus-wide-csv",
        "NUS-WIDE CSV",
        ".csv",
        nus_wide_csv.read,
        nus_wide_csv.validate,
        nus_wide_csv.write,
    ),
    Format(
        "imagefolder",
        "Hugging Face imagefolder metadata",
        ".jsonl",
        imagefolder.read,
        imagefolder.validate,
        imagefolder.write,
    ),
    Format(
        "fiftyone",
        "FiftyOne labels.json",
        ".json",
        fiftyone.read,
        fiftyone.validate,
        fiftyone.write,
    ),
    Format(
        "label-studio",
        "Label Studio JSON",
        ".json",
        label_studio.read,
        label_studio.validate,
        label_studio.write,
    ),
    Format("datumaro", "Datumaro JSON", ".json", datumaro.read, datumaro.validate, datumaro.write),
)

FORMATS: dict[str, Format] = {item.name: item for item in _ALL}


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
    from clsl_core.formats.detect import detect  # which needs FORMATS

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


def get_format(name: str) -> Format:
    """The format called ``name``.

    Raises:
        NotFoundError: With the names there are.
    """
    return find(FORMATS, name)
