"""Folders that are there whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clsl_core.errors import InputError
from clsl_core.files import PARTIAL
from clsl_core.formats.text.folder_source import is_file, is_folder

__all__ = ["atomic_folder"]


@contextmanager
def atomic_folder(output: Path) -> Iterator[Path]:
    """Give a new folder that becomes ``output`` when the block ends without an error.

    Nothing that exists is replaced, except an empty folder.

    Raises:
        InputError: When ``output`` exists or cannot be written.
    """
    if is_file(output) or (is_folder(output) and any(output.iterdir())):
        raise InputError(f"{output} exists already; name a folder that does not, or is empty")
    scratch = output.parent / f".{secrets.token_hex(8)}{PARTIAL}"
    try:
        scratch.mkdir()
        yield scratch
        scratch.replace(output)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
