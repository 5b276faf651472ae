"""Which part of a collection a picture belongs to, where its folder says so."""

from __future__ import annotations

__all__ = ["split_of_folder"]

_NAMES = frozenset(
    ("train", "training", "valid", "val", "validation", "dev", "test", "testing", "eval")
)


def split_of_folder(file_name: str) -> str | None:
    """The outermost folder of a path where it is called as a split is; None otherwise."""
    first, _, rest = file_name.replace("\\", "/").partition("/")
    return first if rest and first.lower() in _NAMES else None
