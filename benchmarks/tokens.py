"""Inputs of a measurement: features, truth, categories; from a token file or an embedded folder.

A *token file* is an ``.npz`` made elsewhere:

    tokens            (N, P, d) floats, patch tokens row by row
    labels            (N, C) integers: 1 present, 0 or -1 absent
    categories        (C,) names
    files             (N,) names of the pictures; optional
    label_embeddings  (C, E) vectors of the categories: text of the tokens' space, or any; optional
    described_embeddings  (C, E) these with descriptions averaged in; optional

An *embedded folder* is what ``benchmarks.literature`` makes: a feature store in ``features/`` and
``collection.npz`` with ``keys``, ``labels`` (0 here means "not judged"), ``categories`` and
``label_embeddings``.

Letters: N images, P patches, d token width, C categories, E vector width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Ids, Labels
from clsl_core.backbones.spec import BackboneSpec, normalised
from clsl_core.errors import InputError
from clsl_core.features import FeatureStore, FeatureView
from clsl_core.files import sha256_of

__all__ = ["Categories", "Collection", "load", "split", "subset"]

FEATURES = "features"
RECORD = "collection.npz"


@dataclass(frozen=True)
class Categories:
    """What is known of the categories besides labels.

    Attributes:
        names: C names.
        vectors: (C, E) float32, or None.
        text: Whether ``vectors`` are text embeddings in the space of the tokens.
        described: ``vectors`` with descriptions of the categories averaged in, or None.
    """

    names: tuple[str, ...]
    vectors: npt.NDArray[np.float32] | None
    text: bool
    described: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Collection:
    """Features of N images and the whole truth about them.

    Attributes:
        features: Tokens of unit length, and a pooled vector for each image.
        truth: (N, C) int8: +1 present, -1 absent, 0 not to be judged.
        categories: Their names and vectors.
        origin: sha256 of the file it was read from.
    """

    features: FeatureView
    truth: Labels
    categories: Categories
    origin: str

    def take(self, rows: Ids) -> Collection:
        """The same with the images at ``rows`` only, in that order."""
        return replace(self, features=subset(self.features, rows), truth=self.truth[rows])


def load(path: Path, text: bool | None = None) -> Collection:
    """Read a token file or an embedded folder.

    Args:
        path: See the module.
        text: Whether the category vectors are text of the tokens' space; None concludes it from
            equal widths.

    Raises:
        InputError: Missing, damaged or contradictory; says what was expected.
    """
    folder = path.is_dir()
    source = path / RECORD if folder else path
    arrays = _arrays(source)
    features = _stored(path, arrays) if folder else _token_view(arrays, path)
    truth = _truth(arrays, len(features), path, zero_is_absent=not folder)
    return Collection(
        features,
        truth,
        _categories(arrays, truth.shape[1], features, text, path),
        sha256_of(source),
    )


def subset(features: FeatureView, rows: Ids) -> FeatureView:
    """The images at ``rows`` of a view, in that order; nothing is copied but pooled vectors."""
    wanted = np.asarray(rows, np.int64)
    pooled = np.ascontiguousarray(features.pooled()[wanted])
    return FeatureView(
        lambda places: features.tokens(wanted[places]),
        lambda: pooled,
        len(wanted),
        grid=features.grid,
        dim=features.dim,
        spec=features.spec,
    )


def split(count: int, share: float, seed: int = 0) -> tuple[Ids, Ids]:
    """Ids to train on and rows to test on, the latter about ``share`` of ``count``."""
    order = np.random.default_rng(seed).permutation(count)
    tested = round(share * count)
    return np.sort(order[tested:]), np.sort(order[:tested])


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Every array of an npz; pickles are refused."""
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}; expected a token file (.npz).")
    try:
        if not is_zipfile(path):
            raise InputError(f"{path} is no .npz archive, or is cut short.")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, MemoryError) as error:
        raise InputError(f"{path} cannot be read as an .npz of plain arrays: {error}.") from error


