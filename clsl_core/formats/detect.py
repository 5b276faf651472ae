"""Which format a file or folder is in, and why.

Only the beginning of a table is read, and a JSON file is searched for the words that tell the
formats apart, so that a file of a gigabyte costs no more than reading it once from the disk.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clsl_core.errors import FormatError
from clsl_core.formats.catalogue import FORMATS
from clsl_core.formats.cvat import cvat
from clsl_core.formats.tables import csv_long
from clsl_core.formats.tables.cell_states import is_state
from clsl_core.formats.tables.csv_wide import PICTURES, label_columns
from clsl_core.formats.text.table_source import guess_delimiter
from clsl_core.formats.unknown_files import why_unknown
from clsl_core.formats.yolo.layout import YAML_NAMES
from clsl_core.types import ValidationReport

__all__ = ["PLAIN_FOLDER", "Detected", "detect"]

PLAIN_FOLDER = "it holds pictures and no annotations: a plain folder"
"""The reason of a folder that no file says anything about."""

_ANNOTATIONS = (".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml")

_HEAD = 2**18
"""Bytes read of a table."""

_BLOCK = 2**20
_OVERLAP = 64
"""Bytes of a JSON file read at once, and kept of the block before: more than a word is long."""

_ROWS = 200
"""Rows of a table that are looked at."""

_JSON_WORDS = (
    ("lvis", (b'"neg_category_ids"',), ()),
    ("coco", (b'"images"',), ()),
    ("datumaro", (b'"items"', b'"categories"'), ()),
    ("fiftyone", (b'"labels"',), (b'"file_name"',)),
)
"""Format, words that must occur, and words that must not, in the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class Detected:
    """A guess.

    Attributes:
        format: The name, a key of ``FORMATS``.
        reason: What told it, in words for the person at the screen.
    """

    format: str
    reason: str


def detect(path: Path) -> Detected:
    """Guess the format of a file or folder.

    Args:
        path: What a person wants to import.

    Raises:
        FormatError: When there is no such thing, or it looks like no format that is known.
    """
    try:
        found = _in_folder(path) if path.is_dir() else _in_file(path)
    except FileNotFoundError:
        raise FormatError(f"there is no file or folder {path}") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be opened: {error}") from error
    if found is None:
        raise _unknown(path)
    return found


def _unknown(path: Path) -> FormatError:
    """The error for what looks like no format; with a report where more can be said."""
    known = ", ".join(f"{item.name} ({item.title})" for item in FORMATS.values())
    reason = None if path.is_dir() else why_unknown(_beginning(path)[0])
    told = f": {reason}; or name one of: {known}" if reason else f"; name one of: {known}"
    report = ValidationReport()
    if reason:
        report.error("unknown-format", "file", reason)
    return FormatError(f"{path.name} looks like no known format{told}", report if reason else None)


_FOLDERS = (
    ("voc", "Annotations/**/*.xml"),
    ("voc", "ImageSets/Main"),
    ("nus-wide", "ImageList/*.txt"),
    *(("yolo", name) for name in YAML_NAMES),
    ("cvat", cvat.FILE),
    ("imagefolder", "metadata.jsonl"),
    ("imagefolder", "metadata.csv"),
    ("fiftyone", "labels.json"),
    ("imagefolder", "*/metadata.jsonl"),
    ("imagefolder", "*/metadata.csv"),
    ("voc", "*.xml"),
    ("voc", "*/*.xml"),
)
"""Format and what a folder of it holds, in the order in which they are tried."""


def _in_folder(path: Path) -> Detected | None:
    """The formats that are folders, or name one file in a folder."""
    for name, pattern in _FOLDERS:
        found = min(path.glob(pattern), default=None)
        if found is not None:
            held = found.relative_to(path).as_posix()
            kind = "XML files such as " * held.endswith(".xml")
            return Detected(name, f"it holds {kind}{held}")
    endings = {file.suffix.lower() for file in path.rglob("*")}
    if endings.isdisjoint(_ANNOTATIONS) and not endings.isdisjoint(PICTURES):
        return Detected("imagefolder", PLAIN_FOLDER)
    return None


