"""Which format a file or folder is in, and why.

Only the beginning of a table is read, and a JSON file is searched for the words that tell the
formats apart, so that a file of a gigabyte costs no more than reading it once from the disk.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clsl_core.errors import FormatError
from clsl_core.formats.catalogue import FORMATS
from clsl_core.formats.tables import csv_long
from clsl_core.formats.tables.cell_states import state_of_cell
from clsl_core.formats.tables.csv_wide import RESERVED
from clsl_core.formats.text.table_source import guess_delimiter
from clsl_core.types import LabelState

__all__ = ["Detected", "detect"]

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
        known = ", ".join(f"{item.name} ({item.title})" for item in FORMATS.values())
        raise FormatError(f"{path.name} looks like no known format; name one of: {known}")
    return found


def _in_folder(path: Path) -> Detected | None:
    """The formats that are folders, or name one file in a folder."""
    if (path / "Annotations").is_dir() and any((path / "Annotations").glob("*.xml")):
        return Detected("voc", "it holds Annotations/*.xml")
    if (path / "ImageSets" / "Main").is_dir():
        return Detected("voc", "it holds ImageSets/Main")
    lists = sorted(path.glob("ImageList/*.txt"))
    if lists:
        return Detected("nus-wide", f"it holds ImageList/{lists[0].name}")
    for name, found in (
        ("metadata.jsonl", "imagefolder"),
        ("metadata.csv", "imagefolder"),
        ("labels.json", "fiftyone"),
    ):
        if (path / name).is_file():
            return Detected(found, f"it holds {name}")
    if any(path.glob("*.xml")):
        return Detected("voc", "it holds XML files")
    return None


def _in_file(path: Path) -> Detected | None:
    if not path.is_file():
        path.stat()  # raises when there is nothing of that name
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD)
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = head.decode(encoding, "replace").lstrip()
    if text.startswith("[") and '"data"' in text:
        return Detected("label-studio", "it is a JSON list of tasks with data")
    if text.startswith("{"):
        return _in_lines(text) or _in_json(path)
    return _in_table(path, text, whole=len(head) < _HEAD)


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
    if len(columns) < 2 or "\0" in text:
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
            "every cell behind the first is 1, 0, -1 or empty",
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
    places = [i for i, name in enumerate(columns) if i and name.lower() not in RESERVED]
    try:
        for row in rows:
            for place in places:
                state_of_cell(row[place] if place < len(row) else "", LabelState.ABSENT)
    except ValueError:
        return False
    return bool(places and rows)
