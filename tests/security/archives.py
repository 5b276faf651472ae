"""Makes archives for tests: good ones, and each kind of bad one."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
from typing import Any

from PIL import Image as Pillow

from tests.builders import COLOURS, coco_document

SYMLINK = (stat.S_IFLNK | 0o777) << 16
PIPE = (stat.S_IFIFO | 0o600) << 16


def picture(colour: str = "#d22", kind: str = "JPEG") -> bytes:
    """A small picture."""
    stream = io.BytesIO()
    Pillow.new("RGB", (64, 48), colour).save(stream, kind)
    return stream.getvalue()


def collection(folder: str = "", document: dict[str, Any] | None = None) -> dict[str, bytes]:
    """The files of a small collection by their path."""
    document = document or coco_document()
    files = {
        f"{folder}images/{image['file_name']}": picture(COLOURS[i % len(COLOURS)])
        for i, image in enumerate(document["images"])
    }
    return {**files, f"{folder}instances.json": json.dumps(document).encode()}


def packed(
    files: dict[str, bytes] | list[tuple[str | zipfile.ZipInfo, bytes]],
    method: int = zipfile.ZIP_DEFLATED,
) -> io.BytesIO:
    """An archive; a list may name a file twice."""
    stream = io.BytesIO()
    entries = list(files.items()) if isinstance(files, dict) else files
    with zipfile.ZipFile(stream, "w", method) as pack:
        for name, content in entries:
            pack.writestr(name, content)
    stream.seek(0)
    return stream


def special(name: str, attributes: int) -> zipfile.ZipInfo:
    """An entry with attributes of the system, such as those of a link."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = attributes
    return info


def renamed(files: dict[str, bytes], old: str, new: bytes) -> io.BytesIO:
    """An archive in which a name was written over, in the directory and before the content."""
    raw = packed(files).getvalue()
    assert len(old.encode()) == len(new)
    assert raw.count(old.encode()) == 2
    return io.BytesIO(raw.replace(old.encode(), new))


def with_flag(files: dict[str, bytes], flag: int) -> io.BytesIO:
    """An archive whose every entry has one more flag."""
    raw = bytearray(packed(files).getvalue())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = raw.find(mark)
        while place >= 0:
            old = struct.unpack_from("<H", raw, place + offset)[0]
            struct.pack_into("<H", raw, place + offset, old | flag)
            place = raw.find(mark, place + 4)
    return io.BytesIO(bytes(raw))


def lying(files: dict[str, bytes], size: int) -> io.BytesIO:
    """An archive whose every entry says to be of another size than it is."""
    raw = bytearray(packed(files).getvalue())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = raw.find(mark)
        while place >= 0:
            struct.pack_into("<L", raw, place + offset, size)
            place = raw.find(mark, place + 4)
    return io.BytesIO(bytes(raw))
