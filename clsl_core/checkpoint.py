"""Tensors and their description on disk: safetensors beside JSON, no pickle.

The JSON holds the sha256 of the tensors file and is renamed into place last, so a process killed
in the middle leaves the previous pair or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from clsl_core.errors import InputError
from clsl_core.files import atomic_file, atomic_text, sha256_of

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
    content = save({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
    sha256 = hashlib.sha256(content).hexdigest()
    path = directory / f"{name}-{sha256[:16]}.safetensors"
    with atomic_file(path) as file:
        file.write(content)
    with atomic_text(directory / f"{name}.json") as note:
        json.dump({**record, "tensors": path.name, "sha256": sha256}, note, indent=1)
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
        found = sha256_of(tensors_path)
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


def select(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
