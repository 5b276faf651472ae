"""NUS-WIDE: 81 concepts; the official lists of pictures to learn from and to test on.

    ROOT/ImageList/TrainImagelist.txt                      TestImagelist.txt
    ROOT/ConceptsList/Concepts81.txt
    ROOT/TrainTestLabels/Labels_airport_Train.txt …        Labels_airport_Test.txt …
    ROOT/Flickr/actor/0001_2124494179.jpg …

``TrainTestLabels`` and ``Flickr`` may also lie in ``Groundtruth/`` and be called ``images``.
Pictures that are gone from Flickr are left out when they are embedded, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.literature.original import Original, Part, read_lines
from clsl_core.errors import InputError

__all__ = ["read"]


def read(root: Path) -> Original:
    """Read both splits.

    Raises:
        InputError: A file is missing, damaged, or has another number of lines.
    """
    concepts = read_lines(root / "ConceptsList" / "Concepts81.txt", "the names of the concepts")
    if not concepts:
        raise InputError(f"{root}/ConceptsList/Concepts81.txt names no concept.")
    pictures = _first(root, "Flickr", "images")
    labels = _first(root, "TrainTestLabels", "Groundtruth/TrainTestLabels")
    return Original(
        "nuswide",
        tuple(concept.replace("_", " ") for concept in concepts),
        _part(root, pictures, labels, concepts, "Train"),
        _part(root, pictures, labels, concepts, "Test"),
    )


def _part(root: Path, pictures: Path, labels: Path, concepts: Sequence[str], split: str) -> Part:
    lines = read_lines(root / "ImageList" / f"{split}Imagelist.txt", "the names of the pictures")
    files = tuple(line.replace("\\", "/") for line in lines)
    columns = [_column(labels / f"Labels_{name}_{split}.txt", len(files)) for name in concepts]
    return Part(pictures, files, np.stack(columns, 1))


def _column(path: Path, count: int) -> npt.NDArray[np.int8]:
    """One concept's labels (N,)."""
    lines = read_lines(path, "a 0 or 1 for each picture")
    if len(lines) != count or not set(lines) <= {"0", "1"}:
        raise InputError(
            f"{path} has {len(lines)} lines, expected {count}, each 0 or 1, one for each picture."
        )
    return np.where(np.array(lines) == "1", np.int8(1), np.int8(-1))


def _first(root: Path, *names: str) -> Path:
    """The first of some folders that is there."""
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise InputError(f"{root} has none of the folders {', '.join(names)}.")