def _get(arrays: Mapping[str, npt.NDArray[Any]], name: str, path: Path) -> npt.NDArray[Any]:
    if name not in arrays:
        raise InputError(f"{path} has no array {name!r}; it has {', '.join(sorted(arrays))}.")
    return arrays[name]


def _token_view(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> FeatureView:
    """Tokens scaled to unit length as the program's own backbones give them, and their mean."""
    tokens = _get(arrays, "tokens", path)
    if tokens.ndim != 3 or tokens.dtype.kind != "f" or 0 in tokens.shape:
        raise InputError(
            f"{path}: 'tokens' has shape {tokens.shape} and type {tokens.dtype}, expected floats "
            "(N, P, d), none of them 0."
        )
    wide = tokens.astype(np.float32)
    if not np.isfinite(wide).all():
        raise InputError(f"{path}: 'tokens' holds values that are not finite.")
    unit = normalised(wide)
    side = round(unit.shape[1] ** 0.5)
    grid = (side, side) if side * side == unit.shape[1] else (1, unit.shape[1])
    return FeatureView.from_arrays(unit.astype(np.float16), unit.mean(1), grid)


def _stored(folder: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> FeatureView:
    """The features of an embedded folder, read from disk as they are needed."""
    try:
        spec = BackboneSpec.from_json(json.loads((folder / FEATURES / "spec.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no feature store ({error}); embed it again.") from error
    keys = [str(key) for key in _get(arrays, "keys", folder)]
    return FeatureStore.open(folder / FEATURES, spec).gather(keys)


def _truth(
    arrays: Mapping[str, npt.NDArray[Any]], count: int, path: Path, *, zero_is_absent: bool
) -> Labels:
    labels = _get(arrays, "labels", path)
    if labels.ndim != 2 or len(labels) != count or not labels.shape[1]:
        raise InputError(
            f"{path}: 'labels' has shape {labels.shape}, expected ({count}, C) for {count} images."
        )
    if labels.dtype.kind not in "iub" or not np.isin(labels, (-1, 0, 1)).all():
        raise InputError(
            f"{path}: 'labels' ({labels.dtype}) must be integers: 1 present, 0 or -1 absent."
        )
    whole = labels.astype(np.int8)
    return np.where(whole > 0, np.int8(1), np.int8(-1)) if zero_is_absent else whole


def _categories(
    arrays: Mapping[str, npt.NDArray[Any]],
    count: int,
    features: FeatureView,
    text: bool | None,
    path: Path,
) -> Categories:
    names = _get(arrays, "categories", path)
    if names.shape != (count,) or names.dtype.kind not in "US":
        raise InputError(
            f"{path}: 'categories' has shape {names.shape} and type {names.dtype}, expected "
            f"{count} names."
        )
    vectors = _vectors(arrays, "label_embeddings", count, path)
    described = _vectors(arrays, "described_embeddings", count, path)
    same = vectors is not None and vectors.shape[1] == features.dim
    if text and not same:
        width = None if vectors is None else vectors.shape[1]
        raise InputError(
            f"{path}: text of the tokens' space has width {features.dim}, 'label_embeddings' has "
            f"{width}."
        )
    return Categories(tuple(map(str, names)), vectors, same if text is None else text, described)


def _vectors(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, count: int, path: Path
) -> npt.NDArray[np.float32] | None:
    """Optional vectors of the categories, (C, E) float32."""
    vectors = arrays.get(name)
    if vectors is None:
        return None
    if (
        vectors.ndim != 2
        or len(vectors) != count
        or vectors.dtype.kind != "f"
        or not np.isfinite(vectors).all()
    ):
        raise InputError(
            f"{path}: {name!r} has shape {vectors.shape} and type {vectors.dtype}, "
            f"expected finite floats ({count}, E)."
        )
    return vectors.astype(np.float32)
