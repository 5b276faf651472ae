"""What categories look like, in sentences from a file, and their place among the text embeddings.

    category,description
    cat,"a small furry animal with pointed ears and whiskers"
    cat,"a pet lying on a sofa"

Or JSON: ``{"cat": ["a small furry …", "a pet …"]}``, or a list of objects with the keys
``category`` and ``description``. A category may have several, and need not have any.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clsl_core.arrays import Floats
from clsl_core.backbones.spec import Backbone, normalised
from clsl_core.errors import BackboneError, InputError

__all__ = ["Descriptions", "blend_descriptions", "read_descriptions"]

Descriptions = Mapping[str, Sequence[str]]


def read_descriptions(path: Path) -> dict[str, list[str]]:
    """Read a file of descriptions; the same sentence twice counts once.

    Raises:
        InputError: It cannot be read, is neither CSV with these columns nor such JSON, or holds
            none; the message names the row.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}.") from error
    rows = _json_rows(path, text) if text.lstrip()[:1] in ("{", "[") else _csv_rows(path, text)
    found: dict[str, list[str]] = {}
    for where, category, description in rows:
        if not isinstance(category, str) or not isinstance(description, str):
            raise InputError(f"{path}, {where}: a category and a description must be texts.")
        name, sentence = category.strip(), description.strip()
        if not name or not sentence:
            raise InputError(f"{path}, {where}: the category or its description is empty.")
        sentences = found.setdefault(name, [])
        if sentence not in sentences:
            sentences.append(sentence)
    if not found:
        raise InputError(f"{path} holds no description.")
    return found


def blend_descriptions(
    backbone: Backbone, names: Sequence[str], vectors: Floats, descriptions: Descriptions
) -> Floats:
    """Category vectors with their descriptions averaged in.

    Half of a described category's vector is its name's, half the mean of its sentences'; one
    without descriptions keeps its own exactly.

    Args:
        backbone: With a text tower.
        names: C category names.
        vectors: (C, d) their unit vectors.
        descriptions: By category name.

    Returns:
        (C, d) unit vectors.

    Raises:
        BackboneError: The backbone reads no texts.
    """
    described = [index for index, name in enumerate(names) if descriptions.get(name)]
    if not described:
        return vectors
    sentences = [sentence for index in described for sentence in descriptions[names[index]]]
    encoded = backbone.encode_texts(sentences)
    if encoded is None:
        raise BackboneError(f"{backbone.spec.name} reads no texts, so descriptions cannot help it.")
    out, start = vectors.copy(), 0
    for index in described:
        end = start + len(descriptions[names[index]])
        mean = normalised(encoded[start:end].mean(0))
        out[index] = normalised(vectors[index] + mean)
        start = end
    return out


def _csv_rows(path: Path, text: str) -> Iterable[tuple[str, Any, Any]]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        if not {"category", "description"} <= set(rows.fieldnames or ()):
            raise InputError(
                f"{path}: expected CSV with the columns category,description, or JSON; found the "
                f"columns {', '.join(rows.fieldnames or ()) or 'of an empty file'}."
            )
        for row in rows:
            yield f"line {rows.line_num}", row["category"], row["description"]
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: no CSV ({error}).") from error


def _json_rows(path: Path, text: str) -> Iterable[tuple[str, Any, Any]]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}.") from error
    if isinstance(value, dict):
        for name, said in value.items():
            for sentence in said if isinstance(said, list) else [said]:
                yield f"category {name!r}", name, sentence
        return
    for number, row in enumerate(value):
        if not isinstance(row, dict) or not {"category", "description"} <= row.keys():
            raise InputError(
                f"{path}, entry {number}: expected an object with category and description."
            )
        yield f"entry {number}", row["category"], row["description"]
