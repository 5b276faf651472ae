"""The feature store: backbone features of a collection, in files, each image computed once.

A store is one directory for one backbone. One call of ``append`` makes one shard of three files:

    spec.json                  which backbone made this store
    shard-00007-tokens.npy     (n, P, d) float16
    shard-00007-pooled.npy     (n, d) float16
    shard-00007.json           keys and sha256 of both arrays, renamed into place last

A shard exists when its JSON exists, so a process killed at any moment leaves whole shards only,
and appending costs the same whether the store holds ten images or a million.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from clsl_core.errors import FeatureStoreError
from clsl_core.files import PARTIAL, atomic_file, sha256_of

if TYPE_CHECKING:
    from clsl_core.backbones.spec import BackboneSpec, ImageFeatures

__all__ = ["FeatureStore", "FeatureView"]

_OPEN_SHARDS = 512  # memory maps kept open by one view

ReadTokens = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float16]]


@dataclass(frozen=True, slots=True)
class _Shard:
    """One whole shard: its path without endings, its keys, its checksums by array name."""

    stem: Path
    keys: tuple[str, ...]
    sha256: dict[str, str]

    def array_path(self, array: str) -> Path:
        return Path(f"{self.stem}-{array}.npy")

    def load(self, array: str) -> npt.NDArray[np.float16]:
        """Memory-map one array; a file that is gone or cut short raises FeatureStoreError."""
        try:
            found: npt.NDArray[np.float16] = np.load(
                self.array_path(array), mmap_mode="r", allow_pickle=False
            )
        except (OSError, ValueError, EOFError) as error:
            raise FeatureStoreError(
                f"{self.array_path(array)} cannot be read ({error}); "
                "drop the damaged shards and embed the images again."
            ) from error
        return found


class FeatureStore:
    """Backbone features on disk, by key.

    Keys are opaque strings chosen by the caller; give an image a new key when its file changes.
    Several processes may read and append at once: appending takes a lock.
    """

    def __init__(self, directory: Path, spec: BackboneSpec) -> None:
        self.directory = directory
        self.spec = spec
        self._shards: list[_Shard] = []
        self._unreadable: list[Path] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._scan()

    @classmethod
    def open(cls, directory: Path, spec: BackboneSpec) -> FeatureStore:
        """Open the store in ``directory``, creating it when it is not there.

        Raises:
            FeatureStoreError: The store was made by another backbone, or its spec is unreadable.
        """
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "spec.json"
        wanted = json.loads(json.dumps(asdict(spec)))
        if not path.exists() and not any(directory.glob("shard-*.json")):
            with atomic_file(path) as file:
                file.write(_to_json(wanted))
        found = _read_json(path)
        if found != wanted:
            raise FeatureStoreError(
                f"{directory} holds features of another backbone: found {found}, expected "
                f"{wanted}. Use another directory, or delete this one to embed again."
            )
        return cls(directory, spec)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def missing(self, keys: Sequence[str]) -> list[str]:
        """The keys that are not stored yet, in the order given, each once."""
        return [key for key in dict.fromkeys(keys) if key not in self._places]

    def append(self, keys: Sequence[str], features: ImageFeatures) -> None:
        """Store the features of ``keys`` as one new shard; keys already stored are left alone.

        Args:
            keys: n different strings.
            features: tokens (n, P, d) and pooled (n, d), finite, fitting the spec.

        Raises:
            FeatureStoreError: The arrays do not fit the keys or the spec.
        """
        tokens, pooled = self._checked(keys, features)
        with FileLock(str(self.directory / "append.lock")):
            self._scan()
            rows = [row for row, key in enumerate(keys) if key not in self._places]
            if not rows:
                return
            self._sweep()
            new = [keys[row] for row in rows]
            self._register(_write_shard(self._next_stem(), new, tokens[rows], pooled[rows]))

    def gather(self, keys: Sequence[str]) -> FeatureView:
        """View the features of ``keys`` in that order, read through memory maps.

        Raises:
            FeatureStoreError: Names keys that are not stored.
        """
        absent = self.missing(keys)
        if absent:
            raise FeatureStoreError(
                f"{len(absent)} of {len(keys)} images have no features in {self.directory} "
                f"(first: {', '.join(absent[:5])}); embed them first."
            )
        places = np.array([self._places[key] for key in keys], np.int64).reshape(-1, 2)
        return _view_of_shards(tuple(self._shards), places, self.spec)

    def verify(self) -> list[str]:
        """Read every shard again and describe the damaged ones; empty when all is well."""
        return [message for _, message in self._damage()]

    def drop_damaged(self) -> list[str]:
        """Remove the damaged shards, so that their keys count as missing; says what was removed."""
        with FileLock(str(self.directory / "append.lock")):
            damage = self._damage()
            for stem, _ in damage:
                _remove(Path(f"{stem}.json"))
                _remove(Path(f"{stem}-tokens.npy"))
                _remove(Path(f"{stem}-pooled.npy"))
            self._scan()
        return [message for _, message in damage]

    def _scan(self) -> None:
        """Read the shards that other processes may have added or dropped since."""
        known = {shard.stem: shard for shard in self._shards}
        self._shards, self._unreadable, self._places = [], [], {}
        for path in sorted(self.directory.glob("shard-*.json")):
            stem = path.with_suffix("")
            shard = known.get(stem) or _read_shard(stem)
            if shard is None:
                self._unreadable.append(stem)
            else:
                self._register(shard)

    def _register(self, shard: _Shard) -> None:
        self._shards.append(shard)
        number = len(self._shards) - 1
        for row, key in enumerate(shard.keys):
            self._places.setdefault(key, (number, row))

    def _next_stem(self) -> Path:
        stems = [shard.stem for shard in self._shards] + self._unreadable
        last = max((int(stem.name.removeprefix("shard-")) for stem in stems), default=-1)
        return self.directory / f"shard-{last + 1:05d}"

    def _sweep(self) -> None:
        """Remove what a killed process left half written (called under the lock)."""
        for path in self.directory.glob(f"*{PARTIAL}"):
            _remove(path)

    def _checked(
        self, keys: Sequence[str], features: ImageFeatures
    ) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]]:
        rows, columns = self.spec.grid
        wanted = (len(keys), rows * columns, self.spec.dim)
        tokens = np.asarray(features.tokens, np.float16)
        pooled = np.asarray(features.pooled, np.float16)
        if tokens.shape != wanted or pooled.shape != (wanted[0], wanted[2]):
            raise FeatureStoreError(
                f"features for {len(keys)} images have shapes {tokens.shape} and {pooled.shape}, "
                f"expected {wanted} and {(wanted[0], wanted[2])} for {self.spec.name}."
            )
        if len(set(keys)) != len(keys):
            raise FeatureStoreError("the keys of one shard must differ, and some are the same.")
        if not (np.isfinite(tokens).all() and np.isfinite(pooled).all()):
            raise FeatureStoreError(
                f"features of {keys[0]} … {keys[-1]} hold values that are not finite; nothing was "
                "stored. Embed them again in smaller batches to find the image."
            )
        return tokens, pooled

    def _damage(self) -> list[tuple[Path, str]]:
        found = [
            (stem, f"{stem.name}: its list of keys is unreadable") for stem in self._unreadable
        ]
        for shard in self._shards:
            for array, expected in shard.sha256.items():
                message = _describe_damage(shard, array, expected)
                if message:
                    found.append((shard.stem, message))
        return found


class FeatureView:
    """The features of N images in a fixed order, read when asked for.

    Attributes:
        spec: The backbone, or None for a view made of arrays.
        grid: Rows and columns of the patch grid; P = rows * columns.
        dim: Width d of a token.
    """

    def __init__(
        self,
        read_tokens: ReadTokens,
        read_pooled: Callable[[], npt.NDArray[np.float32]],
        length: int,
        *,
        grid: tuple[int, int],
        dim: int,
        spec: BackboneSpec | None = None,
    ) -> None:
        self._read_tokens = read_tokens
        self._read_pooled = read_pooled
        self._length = length
        self.grid = grid
        self.dim = dim
        self.spec = spec

    @classmethod
    def from_arrays(
        cls,
        tokens: npt.NDArray[np.floating[Any]],
        pooled: npt.NDArray[np.floating[Any]] | None = None,
        grid: tuple[int, int] | None = None,
    ) -> FeatureView:
        """View arrays in memory, for tests and token files.

        Args:
            tokens: (N, P, d); kept as float16.
            pooled: (N, d); by default the mean token, L2-normalised.
            grid: Rows and columns; by default the square with P cells, else (1, P).

        Raises:
            FeatureStoreError: The shapes contradict each other.
        """
        kept = np.ascontiguousarray(tokens, np.float16)
        if kept.ndim != 3:
            raise FeatureStoreError(f"tokens have shape {kept.shape}, expected (N, P, d).")
        count, patches, dim = kept.shape
        side = round(patches**0.5)
        cells = grid or ((side, side) if side * side == patches else (1, patches))
        means = _normalised(kept.astype(np.float32).mean(1)) if pooled is None else pooled
        flat = np.ascontiguousarray(means, np.float32)
        if cells[0] * cells[1] != patches or flat.shape != (count, dim):
            raise FeatureStoreError(
                f"tokens {kept.shape}, pooled {flat.shape} and grid {cells} do not fit together."
            )
        return cls(lambda rows: kept[rows], lambda: flat, count, grid=cells, dim=dim)

    def __len__(self) -> int:
        return self._length

    def tokens(self, rows: Sequence[int] | npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float16]:
        """Patch tokens of the images at ``rows``: float16 (n, P, d)."""
        return self._read_tokens(np.asarray(rows, np.int64))

    def pooled(self) -> npt.NDArray[np.float32]:
        """Global features of all images: float32 (N, d)."""
        return self._read_pooled()


def _view_of_shards(
    shards: tuple[_Shard, ...], places: npt.NDArray[np.int64], spec: BackboneSpec
) -> FeatureView:
    """A view whose image i is row ``places[i, 1]`` of shard ``places[i, 0]``."""
    patches = spec.grid[0] * spec.grid[1]

    @lru_cache(maxsize=_OPEN_SHARDS)
    def tokens_of(number: int) -> npt.NDArray[np.float16]:
        return shards[number].load("tokens")

    def read_tokens(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        out = np.empty((len(rows), patches, spec.dim), np.float16)
        wanted = places[rows]
        for number in np.unique(wanted[:, 0]):
            here = np.flatnonzero(wanted[:, 0] == number)
            out[here] = tokens_of(int(number))[wanted[here, 1]]
        return out

    def read_pooled() -> npt.NDArray[np.float32]:
        out = np.empty((len(places), spec.dim), np.float32)
        for number in np.unique(places[:, 0]):
            here = np.flatnonzero(places[:, 0] == number)
            out[here] = shards[int(number)].load("pooled")[places[here, 1]]
        return out

    return FeatureView(
        read_tokens, read_pooled, len(places), grid=spec.grid, dim=spec.dim, spec=spec
    )


def _normalised(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = vectors / np.maximum(lengths, 1e-6)
    return scaled


def _write_shard(
    stem: Path,
    keys: Sequence[str],
    tokens: npt.NDArray[np.float16],
    pooled: npt.NDArray[np.float16],
) -> _Shard:
    """Write arrays, then the JSON that makes the shard exist."""
    sha256 = {"tokens": _write_array(stem, "tokens", tokens)}
    sha256["pooled"] = _write_array(stem, "pooled", pooled)
    record = _to_json({"keys": list(keys), "sha256": sha256})
    with atomic_file(Path(f"{stem}.json")) as file:
        file.write(record)
    return _Shard(stem, tuple(keys), sha256)


def _write_array(stem: Path, name: str, array: npt.NDArray[np.float16]) -> str:
    path = Path(f"{stem}-{name}.npy")
    with atomic_file(path) as file:
        np.save(file, array, allow_pickle=False)
    return sha256_of(path)


def _read_shard(stem: Path) -> _Shard | None:
    """The shard at ``stem``, or None when its JSON is damaged."""
    try:
        record = json.loads(Path(f"{stem}.json").read_text("utf-8"))
        keys = tuple(str(key) for key in record["keys"])
        sha256 = {name: str(record["sha256"][name]) for name in ("tokens", "pooled")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _Shard(stem, keys, sha256)


def _describe_damage(shard: _Shard, array: str, expected: str) -> str | None:
    path = shard.array_path(array)
    try:
        found = sha256_of(path)
    except OSError as error:
        return f"{shard.stem.name}: {path.name} cannot be read ({error.strerror})"
    if found != expected:
        return f"{shard.stem.name}: {path.name} has sha256 {found[:12]}…, expected {expected[:12]}…"
    return None


def _to_json(record: object) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode()


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FeatureStoreError(
            f"{path} is missing or unreadable ({error}), so nobody can tell which backbone made "
            "these features. Delete the directory to embed again."
        ) from error


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
