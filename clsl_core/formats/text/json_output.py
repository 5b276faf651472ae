"""JSON out, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from clsl_core.errors import InputError
from clsl_core.files import atomic_text

__all__ = ["json_text", "write_json", "write_json_lines"]


def json_text(value: object, indent: int | None = None) -> str:
    """JSON; escaped only where it holds what UTF-8 cannot (lone surrogates).

    Raises:
        InputError: When it cannot be written as JSON.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, indent=indent)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be written as JSON: {error}") from error
    return text


def write_json(value: object, output: Path) -> None:
    """Write one value.

    Raises:
        InputError: When it is no JSON, or ``output`` cannot be written.
    """
    text = json_text(value, indent=1)
    with atomic_text(output) as stream:
        stream.write(text + "\n")


def write_json_lines(values: Iterable[object], output: Path) -> None:
    """Write one value a line.

    Raises:
        InputError: When one is no JSON, or ``output`` cannot be written.
    """
    with atomic_text(output) as stream:
        for value in values:
            stream.write(json_text(value) + "\n")
