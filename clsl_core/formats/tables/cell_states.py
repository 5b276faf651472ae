"""What a cell of a table says of a category: present, absent, or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from clsl_core.formats.findings import Findings
from clsl_core.types import JsonObject, LabelState

__all__ = ["MINUS_ONES", "ZEROS", "MinusOne", "Signs", "Zero", "is_state"]

Zero = Literal["auto", "absent", "unknown"]
"""What ``0`` means; ``auto``: absent, unless the same file writes ``-1`` for that."""

MinusOne = Literal["absent", "unknown"]
"""What ``-1`` means: absent, or (as in collections of chest X-rays) uncertain, hence unknown."""

_PRESENT = frozenset({"1", "1.0", "+1", "present", "true", "yes"})
_ABSENT = frozenset({"absent", "false", "no"})
_UNKNOWN = frozenset({"", "unknown", "nan", "na", "n/a", "null", "none", "?"})
ZEROS = frozenset({"0", "0.0", "-0", "-0.0"})
MINUS_ONES = frozenset({"-1", "-1.0"})


@dataclass(frozen=True, slots=True)
class Signs:
    """What the signs of one file mean.

    Attributes:
        zero: The state of ``0``.
        minus_one: The state of ``-1``.
    """

    zero: LabelState = LabelState.ABSENT
    minus_one: LabelState = LabelState.ABSENT

    @classmethod
    def of(cls, cells: Iterable[str], zero: Zero, minus_one: MinusOne) -> Signs:
        """The signs of a file, from all its cells unless they were declared."""
        minus = LabelState.from_word(minus_one)
        if zero != "auto":
            return cls(LabelState.from_word(zero), minus)
        taken = minus is LabelState.ABSENT and any(cell.strip() in MINUS_ONES for cell in cells)
        return cls(LabelState.UNKNOWN if taken else LabelState.ABSENT, minus)

    @classmethod
    def of_header(cls, style: JsonObject) -> Signs:
        """The signs as ``to_json`` noted them."""
        words = (style.get("zero", "absent"), style.get("minus_one", "absent"))
        return cls(*map(LabelState.from_word, words))

    def to_json(self) -> JsonObject:
        """To be noted with the columns of the file."""
        noted = {"zero": self.zero.word}
        if self.minus_one is not LabelState.ABSENT:
            noted["minus_one"] = self.minus_one.word
        return noted

    def state(self, text: str) -> LabelState:
        """The state that a cell tells.

        Raises:
            ValueError: When it tells none.
        """
        word = text.strip().lower()
        for words, state in (
            (ZEROS, self.zero),
            (MINUS_ONES, self.minus_one),
            (_PRESENT, LabelState.PRESENT),
            (_ABSENT, LabelState.ABSENT),
            (_UNKNOWN, LabelState.UNKNOWN),
        ):
            if word in words:
                return state
        raise ValueError(f"{text[:40]!a} is none of 1, 0, -1, present, absent, unknown or empty")

    def absent_cell(self, cells: Iterable[str]) -> str:
        """How a file with these cells writes an absent category: ``0`` where that is its way."""
        words = {cell.strip() for cell in cells}
        if self.minus_one is not LabelState.ABSENT:
            return "0" if self.zero is LabelState.ABSENT else LabelState.ABSENT.word
        zeros = bool(words & ZEROS) and not words & MINUS_ONES
        return "0" if zeros and self.zero is LabelState.ABSENT else "-1"

    def tell(self, cells: Iterable[str], findings: Findings) -> None:
        """Say what the signs that occur are read as, since tables differ in it."""
        words = {cell.strip() for cell in cells}
        for sign, known, state in (
            ("0", ZEROS, self.zero),
            ("-1", MINUS_ONES, self.minus_one),
        ):
            if words & known:
                message = f"{sign} is read as {state.word}; declare what it means if that is wrong"
                code = "zero-convention" if sign == "0" else "minus-one-convention"
                findings.warn(code, "file", message)


def is_state(text: str) -> bool:
    """Whether a cell tells a state at all."""
    try:
        Signs().state(text)
    except ValueError:
        return False
    return True
