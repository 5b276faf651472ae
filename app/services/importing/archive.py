"""Unpacking an archive that somebody uploaded: checked as a whole, then written whole or not.

Everything that the directory of the archive tells is checked before the first byte is written;
what only the content tells (its kind, its true size, its checksum) is checked while it is
written, into a folder that nobody sees before the last file is there.
"""

from __future__ import annotations

import shutil
import stat
import struct
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from app.services.importing import file_kinds
from app.services.importing.archive_names import TakenNames, checked_name, is_litter
from clsl_core.errors import InputError
from clsl_core.files import PARTIAL
from clsl_core.types import Progress, no_progress

__all__ = ["Limits", "Unpacked", "clear_abandoned", "unpack"]

MEGABYTE = 10**6
BLOCK = 2**20
SMALL = 2**20
"""Bytes up to which a file may have been packed as tightly as it likes."""
SPARE = 256 * MEGABYTE
"""Bytes that stay free on the disk."""
SHOWN = 20
ROOM = 512
"""Bytes of an archive's directory for each file."""
ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENTRY = b"PK\x01\x02"
_ENTRY_BYTES = 46
_END = b"PK\x05\x06"
_LARGER = 56 + 20
"""Bytes of the records before the end, in archives that are larger or have more files."""
_LOCK, _CONTENT = "lock", "content"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may be.

    Attributes:
        packed: Bytes of the archive.
        unpacked: Bytes of all its files.
        files: How many files.
        ratio: How many times larger than packed a file may be.
    """

    packed: int
    unpacked: int
    files: int
    ratio: int


@dataclass(slots=True)
class Unpacked:
    """An archive on the disk.

    Attributes:
        folder: Where its content is.
        files: How many files were written.
        size: Bytes of them.
        left_out: How many were not written, being nothing that an import uses.
        examples: The first of those with the reason.
    """

    folder: Path
    files: int = 0
    size: int = 0
    left_out: int = 0
    examples: list[str] = field(default_factory=list)

    def leave_out(self, name: str, why: str) -> None:
        """Note a file that was not written."""
        self.left_out += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{name}: {why}")


def unpack(
    stream: BinaryIO, into: Path, limits: Limits, progress: Progress = no_progress
) -> Unpacked:
    """Write the pictures and annotation files of a zip archive into a new folder.

    Args:
        stream: The archive, which can be sought in.
        into: The folder below which the new one is made.
        limits: What the archive may be.
        progress: Told the bytes written so far; what it raises takes everything back.

    Returns:
        What was written, and what was left out.

    Raises:
        InputError: The archive is damaged, too large, or holds what no archive should; nothing
            of it is left on the disk.
    """
    clear_abandoned(into)
    with _explained(), _opened(stream, limits) as archive:
        members = _checked_members(archive, limits)
        total = sum(info.file_size for info in members.values())
        _check_space(into, total)
        name = uuid.uuid4().hex
        with _scratch(into, name) as scratch:
            made = Unpacked(into / name)
            for member, info in members.items():
                _write_member(archive, info, member, scratch, made, limits)
                progress(made.size, total, "unpacking")
            if not made.files:
                raise InputError(
                    "the archive holds neither pictures nor annotation files: pack a folder with "
                    "pictures and the file that annotates them"
                )
            scratch.rename(made.folder)
    return made


def clear_abandoned(into: Path) -> int:
    """Remove what killed unpackings left behind; how many folders that were."""
    count = 0
    for folder in into.glob(f".*{PARTIAL}"):
        lock = FileLock(folder / _LOCK)
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
        except (Timeout, OSError):
            continue  # somebody is at work in it, or has just ended
    return count


@contextmanager
def _scratch(into: Path, name: str) -> Iterator[Path]:
    """A folder that is held by a lock, which a kill sets free, and removed at the end."""
    outer, making = into / f".{name}{PARTIAL}", into / f".{name}.making"
    making.mkdir()
    try:
        with FileLock(making / _LOCK):
            making.rename(outer)  # seen by others only from now on, when it is held
            content = outer / _CONTENT
            content.mkdir()
            yield content
    finally:
        shutil.rmtree(making, ignore_errors=True)
        shutil.rmtree(outer, ignore_errors=True)


@contextmanager
def _explained() -> Iterator[None]:
    """Say in words what the library says of an archive, or the disk of a file."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError) as error:
        raise InputError(f"the archive is damaged ({error}): pack and upload it again") from error
    except NotImplementedError as error:
        raise InputError(f"the archive cannot be read ({error}): pack it as plain zip") from error
    except OSError as error:
        raise InputError(
            f"the archive could not be unpacked: {error.strerror or error}; nothing of it was kept"
        ) from error


