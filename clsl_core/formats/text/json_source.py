"""Reading a JSON object from a file, record by record, so that every problem has an address.

Python's parser accepts more than JSON (NaN, repeated keys) and fails in more than one way
(recursion, very long numbers). Here each of these ends in the validation report.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from clsl_core.formats.findings import Findings
from clsl_core.types import Progress

__all__ = [
    "MAX_DEPTH",
    "JsonParser",
    "kind_of",
    "read_json_lines",
    "read_json_list",
    "read_json_object",
    "text_of",
]

MAX_DEPTH = 64
"""Deepest nesting of one record. COCO needs four levels."""

_BLANK = re.compile(r"[ \t\n\r]*")
_BOM = b"\xef\xbb\xbf"
_RECORDS_PER_PROGRESS = 5000
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_json_object(path: Path, findings: Findings, progress: Progress) -> dict[str, Any]:
    """Parse a file whose top level is an object; key order is kept.

    The only change made to the content: NaN, infinities and numbers too large for a float become
    None, each with a warning that names its record. The text of the file and the parsed records
    are held in memory together.

    Args:
        path: A UTF-8 file.
        findings: Receives the problems.
        progress: Told the characters read so far.

    Returns:
        The parsed object.

    Raises:
        FormatError: When the file is no such object.
    """
    return JsonParser(text_of(path, findings), findings, progress).document()


def read_json_list(path: Path, findings: Findings, progress: Progress) -> list[Any]:
    """Parse a file whose top level is a list, as ``read_json_object`` does an object.

    Raises:
        FormatError: When the file is no such list.
    """
    return JsonParser(text_of(path, findings), findings, progress).records()


def read_json_lines(path: Path, findings: Findings, progress: Progress) -> list[tuple[int, Any]]:
    """Parse a file with one JSON value a line, as ``read_json_object`` does an object.

    Returns:
        The number of each line that is not blank, counted from 1, and its value.

    Raises:
        FormatError: When a line is no JSON.
    """
    lines = text_of(path, findings).split("\n")
    values: list[tuple[int, Any]] = []
    for number, line in enumerate(lines, start=1):
        if line.strip(" \t\r"):
            values.append((number, JsonParser(line, findings, progress, number).value()))
        if number % _RECORDS_PER_PROGRESS == 0:
            progress(number, len(lines), "reading lines")
    return values


def kind_of(value: object) -> str:
    """What a JSON value is, in words: ``a list``, ``text``, ``null``, and so on."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {str(value)[:40]}"
        case str():
            return f"the text {value[:40]!a}"
        case list():
            return "a list"
    return "an object"


def text_of(path: Path, findings: Findings, where: str = "file") -> str:
    """The decoded content of a regular file, without a byte order mark."""
    raw = _bytes(path, findings, where)
    if raw.startswith(_BOM):
        findings.warn("bom", where, "the file begins with a byte order mark; it is left out")
        raw = raw[len(_BOM) :]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        hint = " (it looks like UTF-16)" if raw.startswith(_UTF16) else ""
        message = f"not UTF-8 text{hint}: byte {error.start:,} is 0x{raw[error.start]:02x}; "
        findings.refuse("not-utf-8", where, message + "save the file as UTF-8")
    if not text.strip(" \t\n\r"):
        findings.refuse("empty-file", where, "the file is empty; content was expected")
    return text


