"""MS-COCO 2014: 80 categories; train2014 to learn from, val2014 to test on.

    ROOT/annotations/instances_train2014.json   instances_val2014.json
    ROOT/train2014/                             ROOT/val2014/

All pictures of the files count, also those without an annotation; a category is present where
any annotation, crowds included, says so, and absent elsewhere: the files are exhaustive.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.literature.original import Original, Part, require
from clsl_core.errors import InputError
from clsl_core.formats import get_format

__all__ = ["read"]


def read(root: Path) -> Original:
    """Read both splits.

    Raises:
        InputError: A file is missing or damaged, or the splits name other categories.
    """
    train_names, train = _part(root, "train2014")
    test_names, test = _part(root, "val2014")
    if train_names != test_names:
        raise InputError(f"{root}: the two annotation files name different categories.")
    return Original("coco2014", train_names, train, test)


def _part(root: Path, split: str) -> tuple[tuple[str, ...], Part]:
    file = require(root / "annotations" / f"instances_{split}.json", "the official annotations")
    content, _ = get_format("coco").read(file)
    rows = {image.source_id: row for row, image in enumerate(content.images)}
    columns = {category.source_id: column for column, category in enumerate(content.categories)}
    truth = np.full((len(rows), len(columns)), -1, np.int8)
    for label in content.labels:
        truth[rows[label.image_id], columns[label.category_id]] = 1 if label.state > 0 else -1
    folder = require(root / split, f"the pictures of {split}")
    names = tuple(category.name for category in content.categories)
    return names, Part(folder, tuple(image.file_name for image in content.images), truth)