@contextmanager
def _opened(stream: BinaryIO, limits: Limits) -> Iterator[zipfile.ZipFile]:
    size = stream.seek(0, 2)
    if size > limits.packed:
        raise InputError(
            f"the archive has {size / MEGABYTE:,.0f} MB, more than the "
            f"{limits.packed / MEGABYTE:,.0f} MB allowed (CLSL_UPLOAD_MEGABYTES)"
        )
    stream.seek(0)
    head = stream.read(file_kinds.HEAD)
    if not head.startswith((b"PK\x03\x04", _END)):
        raise InputError(
            f"the upload is called an archive, but it begins as {file_kinds.what_it_is(head)}: "
            "pack the pictures and the annotation file as zip"
        )
    _check_count(stream, size, limits)
    with zipfile.ZipFile(stream) as archive:
        yield archive


def _check_count(stream: BinaryIO, size: int, limits: Limits) -> None:
    """Count the entries of the directory before the library makes an object of each."""
    start, length = _directory(stream, size)
    if length > max(MEGABYTE, limits.files * ROOM):
        raise InputError(
            f"the archive's directory alone has {length / MEGABYTE:,.0f} MB, more than "
            f"{limits.files:,} files need (CLSL_UNPACKED_FILES): pack it as plain zip"
        )
    count = sum(1 for _ in _entries(stream, start, start + length, limits.files))
    if count > limits.files:
        raise _too_many(limits)


def _directory(stream: BinaryIO, size: int) -> tuple[int, int]:
    """First byte and length of the directory, found as the library will find them."""
    tail = min(size, 2**16 + 22 + _LARGER)
    stream.seek(size - tail)
    end = stream.read(tail)
    place = end.rfind(_END)
    if place < 0 or len(end) < place + 22:
        raise InputError("the archive is cut off (its directory is missing): upload it again")
    length: int = struct.unpack("<L", end[place + 12 : place + 16])[0]
    larger = place - _LARGER
    if larger >= 0 and end[larger : larger + 4] == b"PK\x06\x06":  # of more than 4 GB
        place, length = larger, struct.unpack("<Q", end[larger + 40 : larger + 48])[0]
    start = size - tail + place - length
    if start < 0:
        raise InputError("the archive is damaged (its directory begins before it): upload again")
    return start, length


def _entries(stream: BinaryIO, start: int, size: int, limit: int) -> Iterator[int]:
    """The places of directory entries, one more than the limit at most.

    Args:
        stream: The archive.
        start: The directory's first byte.
        size: The byte behind its last.
        limit: Of how many entries the next is not looked at.
    """
    block_start, block = start, b""
    place = start
    for _ in range(limit + 1):
        if place + _ENTRY_BYTES > block_start + len(block):
            stream.seek(place)
            block_start, block = place, stream.read(BLOCK)
        offset = place - block_start
        entry = block[offset : offset + _ENTRY_BYTES]
        if len(entry) < _ENTRY_BYTES or entry[:4] != _ENTRY or place >= size:
            return
        yield place
        place += _ENTRY_BYTES + sum(struct.unpack("<HHH", entry[28:34]))


def _too_many(limits: Limits) -> InputError:
    return InputError(
        f"the archive has more than the {limits.files:,} files allowed (CLSL_UNPACKED_FILES): "
        "import the folder from this machine instead"
    )