def _bytes(path: Path, findings: Findings, where: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            findings.refuse("not-a-file", where, f"{path} is {kind}; a file was expected")
        return path.read_bytes()
    except FileNotFoundError:
        findings.refuse("missing-file", where, f"there is no file {path}")
    except (OSError, ValueError) as error:
        findings.refuse("unreadable-file", where, f"{path} cannot be opened: {error}")


class JsonParser:
    """A cursor in the text. ``_notes`` are the oddities of the record being read."""

    def __init__(
        self, text: str, findings: Findings, progress: Progress, first_line: int = 1
    ) -> None:
        self._text = text
        self._first_line = first_line
        self._position = 0
        self._findings = findings
        self._progress = progress
        self._notes: list[tuple[str, str]] = []
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_float=self._float, parse_constant=self._constant
        )

    def document(self) -> dict[str, Any]:
        """The top-level object; anything behind it is refused."""
        if self._next() != "{":
            self._not_an_object()
        document: dict[str, Any] = {}
        self._position += 1
        if self._next() == "}":
            self._position += 1
        else:
            while self._member(document):
                pass
        self._end()
        return document

    def records(self) -> list[Any]:
        """The records of a top-level list; anything behind it is refused."""
        if self._next() != "[":
            message = f"the top level is {kind_of(self._value('file'))}; a list was expected"
            self._findings.refuse("not-a-list", "file", message)
        records = self._list("")
        self._end()
        return records

    def value(self) -> Any:
        """The one value of the text; anything behind it is refused."""
        self._next()
        value = self._value(f"line {self._first_line}")
        self._end()
        return value

    def _end(self) -> None:
        if self._next():
            where, what = self._here(), self._text[self._position : self._position + 20]
            self._findings.refuse(
                "trailing-garbage", where, f"the JSON ends before {what!a}; remove what follows"
            )

    def _not_an_object(self) -> None:
        value = self._value("file")
        message = f"the top level is {kind_of(value)}; an object with images was expected"
        self._findings.refuse("not-an-object", "file", message)

    def _member(self, document: dict[str, Any]) -> bool:
        """Read one ``"key": value``; tell whether another follows."""
        if self._next() != '"':
            self._refuse_syntax("a key in double quotes")
        key = self._value("file")
        self._take(":")
        if key in document:
            message = f"the key {key!a} occurs twice at the top level; keep one of the two"
            self._findings.error("duplicate-key", self._here(), message)
        document[key] = self._list(key) if self._next() == "[" else self._value(key)
        return self._take(",", "}") == ","

    def _list(self, key: str) -> list[Any]:
        """Read a top-level list record by record."""
        records: list[Any] = []
        self._position += 1
        if self._next() == "]":
            self._position += 1
            return records
        while True:
            self._next()
            records.append(self._value(f"{key}[{len(records)}]"))
            if len(records) % _RECORDS_PER_PROGRESS == 0:
                self._progress(self._position, len(self._text), f"reading {key}")
            if self._take(",", "]") == "]":
                return records

    def _value(self, where: str) -> Any:
        """Read one value at the cursor and report its oddities under its address."""
        start = self._position
        try:
            value, self._position = self._decoder.raw_decode(self._text, start)
        except json.JSONDecodeError as error:
            self._position = error.pos
            self._refuse_syntax(f"valid JSON ({error.msg})")
        except RecursionError:
            self._too_deep(where)
        except ValueError as error:
            self._findings.refuse("number-too-long", where, f"too many digits: {error}")
        if self._openings(start) > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
            self._too_deep(where)
        self._report_notes(where, value)
        return value

    def _openings(self, start: int) -> int:
        """An upper bound of the depth of what was read since ``start``."""
        end = self._position
        return self._text.count("[", start, end) + self._text.count("{", start, end)

    def _too_deep(self, where: str) -> None:
        message = f"nested deeper than {MAX_DEPTH} levels; no annotation file needs that"
        self._findings.refuse("too-deep", where, message)

    def _report_notes(self, where: str, value: object) -> None:
        named = f" (id {value['id']!a:.60})" if isinstance(value, dict) and "id" in value else ""
        for code, message in self._notes:
            self._findings.warn(code, where, message + named)
        self._notes.clear()

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            self._notes.append(("duplicate-key", "a key occurs twice; its last value is kept"))
        return result

    def _float(self, digits: str) -> float | None:
        value = float(digits)
        if value - value == 0.0:  # neither infinite nor NaN
            return value
        self._constant(digits[:40])
        return None

    def _constant(self, name: str) -> None:
        self._notes.append(("not-finite", f"{name} is not a JSON number; replaced by null"))

    def _next(self) -> str:
        """Move over blanks; the character there, or nothing at the end."""
        blank = _BLANK.match(self._text, self._position)
        assert blank is not None
        self._position = blank.end()
        return self._text[self._position : self._position + 1]

    def _take(self, *expected: str) -> str:
        found = self._next()
        if found not in expected or not found:
            self._refuse_syntax(" or ".join(expected))
        self._position += 1
        return found

    def _refuse_syntax(self, expected: str) -> None:
        rest = self._text[self._position : self._position + 20]
        found = f"{rest!a}" if rest else "the end of the file (was it cut off?)"
        self._findings.refuse("not-json", self._here(), f"expected {expected}, found {found}")

    def _here(self) -> str:
        line = self._text.count("\n", 0, self._position) + self._first_line
        column = self._position - self._text.rfind("\n", 0, self._position)
        return f"line {line}, column {column}"


def _deeper_than(value: object, limit: int) -> bool:
    """Whether containers nest deeper than ``limit``, without recursion."""
    level = [value]
    for _ in range(limit + 1):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
