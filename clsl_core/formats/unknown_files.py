"""Why a file looks like no known format, and what to do, where that can be told."""

from __future__ import annotations

import json
from typing import Any

from clsl_core.formats.coco.results import is_results
from clsl_core.formats.text.table_source import guess_delimiter

__all__ = ["first_object", "why_unknown"]


def why_unknown(text: str) -> str | None:
    """What is wrong with a file of no known format, or None where nothing can be told.

    Args:
        text: Its beginning, without blanks before it.
    """
    if text.startswith("["):
        return _of_list(first_object(text))
    if text.startswith("{"):
        return None  # a reader's own report says more
    return _of_table(text)


def first_object(text: str) -> dict[str, Any]:
    """The first object of a JSON list; empty where it begins with none that is whole."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text[1:].lstrip())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _of_list(first: dict[str, Any]) -> str | None:
    keys = ", ".join(f"{key:.40}" for key in list(first)[:8])
    if is_results(first):
        return (
            "it is a list of COCO results, which names images and categories of another file: "
            "import that file first, then this one under the same name"
        )
    if {"id", "annotator", "annotation_id", "choice", "label"} & first.keys() and "id" in first:
        return (
            f"it is a list of objects with {keys}, which looks like Label Studio's JSON-MIN: that "
            "leaves out who said what; export as JSON instead"
        )
    if first:
        return f"it is a JSON list of objects with {keys}, expected tasks with data"
    return None


def _of_table(text: str) -> str | None:
    first = text.split("\n", 1)[0].strip()
    if first.lower().startswith("sep="):
        return f"its first line is {first[:20]!a}, which only Excel understands: remove that line"
    sign = guess_delimiter(text)
    if sign in first and not first.split(sign, 1)[0].strip(' "'):
        return (
            "its first column has no name, as the row numbers of pandas: write the table with "
            "index=False, or remove that column"
        )
    return None
