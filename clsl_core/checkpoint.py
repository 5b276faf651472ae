"""Tensors and their description on disk: safetensors beside JSON, no pickle.

The JSON holds the sha256 of the tensors file and is renamed into place last, so a process killed
in the middle leaves the previous pair or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from clsl_core.errors import InputError

__all__ = ["load_checkpoint", "save_checkpoint", "select"]


def save_checkpoint(
    directory: Path, name: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Write ``name``-<sha256>.safetensors and ``name``.json, replacing an older pair.

    Args:
        directory: Made when it is not there.
        name: Stem of both files.
        tensors: By name.
        record: JSON values; ``tensors`` and ``sha256`` are added.
    """
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{name}.safetensors.partial"
    save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, partial)
    sha256 = _sha256(partial)
    path = directory / f"{name}-{sha256[:16]}.safetensors"
    _settle(partial, path)
    note = directory / f"{name}.json.partial"
    note.write_text(json.dumps({**record, "tensors": path.name, "sha256": sha256}, indent=1))
    _settle(note, directory / f"{name}.json")
    for old in directory.glob(f"{name}-*.safetensors"):
        if old != path:
            with contextlib.suppress(FileNotFoundError):
                old.unlink()


def load_checkpoint(
    directory: Path, name: str, device: str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_checkpoint`` wrote.

    Raises:
        InputError: A file is missing, damaged, or is not the one the JSON was written for.
    """
    path = directory / f"{name}.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
        tensors_path = directory / Path(str(record["tensors"])).name
        expected = str(record["sha256"])
        found = _sha256(tensors_path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} or the tensors it names are missing or unreadable ({error}); "
            "train again to make a new model."
        ) from error
    if found != expected:
        raise InputError(
            f"{tensors_path} is damaged: its sha256 is {found[:12]}…, expected {expected[:12]}…; "
            "train again or restore the file."
        )
    try:
        return load_file(tensors_path, device=device), record
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{tensors_path} is not a safetensors file ({error}).") from error


def _settle(partial: Path, path: Path) -> None:
    """Flush to the disk, then rename."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def select(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
