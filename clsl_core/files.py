"""Files that are there whole or not at all, and their checksums."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TextIO

from clsl_core.errors import InputError

__all__ = ["PARTIAL", "atomic_file", "atomic_text", "sha256_of"]

PARTIAL = ".partial"
"""Ending of files that are being written; one that is left over can be deleted."""


@contextmanager
def atomic_file(output: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a binary stream that becomes ``output`` when the block ends without an error.

    The bytes go to a file beside it, are flushed to the disk and renamed; on any error that
    file is removed and an earlier ``output`` stays as it was.

    Args:
        output: Where.
        durable: Whether to wait for the disk. Without it a power cut may leave ``output`` empty:
            for what can be made again and is checked when it is read.

    Raises:
        InputError: When the place cannot be written: no such folder, no right, disk full …
    """
    scratch = output.parent / f".{secrets.token_hex(8)}{PARTIAL}"
    try:
        with scratch.open("xb") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        scratch.replace(output)
        if durable:
            _sync_folder(output.parent)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


@contextmanager
def atomic_text(output: Path) -> Iterator[TextIO]:
    """As ``atomic_file``, for text in UTF-8 with plain line ends."""
    with atomic_file(output) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="\n", write_through=True)
        yield text
        text.detach()


def sha256_of(path: Path) -> str:
    """The checksum of a file, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, on systems where folders can be synced."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
