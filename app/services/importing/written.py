"""What an import did, or would do: counted, and told one by one where a meaning changes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from app.services.importing.target import Target
from clsl_core.types import JsonObject, LabelState, SourceId
from db.queries.bulk import update_rows

__all__ = ["Ids", "LabelChange", "NameChange", "Written", "digest_of", "update"]

LISTED = 10_000
"""Changes that are told one by one."""

Ids = tuple[dict[SourceId, int], dict[SourceId, int]]
"""From the ids of a set to ours: of images, of categories."""


@dataclass(frozen=True, slots=True)
class NameChange:
    """An image or category that is called something else from now on; ``row`` is our id."""

    row: int
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class LabelChange:
    """A label whose state changes; UNKNOWN where nothing says it any more. Ids are ours."""

    image: int
    category: int
    before: LabelState
    now: LabelState


@dataclass(slots=True)
class Written:
    """Records added, updated and removed by table; labels left as a person decided.

    Attributes:
        kept: The first of those labels: image and category as the file calls them, its state.
        words: Categories that are called something else: their labels change their word.
        pictures: Images whose file is another: their labels change their picture.
        states: Labels that say something else, or nothing any more.
    """

    added: dict[str, int] = field(default_factory=dict)
    updated: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    kept_human: int = 0
    kept: list[tuple[SourceId, SourceId, LabelState]] = field(default_factory=list)
    words: list[NameChange] = field(default_factory=list)
    pictures: list[NameChange] = field(default_factory=list)
    states: list[LabelChange] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything in the database is different."""
        counts = (self.added, self.updated, self.removed)
        return any(number for one in counts for number in one.values())

    def state(self, change: LabelChange) -> None:
        """Note a label that changes; the first ones only."""
        if len(self.states) < LISTED:
            self.states.append(change)


def digest_of(record: JsonObject) -> bytes:
    """Differs when two records do, key order included."""
    return hashlib.blake2b(json.dumps(record).encode(), digest_size=16).digest()


def update(target: Target, table: type[Any], rows: list[JsonObject]) -> None:
    """Change rows by primary key, if there are any."""
    if rows:
        target.do(lambda session: update_rows(session, table, rows))
