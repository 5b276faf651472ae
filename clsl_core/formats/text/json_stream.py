"""Reading a long JSON object through a window, so that memory does not grow with the file.

The text is parsed record by record as in ``json_source``, with the same findings; only about a
megabyte of it is held at a time, and the records of the long lists stay in the file.

Records are parsed without a function call for each number. What such parsing would miss is found
more cheaply: repeated keys by counting colons, numbers too large for a float by the exponents and
long rows of digits in the bytes. Where one of these shows, the careful parser decides.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from clsl_core.formats.findings import Findings
from clsl_core.formats.text.json_source import MAX_DEPTH, JsonParser
from clsl_core.formats.text.record_store import RecordStore
from clsl_core.types import Progress

__all__ = ["MAX_RECORD", "read_json_stream"]

MAX_RECORD = 2**28
"""Characters of the longest value that is read in one piece."""

_CHUNK = 2**20
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_LONG = b"0" * 300
_CARRY = 320
_RUN = 2**16
"""Characters that are parsed at one go."""

_CUT = 32
"""An error this close to the end of the window may come from the cut."""


def read_json_stream(
    path: Path, findings: Findings, progress: Progress, lists: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Parse a regular file whose top level is an object; see ``read_json_object``.

    Args:
        path: A UTF-8 file.
        findings: Receives the problems.
        progress: Told the bytes read so far.
        lists: The top-level lists that stay in the file, each with the ids wanted of its
            records; their values in the result are ``RecordStore``.

    Raises:
        FormatError: When the file is no such object.
    """
    with path.open("rb") as stream:
        return _StreamParser(path, stream, findings, progress, lists).document()


