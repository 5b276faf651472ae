"""What a cell of a table says of a category: present, absent, or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from clsl_core.types import LabelState

__all__ = ["Zero", "absent_cell", "state_of_cell", "zero_means"]

Zero = Literal["auto", "absent", "unknown"]
"""What ``0`` means; ``auto``: absent, unless the same file writes ``-1`` for that."""

_PRESENT = frozenset({"1", "1.0", "+1", "present", "true", "yes"})
_ABSENT = frozenset({"-1", "-1.0", "absent", "false", "no"})
_UNKNOWN = frozenset({"", "unknown", "nan", "na", "n/a", "null", "none", "?"})
_ZERO = frozenset({"0", "0.0", "-0", "-0.0"})


def zero_means(cells: Iterable[str], declared: Zero) -> LabelState:
    """The convention of a file, from all its cells unless it was declared."""
    if declared != "auto":
        return LabelState.ABSENT if declared == "absent" else LabelState.UNKNOWN
    negative = any(cell.strip() in ("-1", "-1.0") for cell in cells)
    return LabelState.UNKNOWN if negative else LabelState.ABSENT


def state_of_cell(text: str, zero: LabelState) -> LabelState:
    """The state that a cell tells.

    Raises:
        ValueError: When it tells none.
    """
    word = text.strip().lower()
    if word in _ZERO:
        return zero
    for words, state in (
        (_PRESENT, LabelState.PRESENT),
        (_ABSENT, LabelState.ABSENT),
        (_UNKNOWN, LabelState.UNKNOWN),
    ):
        if word in words:
            return state
    raise ValueError(f"{text[:40]!a} is none of 1, 0, -1, present, absent, unknown or empty")


def absent_cell(cells: Iterable[str], zero: LabelState) -> str:
    """How a file with these cells writes an absent category: ``0`` where that is its way."""
    words = {cell.strip() for cell in cells}
    zeros = bool(words & _ZERO) and not words & {"-1", "-1.0"}
    return "0" if zeros and zero is LabelState.ABSENT else "-1"
