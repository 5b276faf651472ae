"""Reading requests: every value is hostile until it was checked here."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.requests import Request

from clsl_core.errors import InputError, NotFoundError

MAX_BODY = 256 * 1024
MAX_TEXT = 2_000


class TooLarge(InputError):  # noqa: N818 - the words of HTTP
    """A body is larger than a route reads."""


async def body(request: Request) -> dict[str, Any]:
    """The JSON object of a request, read up to MAX_BODY bytes.

    Raises:
        TooLarge: It is larger than MAX_BODY, or says so.
        InputError: It is something else.
    """
    said = request.headers.get("content-length", "0")
    if not said.isascii() or not said.isdigit() or int(said) > MAX_BODY:
        raise TooLarge(f"the request is larger than {MAX_BODY} bytes")
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise TooLarge(f"the request is larger than {MAX_BODY} bytes")
    try:
        found = json.loads(bytes(content))
    except (ValueError, RecursionError) as error:
        raise InputError("the body is not JSON") from error
    if not isinstance(found, dict):
        raise InputError("the body must be a JSON object")
    return found


def integer(value: object, name: str) -> int:
    """A whole number that a database can hold.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, str) and value.strip().lstrip("-").isascii():
        try:
            value = int(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise InputError(f"{name} must be a whole number")
    return value


def row(request: Request, name: str) -> int:
    """The number of a row from the path.

    Raises:
        NotFoundError: No row of a database can have it.
    """
    found: int = request.path_params[name]
    if not 0 <= found < 2**31:
        raise NotFoundError(f"there is no {name.removesuffix('_id')} {found}")
    return found


def optional_integer(value: object, name: str) -> int | None:
    """A whole number, or None for nothing.

    Raises:
        InputError: It is something else.
    """
    return None if value is None or value == "" else integer(value, name)


def optional_number(value: object, name: str) -> float | None:
    """A finite number, or None for nothing.

    Raises:
        InputError: It is something else.
    """
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise InputError(f"{name} must be a number")
    return number


def text(value: object, name: str) -> str:
    """A text of reasonable length.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\x00" in value:
        raise InputError(f"{name} must be a text of at most {MAX_TEXT} characters")
    return value


def optional_text(value: object, name: str) -> str | None:
    """A text, or None for nothing.

    Raises:
        InputError: It is something else.
    """
    return None if value is None or value == "" else text(value, name)


def seconds(value: object, name: str) -> float | None:
    """A time a person took, kept between 0 and a day.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, str):
        raise InputError(f"{name} must be a number")
    number = optional_number(value, name)
    return None if number is None else min(max(number, 0.0), 86_400.0)