class _StreamParser(JsonParser):
    """``_text`` is a window in the file; what lies behind the cursor is dropped."""

    def __init__(
        self,
        path: Path,
        stream: IO[bytes],
        findings: Findings,
        progress: Progress,
        lists: Mapping[str, Sequence[str]],
    ) -> None:
        super().__init__("", findings, progress)
        self._path, self._stream, self._lists = path, stream, lists
        self._size = path.stat().st_size
        self._bytes_read = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._at_end = False
        self._odd = False
        self._tail = b""
        self._columns_before = 0
        self._mark = (0, 0)
        self._plain = json.JSONDecoder(parse_constant=self._constant)

    def document(self) -> dict[str, Any]:
        """The top-level object; anything behind it is refused."""
        if not self._next():
            message = "the file is empty; content was expected"
            self._findings.refuse("empty-file", "file", message)
        return super().document()

    def _more(self, wanted: int | None = None) -> bool:
        """Drop what was read and append what follows; whether there was anything."""
        if self._at_end:
            return False
        chunk = self._stream.read(wanted or _CHUNK)
        self._at_end = not chunk
        first = self._bytes_read == 0
        self._bytes_read += len(chunk)
        if first and chunk.startswith(_BOM):
            message = "the file begins with a byte order mark; it is left out"
            self._findings.warn("bom", "file", message)
            chunk = chunk[len(_BOM) :]
            self._mark = (0, len(_BOM))
        self._drop()
        self._odd = _has_odd_numbers(self._tail + chunk) or (bool(self._text) and self._odd)
        self._tail = chunk[-_CARRY:]
        self._text += self._decoded(chunk, first)
        return bool(chunk)

    def _drop(self) -> None:
        gone = self._text[: self._position]
        if "\n" in gone:
            self._first_line += gone.count("\n")
            self._columns_before = len(gone) - gone.rfind("\n") - 1
        else:
            self._columns_before += len(gone)
        self._mark = (0, self._byte_at(self._position))
        self._text, self._position = self._text[self._position :], 0

    def _decoded(self, chunk: bytes, first: bool) -> str:
        try:
            return self._utf8.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            place = self._bytes_read - len(error.object) + error.start
            hint = " (it looks like UTF-16)" if first and chunk.startswith(_UTF16) else ""
            message = f"not UTF-8 text{hint}: byte {place:,} is 0x{error.object[error.start]:02x}; "
            self._findings.refuse("not-utf-8", "file", message + "save the file as UTF-8")

    def _byte_at(self, position: int) -> int:
        """The place in the file of a place in the window, which is not before the last asked."""
        place, byte = self._mark
        gone = self._text[place:position]
        byte += len(gone) if gone.isascii() else len(gone.encode())
        self._mark = (position, byte)
        return byte

    def _next(self) -> str:
        while not (found := super()._next()):
            if not self._more():
                return ""
        return found

    def _refuse_syntax(self, expected: str) -> None:
        self._look_ahead()
        super()._refuse_syntax(expected)

    def _here(self) -> str:
        self._look_ahead()
        line = self._first_line + self._text.count("\n", 0, self._position)
        begin = self._text.rfind("\n", 0, self._position)
        column = self._position - begin + (self._columns_before if begin < 0 else 0)
        return f"line {line}, column {column}"

    def _look_ahead(self) -> None:
        """Have enough of the text behind the cursor to show."""
        while len(self._text) - self._position < 20 and self._more():
            pass

    def _list(self, key: str) -> Any:
        if key not in self._lists:
            return super()._list(key)
        store = RecordStore(self._path, self._lists[key])
        self._position += 1
        if self._next() == "]":
            self._position += 1
            return store
        told = 0
        while True:
            self._next()
            self._many(store)
            noted = self._findings_count()
            value = self._value(f"{key}[{len(store)}]")
            begin = self._byte_at(self._start)
            length = self._byte_at(self._position) - begin
            same = noted == self._findings_count()
            store.append(value, begin, length, as_it_stands=same)
            if len(store) - told >= 2_000:
                told = len(store)
                self._progress(self._bytes_read, self._size, f"reading {key}")
            if self._take(",", "]") == "]":
                return store

    def _many(self, store: RecordStore) -> None:
        """Read plain records ahead of the cursor at one go, as many as are surely plain.

        The cursor is at a value before and after. Whatever is not plain is left to be read one
        by one: the objects of what was cut out must be as many as its opening and its closing
        braces, so that no text holds a brace, and its keys as many as its colons, so that none
        occurs twice. The quick parser refuses NaN and lone surrogates, and gives a float for a
        whole number that is too long for it; such ids are not plain either.
        """
        while not self._odd:
            text, start = self._text, self._position
            end = text.rfind("},", start, start + _RUN) + 1
            if end <= 0:
                return
            try:
                values = orjson.loads(f"[{text[start:end]}]")
            except orjson.JSONDecodeError:
                return
            places = _plain_objects(values, text, start, end)
            if places is None:
                return
            byte_of = self._byte_at
            if text.isascii():
                offset = byte_of(start) - start
                starts = [offset + begin for begin, _ in places]
                lengths = [stop - begin for begin, stop in places]
                self._mark = (end, offset + end)
            else:
                pairs = [(byte_of(begin), byte_of(stop)) for begin, stop in places]
                starts = [begin for begin, _ in pairs]
                lengths = [stop - begin for begin, stop in pairs]
            if not store.extend(values, starts, lengths):
                self._mark = (start, starts[0])
                return
            self._position = end + 1
            self._next()

    def _findings_count(self) -> int:
        return self._findings.noted

    def _value(self, where: str) -> Any:
        """Read one value at the cursor, which may need more of the file."""
        wanted = _CHUNK
        while True:
            self._start = self._position
            value, end, whole = self._attempt()
            if whole or not self._more(wanted):
                break
            wanted = min(2 * wanted, MAX_RECORD)
            if len(self._text) > MAX_RECORD:
                message = f"one value is longer than {MAX_RECORD:,} characters"
                self._findings.refuse("too-long", where, message)
        if end is None or self._odd or not self._single_keys(value, end):
            self._notes.clear()
            return super()._value(where)
        self._position = end
        if self._openings(self._start) > MAX_DEPTH:
            self._position = self._start
            self._notes.clear()
            return super()._value(where)
        if self._notes:
            self._report_notes(where, value)
        return value

    def _attempt(self) -> tuple[Any, int | None, bool]:
        """A value, its end, and whether the window held all of it; no end where it is faulty."""
        self._notes.clear()
        try:
            value, end = self._plain.raw_decode(self._text, self._position)
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated") or error.pos > len(self._text) - _CUT
            return None, None, not cut
        except (RecursionError, ValueError):
            return None, None, True
        return value, end, end < len(self._text)

    def _single_keys(self, value: Any, end: int) -> bool:
        """Whether no object has a key twice; False also where counting cannot tell."""
        colons = self._text.count(":", self._start, end)
        if type(value) is not dict:
            return colons == 0
        if colons == len(value):
            return True
        if self._text.find("\\", self._start, end) >= 0:
            return False
        return colons == _colons(value)


def _plain_objects(
    values: list[Any], text: str, start: int, end: int
) -> list[tuple[int, int]] | None:
    """Where each value begins and ends, or None when that cannot be told by counting."""
    if set(map(type, values)) != {dict}:
        return None
    inner = [part for value in values for part in value.values() if type(part) is dict]
    objects = len(values) + len(inner)
    if text.count("{", start, end) != objects or text.count("}", start, end) != objects:
        return None
    keys = sum(map(len, values)) + sum(map(len, inner))
    if text.count(":", start, end) != keys and (
        text.find("\\", start, end) >= 0 or text.count(":", start, end) != sum(map(_colons, values))
    ):
        return None
    places: list[tuple[int, int]] = []
    find = text.find
    for value in values:
        stop = begin = find("{", start, end)
        for _ in range(1 + sum(type(part) is dict for part in value.values()) if inner else 1):
            stop = find("}", stop, end) + 1
        if text.count("[", begin, stop) > MAX_DEPTH - 3:
            return None
        places.append((begin, stop))
        start = stop
    return places


def _colons(value: dict[str, Any]) -> int:
    """The colons that an object of plain values is written with."""
    count = len(value)
    for key, part in value.items():
        count += key.count(":")
        if type(part) is str:
            count += part.count(":")
        elif type(part) is dict:
            count += _colons(part)
    return count


def _has_odd_numbers(chunk: bytes) -> bool:
    """Whether a number in it may be too large for a float (false alarms are harmless)."""
    plain = chunk.translate(_DIGITS)
    return b"e0" in plain or b"e+" in plain or _LONG in plain
