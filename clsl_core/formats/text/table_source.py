"""Delimited text in: delimiter and encoding found out, every problem with its line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clsl_core.formats.findings import Findings
from clsl_core.formats.text.json_source import text_of
from clsl_core.types import JsonObject, Progress, no_progress

__all__ = [
    "DELIMITERS",
    "MAX_COLUMNS",
    "Table",
    "guess_delimiter",
    "header_line",
    "plain_cell",
    "read_table",
    "safe_cell",
    "table_line",
]

DELIMITERS = (",", ";", "\t", "|")
MAX_COLUMNS = 50_000
"""The widest table; the largest public multi-label vocabulary has about 20,000 categories."""

_HEAD = 2**20
"""Characters in which the header row is looked for."""

_FORMULA = re.compile(r"[=+\-@\t\r]")
_SIGNS = frozenset("=+-@\t\r'")
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Table:
    """A parsed table.

    Attributes:
        columns: The cells of the first row without blanks around them.
        rows: For each other row that is not blank its line number, counted from 1, and its cells
            without the apostrophe of ``safe_cell``.
        style: How it was written: ``columns`` with their blanks, ``delimiter``, ``line_end``.
    """

    columns: list[str]
    rows: list[tuple[int, list[str]]]
    style: JsonObject


def read_table(
    path: Path,
    findings: Findings,
    progress: Progress = no_progress,
    *,
    delimiter: str | None = None,
    place: str = "",
) -> Table:
    """Read a file of delimited text with a header row.

    UTF-8 and UTF-16 (by its byte order mark) are read as such, anything else as Windows-1252 with
    a warning.

    Args:
        path: The file.
        findings: Receives the problems.
        progress: Told the lines read so far.
        delimiter: One character; found from the header row when None.
        place: Put before each line number that is told.

    Raises:
        FormatError: When the file is no table.
    """
    text = _decoded(path, findings, place.strip() or "file")
    chosen = delimiter or guess_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=chosen, strict=True)
    rows: list[tuple[int, list[str]]] = []
    start, total = 1, text.count("\n") + 1
    try:
        for cells in reader:
            if any(cells):
                rows.append((start, _plain_row(cells, f"{place}line {start}", findings)))
            start = reader.line_num + 1
            if len(rows) % 5000 == 0:
                progress(start, total, "reading rows")
    except csv.Error as error:
        line = max(reader.line_num, 1)
        message = f"not a table: {error}; look at the quotation marks of this row"
        findings.refuse("not-a-table", f"{place}line {line}", message)
    if not rows:
        findings.refuse(
            "empty-file",
            place.strip() or "file",
            "there is no row in it; a header row was expected",
        )
    header = rows[0][1]
    if len(header) > MAX_COLUMNS:
        message = f"{len(header):,} columns, more than the {MAX_COLUMNS:,} allowed"
        findings.refuse("too-many-columns", f"{place}line {rows[0][0]}", message)
    style: JsonObject = {
        "columns": header,
        "delimiter": chosen,
        "line_end": "\r\n" if _header_row(text).endswith("\r") else "\n",
    }
    return Table([cell.strip() for cell in header], rows[1:], style)


def safe_cell(text: str) -> str:
    """The cell with an apostrophe before what a spreadsheet would run as a formula.

    Numbers stay as they are. ``plain_cell`` takes the apostrophe off again, and only that one.
    """
    if _FORMULA.match(text.lstrip("'")) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def plain_cell(text: str) -> str:
    """What ``safe_cell`` was given."""
    guarded = text.startswith("'") and _FORMULA.match(text.lstrip("'"))
    return text[1:] if guarded else text


def table_line(cells: Iterable[str], delimiter: str = ",", line_end: str = "\n") -> str:
    """One row as text; cells are quoted where they must be, and made safe for spreadsheets."""
    return delimiter.join(_quoted(safe_cell(cell), delimiter) for cell in cells) + line_end


def header_line(cells: Iterable[str], delimiter: str = ",", line_end: str = "\n") -> str:
    """The header row: any delimiter in a cell is quoted, so that the right one is found again."""
    signs = "".join(DELIMITERS)
    return delimiter.join(_quoted(safe_cell(cell), signs) for cell in cells) + line_end


def _quoted(cell: str, delimiters: str) -> str:
    if any(sign in cell for sign in (*delimiters, '"', "\n", "\r")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _plain_row(cells: list[str], line: str, findings: Findings) -> list[str]:
    if not any(cell[:1] in _SIGNS for cell in cells):
        return cells
    for index, cell in enumerate(cells, start=1):
        if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
            message = (
                f"{cell[:40]!a} would run as a formula in a spreadsheet; an export puts an "
                "apostrophe before it"
            )
            findings.warn("formula-cell", f"{line}, column {index}", message)
    return [plain_cell(cell) for cell in cells]


def guess_delimiter(text: str) -> str:
    """The sign that separates the cells of the header row, quoted cells left out."""
    return max(DELIMITERS, key=_header_row(text).count)


def _header_row(text: str) -> str:
    """The first row without its quoted cells, which may hold anything."""
    return _QUOTED.sub("", text[:_HEAD]).split("\n", 1)[0]


def _decoded(path: Path, findings: Findings, where: str) -> str:
    """The text of the file; what its encoding is, is told when it is not UTF-8."""
    try:
        raw = path.read_bytes() if path.is_file() else None
    except OSError:
        raw = None
    if raw is None or raw.startswith(_UTF8_BOM):
        return text_of(path, findings, where)  # which says what is wrong with the file
    encoding = "utf-16" if raw.startswith(_UTF16) else "utf-8"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            message = f"damaged UTF-16 at byte {error.start:,}; save the file as UTF-8"
            findings.refuse("not-utf-8", where, message)
        line = raw.count(b"\n", 0, error.start) + 1
        text, encoding = raw.decode("cp1252", "replace"), "Windows-1252"
        message = "not UTF-8 from here on, read as Windows-1252; if names look wrong, save as UTF-8"
        findings.warn("encoding", f"line {line}" if where == "file" else where, message)
    if encoding == "utf-16":
        findings.warn("encoding", where, "the file is UTF-16; an export will be UTF-8")
    return text
