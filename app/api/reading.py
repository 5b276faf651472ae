"""Reading requests: a size that is allowed, then the model that the route reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from app.api.requests import Given
from clsl_core.errors import InputError, NotFoundError

MAX_BODY = 256 * 1024

Model = TypeVar("Model", bound=Given)

_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is missing",
    "string_type": lambda _: "must be a text",
    "string_unicode": lambda _: "holds half a character (a lone surrogate): send it whole",
    "string_too_short": lambda said: f"must have at least {said['min_length']} characters",
    "string_too_long": lambda said: f"must have at most {said['max_length']} characters",
    "literal_error": lambda said: f"must be {said['expected']}",
    "greater_than_equal": lambda said: f"must be at least {said['ge']}",
    "less_than_equal": lambda said: f"must be at most {said['le']}",
    "list_type": lambda _: "must be a list",
    "too_long": lambda said: (
        f"has {said['actual_length']} entries: send at most {said['max_length']}"
    ),
    "dict_type": lambda _: "must be an object",
    "model_type": lambda _: "must be an object",
    "bool_type": lambda _: "must be true or false",
}
"""What is wrong with a field, by pydantic's name of it; the fields' own errors have words."""


class TooLarge(InputError):  # noqa: N818 - the words of HTTP
    """A body is larger than a route reads."""


async def read(request: Request, model: type[Model]) -> Model:
    """What a request gives, checked: its path, and its query or, of a POST, its JSON body.

    Raises:
        TooLarge: The body is larger than MAX_BODY, or says so.
        InputError: Something is not as the model says; the message names the field.
        NotFoundError: The path names a row that no database has.
    """
    given = await body(request) if request.method == "POST" else dict(request.query_params)
    try:
        return model.model_validate({**given, **request.path_params})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _refusal(first, request.path_params) from None


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


def _refusal(error: ErrorDetails, path: Mapping[str, Any]) -> InputError | NotFoundError:
    place = error["loc"]
    if place and place[0] in path:
        kind = str(place[0]).removesuffix("_id")
        return NotFoundError(f"there is no {kind} {path[str(place[0])]}")
    worded = _WORDS.get(error["type"])
    what = error["msg"] if worded is None else worded(error.get("ctx", {}))
    return InputError(f"{_name(place)} {what}".lstrip())


def _name(place: tuple[int | str, ...]) -> str:
    """A field as a person writes it: ``decisions[0].client_id``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(part for part in parts if part != ".[key]").removeprefix(".")