def _checked_members(archive: zipfile.ZipFile, limits: Limits) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by their path; all that can be known without reading them."""
    infos = archive.infolist()
    if len(infos) > limits.files:
        raise _too_many(limits)
    members: dict[str, zipfile.ZipInfo] = {}
    taken = TakenNames()
    total = 0
    for info in infos:
        # The library cuts a name at NUL; what the archive says is what is judged.
        name = checked_name(info.orig_filename)
        _check_kind(name, info)
        if info.orig_filename.endswith(("/", "\\")):
            continue
        taken.take(name)
        _check_ratio(name, info, limits)
        total += info.file_size
        if total > limits.unpacked:
            raise _too_large(limits)
        members[name] = info
    return members


def _too_large(limits: Limits) -> InputError:
    return InputError(
        f"the archive's files have more than the {limits.unpacked / MEGABYTE:,.0f} MB allowed "
        "(CLSL_UNPACKED_MEGABYTES): import the folder from this machine instead"
    )


def _check_kind(name: str, info: zipfile.ZipInfo) -> None:
    shown = f"the archive's file {name[:120]!a}"
    if info.flag_bits & ENCRYPTED:
        raise InputError(f"{shown} is encrypted: pack it without a password")
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        raise InputError(f"{shown} is a link: pack what it leads to instead")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"{shown} is no regular file: pack pictures and annotations only")
    if info.compress_type not in _METHODS:
        raise InputError(f"{shown} is packed by an unusual method: pack it as plain zip (deflate)")


def _check_ratio(name: str, info: zipfile.ZipInfo, limits: Limits) -> None:
    if info.file_size > max(SMALL, info.compress_size * limits.ratio):
        raise InputError(
            f"the archive's file {name[:120]!a} would grow more than {limits.ratio:,} times by "
            "unpacking, as no picture or annotation file does (CLSL_UNPACKED_RATIO)"
        )


def _check_space(into: Path, total: int) -> None:
    free = shutil.disk_usage(into).free
    if free < total + SPARE:
        raise InputError(
            f"the archive's files need {total / MEGABYTE:,.0f} MB, and {free / MEGABYTE:,.0f} MB "
            "are free in the data directory: make room"
        )


def _write_member(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    name: str,
    folder: Path,
    made: Unpacked,
    limits: Limits,
) -> None:
    """Write one file, unless it is nothing that an import uses.

    Raises:
        InputError: It is an archive itself, or larger than it said.
    """
    if is_litter(name):
        return
    with archive.open(info) as source:
        head = source.read(min(file_kinds.HEAD, info.file_size))
        if file_kinds.is_archive(name, head):
            raise InputError(
                f"the archive's file {name[:120]!a} is an archive itself "
                f"({file_kinds.what_it_is(head)}): unpack it first"
            )
        unwanted = _unwanted(name, head)
        if unwanted is not None:
            made.leave_out(name, unwanted)
            return
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before, block = made.size, head
        with path.open("xb") as target:
            while block:
                made.size += len(block)
                if made.size > limits.unpacked:
                    raise _too_large(limits)
                target.write(block)
                block = source.read(BLOCK)
    if made.size - before != info.file_size:
        raise zipfile.BadZipFile(f"{name[:120]!a} is not as long as it says")
    with suppress(OSError):
        path.chmod(0o644)
    made.files += 1


def _unwanted(name: str, head: bytes) -> str | None:
    """Why a file is left out; None when it belongs to a collection."""
    suffix = file_kinds.suffix_of(name)
    if suffix in file_kinds.PICTURES:
        if file_kinds.is_picture(head) or not head:
            return None
        return f"it is called a picture, but its content is {file_kinds.what_it_is(head)}"
    if suffix in file_kinds.ANNOTATIONS:
        if file_kinds.is_text(head) or not head:
            return None
        return f"it is called an annotation file, but its content is {file_kinds.what_it_is(head)}"
    return "neither a picture nor an annotation file"
