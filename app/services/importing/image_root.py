"""Which folder the file names of an annotation file are relative to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from app.services.importing import file_kinds
from clsl_core.types import ImageRecord

__all__ = ["find_root"]

LOOKED_AT = 200
"""Images whose names are tried."""
FOLDERS = 2_000


def find_root(images: Sequence[ImageRecord], within: Path) -> Path:
    """The folder below which most of the first pictures are; the outermost of several.

    Args:
        images: Of the annotation file.
        within: The folder to search, links not followed.
    """
    names = [image.file_name.replace("\\", "/") for image in islice(images, LOOKED_AT)]
    wanted = {PurePosixPath(name).parts for name in names}
    best, most = within, 0
    for folder in islice(_folders(within), FOLDERS):
        found = sum(_is_there(folder, parts) for parts in wanted)
        if found > most:
            best, most = folder, found
    return best if most else _fullest(within)


def _is_there(folder: Path, parts: tuple[str, ...]) -> bool:
    if not parts or ".." in parts or parts[0] == "/" or "\0" in "".join(parts):
        return False
    try:
        return folder.joinpath(*parts).is_file()
    except (OSError, ValueError):
        return False


def _folders(within: Path) -> list[Path]:
    """Every folder, the outer ones first."""
    found = [Path(path) for path, _, _ in os.walk(within)]
    return sorted(found, key=lambda path: (len(path.parts), path))


def _fullest(within: Path) -> Path:
    """The folder with most pictures: where somebody would look for those that are missing."""
    best, most = within, 0
    for path, _, files in os.walk(within):
        count = sum(file_kinds.suffix_of(name) in file_kinds.PICTURES for name in files)
        if count > most:
            best, most = Path(path), count
    return best