def _in_file(path: Path) -> Detected | None:
    if not path.is_file():
        path.stat()  # raises when there is nothing of that name
        return None
    text, whole = _beginning(path)
    if re.match(r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<annotations\b", text, re.DOTALL):
        return Detected("cvat", "it is XML with <annotations>")
    if path.suffix.lower() in (".yaml", ".yml") and re.search(r"(?m)^\s*names\s*:", text):
        return Detected("yolo", "it is YAML with names")
    if text.startswith("[") and '"data"' in text:
        return Detected("label-studio", "it is a JSON list of tasks with data")
    if text.startswith("{"):
        return _in_lines(text) or _in_json(path)
    return _in_table(path, text, whole=whole)


def _beginning(path: Path) -> tuple[str, bool]:
    """The first text of a file without blanks before it, and whether that is all of it."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return head.decode(encoding, "replace").lstrip(), len(head) < _HEAD


def _in_lines(text: str) -> Detected | None:
    first, _, rest = text.partition("\n")
    ends = first.rstrip().endswith("}") and not rest.lstrip().startswith(("}", "]", ","))
    if ends and '"file_name"' in first and '"images"' not in first:
        return Detected("imagefolder", "each line is a JSON object with file_name")
    return None


def _in_json(path: Path) -> Detected | None:
    there = _words_in(path, {word for _, yes, no in _JSON_WORDS for word in (*yes, *no)})
    for name, wanted, unwanted in _JSON_WORDS:
        if there.issuperset(wanted) and there.isdisjoint(unwanted):
            words = " and ".join(word.decode() for word in wanted)
            return Detected(name, f"it is a JSON object with {words}")
    return None


def _words_in(path: Path, words: set[bytes]) -> set[bytes]:
    """Which of the words occur, read block by block: a mapped file would count as memory."""
    found: set[bytes] = set()
    tail = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            text = tail + block
            found |= {word for word in words - found if word in text}
            tail = text[-_OVERLAP:]
    return found


def _in_table(path: Path, text: str, *, whole: bool) -> Detected | None:
    """The formats that are tables, by the names of their columns."""
    if not whole:
        text = text.rpartition("\n")[0]
    rows = _rows(text)
    columns = [cell.strip() for cell in next(rows, [])]
    if len(columns) < 2 or not columns[0] or "\0" in text or columns[0].lower().startswith("sep="):
        return None
    shown = ", ".join(columns[:4])[:80]
    body = [row for row, _ in zip(rows, range(_ROWS), strict=False)]
    is_metadata = path.name == "metadata.csv" and "file_name" in columns
    rules = (
        ("open-images", {"ImageID", "LabelName", "Confidence"} <= set(columns), shown),
        ("nus-wide-csv", _has_lists(columns, body), "label holds Python lists"),
        ("imagefolder", is_metadata, f"{shown}, and the file is called metadata.csv"),
        ("csv-long", csv_long.has_columns(columns), f"{shown}: a row for each label"),
        (
            "csv-wide",
            _are_states(columns, body),
            "every cell of a category is 1, 0, -1 or empty",
        ),
    )
    found = next(((name, why) for name, fits, why in rules if fits), None)
    return Detected(found[0], f"it is a table; columns: {found[1]}") if found else None


def _rows(text: str) -> Iterator[list[str]]:
    delimiter = guess_delimiter(text)
    try:
        for row in csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True):
            if any(row):
                yield row
    except csv.Error:
        return


def _has_lists(columns: list[str], rows: list[list[str]]) -> bool:
    if not {"filepath", "label"} <= set(columns):
        return False
    place = columns.index("label")
    return any(len(row) > place and row[place].startswith("[") for row in rows)


def _are_states(columns: list[str], rows: list[list[str]]) -> bool:
    """Whether all columns behind the first hold states, or some where that names pictures."""
    places = label_columns(columns)
    whole = [i for i in places if all(is_state(row[i]) for row in rows if i < len(row))]
    if not rows or not whole:
        return False
    named = [row[0].lower().endswith(PICTURES) for row in rows]
    return len(whole) == len(places) or 2 * sum(named) > len(named)
