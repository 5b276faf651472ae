"""What is read from the original files of a collection of the literature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clsl_core.errors import InputError

__all__ = ["Original", "Part", "read_lines", "require"]


@dataclass(frozen=True)
class Part:
    """One split.

    Attributes:
        folder: Where the pictures are.
        files: N file names relative to it.
        truth: (N, C) int8: +1 present, -1 absent, 0 not judged ("difficult").
    """

    folder: Path
    files: tuple[str, ...]
    truth: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Original:
    """A whole collection.

    Attributes:
        name: As on the command line.
        categories: C names, in words a text tower knows.
        train, test: The official splits.
    """

    name: str
    categories: tuple[str, ...]
    train: Part
    test: Part


def require(path: Path, what: str) -> Path:
    """The path, if it is there.

    Raises:
        InputError: It is not; says what belongs there.
    """
    if not path.exists():
        raise InputError(f"there is no {str(path)!r}; expected {what}.")
    return path


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a text file that are not blank, stripped.

    Raises:
        InputError: It is missing or no text.
    """
    try:
        text = require(path, what).read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}); expected {what}.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
