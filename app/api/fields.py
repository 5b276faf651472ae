"""The kinds of values that requests are made of; each is hostile until it was checked here.

A kind is one annotated type: it reads a value, refuses it with words that follow the field's name,
and says in the description what it takes.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

MAX_ID = 2**31 - 1
"""What an id can be at most in every database."""
MAX_CURSOR = 2_000
MAX_SECONDS = 86_400.0
"""Somebody who took longer went away."""


def _whole(value: object) -> object:
    """Queries hold text only; a truth value or 1.0 is no number of anything."""
    if isinstance(value, str) and value.strip().lstrip("-").isascii():
        try:
            value = int(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int):
        raise PydanticCustomError("whole", "must be a whole number")
    return value


def _finite(value: object) -> object:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise PydanticCustomError("finite", "must be a number")
    return number


def _taken(value: object) -> object:
    """Seconds of a person: a clock that was put back, or a long break, is no reason to refuse."""
    if isinstance(value, str):
        raise PydanticCustomError("finite", "must be a number")
    number = _finite(value)
    return min(max(number, 0.0), MAX_SECONDS) if isinstance(number, float) else number


def _legible(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("null", "holds the character 0, which no text has")
    return value


def _none_for_empty(value: object) -> object:
    return None if value == "" else value


Empty = BeforeValidator(_none_for_empty)
"""Of a value that may be left out: an empty text is left out, too."""
Whole = Annotated[int, BeforeValidator(_whole)]
Id = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_whole)]
Chance = Annotated[float, Field(ge=0, le=1), BeforeValidator(_finite)]
Seconds = Annotated[float, BeforeValidator(_taken), Field(json_schema_extra={"minimum": 0})]
# A text with a limit is measured, and pydantic measures none with half a character in it (a lone
# surrogate): it refuses that as ``string_unicode``. A plain ``str`` would let it through.
Name = Annotated[str, Field(max_length=1000), AfterValidator(_legible)]
_TEXT = (AfterValidator(_legible), Field(json_schema_extra={"pattern": r"^[^\u0000]*$"}))
Text = Annotated[str, Field(max_length=1000), *_TEXT]
Cursor = Annotated[str, Field(max_length=MAX_CURSOR), *_TEXT]
ClientId = Annotated[str, Field(min_length=8, max_length=64), *_TEXT]
"""Made by the client: the same again is the same act."""
