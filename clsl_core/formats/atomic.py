"""Writing a text file so that it is there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from clsl_core.errors import InputError

__all__ = ["atomic_text"]


@contextmanager
def atomic_text(output: Path) -> Iterator[TextIO]:
    """Open a UTF-8 stream that becomes ``output`` when the block ends without an error.

    The text goes to a file beside it, is flushed to the disk and renamed; on any error that
    file is removed and an earlier ``output`` stays as it was.

    Raises:
        InputError: When the place cannot be written.
    """
    scratch = output.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with scratch.open("x", encoding="utf-8", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(output)
        _sync_folder(output.parent)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, on systems where folders can be synced."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
