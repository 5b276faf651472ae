"""What an uploaded file is, from its name and from its first bytes."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

__all__ = ["ANNOTATIONS", "HEAD", "PICTURES", "is_archive", "is_picture", "is_text", "what_it_is"]

HEAD = 512
"""Bytes that are looked at."""

PICTURES = frozenset(
    ("jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "dib", "tif", "tiff", "webp", "avif")
) | {"ppm", "pgm", "pbm", "pnm"}
"""Endings of pictures that can be decoded."""
ANNOTATIONS = frozenset(("json", "jsonl", "ndjson", "csv", "tsv", "txt", "xml", "yaml", "yml"))
"""Endings of the files that formats are made of."""
_ARCHIVES = frozenset(
    ("zip", "zipx", "jar", "apk", "docx", "xlsx", "tar", "gz", "tgz", "bz2", "tbz2", "xz", "txz")
) | {"lzma", "zst", "7z", "rar", "cab", "iso", "dmg", "arj", "lz4", "ar", "deb", "rpm"}

_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0")
_MORE_PICTURES = re.compile(
    rb"MM\0\*|II\+\0|MM\0\+|RIFF....WEBP|....ftyp(avif|avis|mif1|miaf)|P[1-6][\s#]", re.DOTALL
)
_ARCHIVE_STARTS = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"PK\x07\x08": "a piece of a zip archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x1f\x8b": "a gzip archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"MSCF": "a cab archive",
}
_BZIP = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
_PAGE = (b"<!doctype html", b"<html", b"<script", b"<body", b"<head")
_OTHER_STARTS = {
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"%!": "a PostScript program",
    b"#!": "a script",
    b"SQLite format 3\0": "a database",
}


def suffix_of(name: str) -> str:
    """The ending of a name in small letters, without the dot."""
    return PurePosixPath(name).suffix.lower().removeprefix(".")


def is_archive(name: str, head: bytes) -> bool:
    """Whether a file holds other files, by its name or its content."""
    by_content = head.startswith(tuple(_ARCHIVE_STARTS)) or _BZIP.match(head) is not None
    return suffix_of(name) in _ARCHIVES or by_content or head[257:262] == b"ustar"


def is_picture(head: bytes) -> bool:
    """Whether a file begins as the pictures do that can be decoded."""
    return head.startswith(_PICTURE_STARTS) or _MORE_PICTURES.match(head) is not None


def is_text(head: bytes) -> bool:
    """Whether a file begins as text does, in UTF-8, UTF-16 or an older alphabet."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return b"\0" not in head and not head.startswith((*_ARCHIVE_STARTS, b"\xff\xd8\xff"))


def what_it_is(head: bytes) -> str:
    """The content in words, as far as the first bytes tell."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    starts = {**_ARCHIVE_STARTS, **_OTHER_STARTS}
    known = next((words for start, words in starts.items() if head.startswith(start)), None)
    rules = (
        (not head, "empty"),
        (known is not None, known or ""),
        (_BZIP.match(head) is not None, "a bzip2 archive"),
        (head[257:262] == b"ustar", "a tar archive"),
        (head.startswith(_PICTURE_STARTS[:4]), "a picture"),
        (is_picture(head) and b"\0" in head, "a picture"),
        (text.startswith(_PAGE), "an HTML page"),
        (b"<svg" in text, "an SVG drawing"),
        (text.startswith((b"<?xml", b"<annotation")), "XML"),
        (b"\0" in head, "binary data"),
    )
    return next((words for fits, words in rules if fits), "text")
