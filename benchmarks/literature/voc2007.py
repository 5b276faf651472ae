"""PASCAL VOC 2007: 20 categories; trainval to learn from, test to test on.

    ROOT/ImageSets/Main/trainval.txt   test.txt         (also below ROOT/VOCdevkit/VOC2007)
    ROOT/Annotations/000005.xml …      ROOT/JPEGImages/000005.jpg …

A category with no object but *difficult* ones in a picture is neither present nor absent there:
it is never shown to a method and never judged, as in the official evaluation. Where the files
``ImageSets/Main/CATEGORY_SPLIT.txt`` are there, they must agree with the annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from benchmarks.literature.original import Original, Part, read_lines, require
from clsl_core.errors import InputError

__all__ = ["CATEGORIES", "read"]

CATEGORIES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
_SPOKEN = {
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "tvmonitor": "tv monitor",
}
_COLUMNS = {name: column for column, name in enumerate(CATEGORIES)}


def read(root: Path) -> Original:
    """Read both splits.

    Raises:
        InputError: A file is missing or damaged, or two files contradict each other.
    """
    inner = root / "VOCdevkit" / "VOC2007"
    base = inner if inner.is_dir() else root
    names = tuple(_SPOKEN.get(name, name) for name in CATEGORIES)
    return Original("voc2007", names, _part(base, "trainval"), _part(base, "test"))


def _part(base: Path, split: str) -> Part:
    main = base / "ImageSets" / "Main"
    ids = [line.split()[0] for line in read_lines(main / f"{split}.txt", f"the names of {split}")]
    if not ids:
        raise InputError(f"{main / f'{split}.txt'} names no picture.")
    truth = np.stack([_annotated(base / "Annotations" / f"{id_}.xml") for id_ in ids])
    _check(main, split, ids, truth)
    folder = require(base / "JPEGImages", "the pictures")
    return Part(folder, tuple(f"{id_}.jpg" for id_ in ids), truth)


def _annotated(path: Path) -> npt.NDArray[np.int8]:
    """Labels (20,) of one picture."""
    try:
        tree = ElementTree.parse(require(path, "the picture's annotation"))
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as XML: {error}.") from error
    labels = np.full(len(CATEGORIES), -1, np.int8)
    for item in tree.getroot().iter("object"):
        name = (item.findtext("name") or "").strip()
        if name not in _COLUMNS:
            raise InputError(f"{path} has an object {name!r}; expected one of the 20 categories.")
        difficult = (item.findtext("difficult") or "0").strip() == "1"
        column = _COLUMNS[name]
        labels[column] = max(labels[column], 0 if difficult else 1)
    return labels


def _check(main: Path, split: str, ids: Sequence[str], truth: npt.NDArray[np.int8]) -> None:
    rows = {id_: row for row, id_ in enumerate(ids)}
    for name, column in _COLUMNS.items():
        path = main / f"{name}_{split}.txt"
        if not path.exists():
            continue
        for line in read_lines(path, "a label for each picture"):
            id_, _, stated = line.partition(" ")
            if id_ not in rows or stated.strip() not in ("-1", "0", "1"):
                raise InputError(f"{path}: {line!r} is no picture of {split} and -1, 0 or 1.")
            if int(stated) != truth[rows[id_], column]:
                raise InputError(
                    f"{path} says {stated.strip()} for {id_}, its annotation says "
                    f"{truth[rows[id_], column]}: the files belong to different releases."
                )
