"""Turning one split into an embedded folder, which ``benchmarks.tokens.load`` reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.literature.original import Part
from benchmarks.tokens import FEATURES, RECORD
from clsl_core.backbones.descriptions import Descriptions, blend_descriptions
from clsl_core.backbones.spec import Backbone
from clsl_core.errors import ImageError, InputError
from clsl_core.features import FeatureStore
from clsl_core.files import atomic_file
from clsl_core.pictures.loading import LocalImages
from clsl_core.types import Progress

__all__ = ["embed"]

_BATCH = 32
_SHARD = 2048  # pictures in one shard of the store


def embed(
    part: Part,
    categories: Sequence[str],
    backbone: Backbone,
    folder: Path,
    progress: Progress,
    descriptions: Descriptions | None = None,
) -> int:
    """Compute the features that are not there yet, then write the record.

    Args:
        part: Pictures and truth.
        categories: C names.
        backbone: Made once for all splits.
        folder: Made where it is not there; a killed run goes on.
        progress: Called with pictures done, all pictures, and what happens.
        descriptions: Of the categories, for the methods that use them.

    Returns:
        How many pictures could not be read and are left out.

    Raises:
        InputError: None of them can be read.
    """
    store = FeatureStore.open(folder / FEATURES, backbone.spec)
    images = LocalImages(part.folder)
    wanted = store.missing(part.files)
    for start in range(0, len(wanted), _SHARD):
        progress(start, len(wanted), f"embedding into {folder.name}")
        _add(store, backbone, images, wanted[start : start + _SHARD])
    there = [row for row, file in enumerate(part.files) if file in store]
    if not there:
        raise InputError(f"none of the {len(part.files)} pictures in {part.folder} can be read.")
    words: dict[str, Any] = {}
    vectors = backbone.encode_categories(categories)
    if vectors is not None:
        words["label_embeddings"] = vectors
        if descriptions:
            words["described_embeddings"] = blend_descriptions(
                backbone, categories, vectors, descriptions
            )
    _record(folder, part, there, categories, words)
    return len(part.files) - len(there)


def _add(store: FeatureStore, backbone: Backbone, images: LocalImages, files: list[str]) -> None:
    keys: list[str] = []
    parts = []
    for names, pictures in _batches(images, files):
        keys += names
        parts.append(backbone.encode_images(pictures))
    if parts:
        joined = type(parts[0])(
            np.concatenate([one.tokens for one in parts]),
            np.concatenate([one.pooled for one in parts]),
        )
        store.append(keys, joined)


def _batches(
    images: LocalImages, files: Sequence[str]
) -> Iterator[tuple[list[str], list[Image.Image]]]:
    """Pictures that can be read, a few at a time."""
    for start in range(0, len(files), _BATCH):
        names, pictures = [], []
        for name in files[start : start + _BATCH]:
            try:
                pictures.append(images.load(name))
                names.append(name)
            except ImageError:
                continue
        if names:
            yield names, pictures


def _record(
    folder: Path,
    part: Part,
    rows: Sequence[int],
    categories: Sequence[str],
    words: Mapping[str, npt.NDArray[np.float32]],
) -> None:
    arrays: dict[str, Any] = {
        **words,
        "keys": np.array([part.files[row] for row in rows]),
        "labels": part.truth[list(rows)],
        "categories": np.array(categories),
    }
    with atomic_file(folder / RECORD) as stream:
        np.savez_compressed(stream, **arrays)
