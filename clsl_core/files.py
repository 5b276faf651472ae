"""Files that are there whole or not at all, and their checksums."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

from clsl_core.errors import ClslError, InputError

__all__ = [
    "PARTIAL",
    "DamagedFile",
    "about_disk",
    "atomic_file",
    "atomic_text",
    "load_array",
    "load_object",
    "sha256_of",
]

if TYPE_CHECKING:
    import numpy.typing as npt

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


def about_disk(error: OSError) -> str:
    """What the system said of a file or a disk, and what to do."""
    where = f" at {error.filename}" if error.filename else ""
    what = {
        errno.ENOSPC: "the disk is full: make room (`clsl runs NAME --delete ID` does)",
        errno.EDQUOT: "the disk's quota is used up: make room",
        errno.EROFS: "the disk is read-only: make it writable",
        errno.EACCES: "permission is missing: make it readable and writable",
    }.get(error.errno or 0, f"{error.strerror or error}: look at the log")
    return f"{what}{where}"


def load_array(path: Path, dimensions: int, *, mapped: bool = False) -> npt.NDArray[Any] | None:
    """An array that ``numpy.save`` wrote; None where there is no such file.

    Args:
        path: The file.
        dimensions: How many the array must have.
        mapped: Whether to read it from the disk as it is used.

    Raises:
        DamagedFile: It is empty, cut off, no array, or one of other dimensions.
    """
    import numpy as np  # which the help of the command line does without

    try:
        # Not by `numpy.load`, which would open an archive of arrays, too.
        found: npt.NDArray[Any]
        if mapped:
            found = np.lib.format.open_memmap(path, mode="r")
        else:
            with path.open("rb") as stream:
                found = np.lib.format.read_array(stream, allow_pickle=False)
        if found.ndim != dimensions:
            raise ValueError(f"an array of {dimensions} dimensions was expected")
    except FileNotFoundError:
        return None
    except Exception as error:  # of a damaged header NumPy raises anything
        raise DamagedFile(path, error) from error
    return found


def load_object(path: Path) -> dict[str, Any] | None:
    """A JSON object that this program wrote; None where there is no such file.

    Raises:
        DamagedFile: It is something else.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError("a JSON object was expected")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFile(path, error) from error
    return found


class DamagedFile(ClslError):  # noqa: N818 - what was found
    """A file of this program's own cannot be read."""

    def __init__(self, path: Path, reason: Exception) -> None:
        super().__init__(
            f"{path} is damaged ({reason}): `clsl doctor` lists what is, and how it is made anew"
        )


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
