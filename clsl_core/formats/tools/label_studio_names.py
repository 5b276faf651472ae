"""Which picture a task of Label Studio is about."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from clsl_core.formats.tables.csv_wide import PICTURES
from clsl_core.types import JsonObject

__all__ = ["file_name_of", "picture_key"]

_USUAL = ("image", "img")
_SERVED = "/data/"
_LOCAL = "/data/local-files/"


def picture_key(data: JsonObject, declared: str = "") -> str | None:
    """The key of a task's data that holds its picture; None where that cannot be told.

    Args:
        data: Of the task.
        declared: The key as a person named it; empty to find it.
    """
    if declared:
        return declared if declared in data else None
    usual = next((key for key in _USUAL if key in data), None)
    if usual is not None:
        return usual
    found = [key for key, value in data.items() if _looks_like_a_picture(value)]
    return found[0] if len(found) == 1 else None


def _looks_like_a_picture(value: object) -> bool:
    name = file_name_of(value)
    return isinstance(name, str) and PurePosixPath(name).suffix.lower() in PICTURES


def file_name_of(value: object) -> object:
    """The path of a picture as Label Studio names it; what is no text is given back.

    Uploads and local files are named without the prefix of the server, keys of object stores
    without the bucket and letter by letter, URLs without the host.
    """
    if not isinstance(value, str):
        return value
    if _LOCAL in value and "?d=" in value:
        return unquote(value.partition("?d=")[2].partition("&")[0])
    scheme, found, rest = value.partition("://")
    if not found:
        return value.removeprefix(_SERVED)
    if scheme.lower() not in ("http", "https"):
        return rest.partition("/")[2] or None
    try:
        path = unquote(urlsplit(value).path)
    except ValueError:
        return value
    return path.removeprefix(_SERVED).lstrip("/") or None
