"""What the standing renames and merges of a dataset change in what is written out.

A renamed category's record has the new name in place of the old one, and is otherwise as it was.
Annotations, and statements about pictures, of a merged category go out under the id of the one
that stays; where they would say something else than its label now, they are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy.orm import Session

from app.services.runtime.legible import legible
from clsl_core.formats.coco.coco import LABELS_KEY
from clsl_core.formats.coco.lvis import NEGATIVE, NOT_EXHAUSTIVE
from clsl_core.formats.coco.records import id_of
from clsl_core.types import JsonObject, LabelState, SourceId
from db.models import CategoryChange, ChangeKind, Dataset
from db.queries import category_changes, datasets

__all__ = ["KEPT_WHOLE", "Effects"]

KEPT_WHOLE = ("coco", "lvis")
"""Formats whose records are changed in place; files of others are written anew."""
_LISTED = {NEGATIVE: LabelState.ABSENT, NOT_EXHAUSTIVE: LabelState.PRESENT}


@dataclass(frozen=True)
class Effects:
    """All that standing changes do to a dataset's records.

    Attributes:
        renamed: Names given here, by category id.
        into: Hidden categories, with the one that each has become a part of in the end.
        told: In words, one line for each change.
        keys: The id in the file of each category.
        states: Labels of the categories that stay, by image and category id; read only where
            something but annotations may contradict them.
    """

    renamed: Mapping[int, str]
    into: Mapping[int, int]
    told: tuple[str, ...]
    keys: Mapping[int, SourceId]
    states: Mapping[tuple[int, int], LabelState]

    @classmethod
    def of(cls, session: Session, dataset: Dataset, *, told_alone: bool = False) -> Effects:
        """Those of now; ``told_alone`` without the labels, which are many, for a preview."""
        changes = category_changes.standing(session, dataset.id)
        if not changes:
            return cls({}, {}, (), {}, {})
        rows = {row.id: row for row in datasets.categories(session, dataset.id, hidden=True)}
        into = category_changes.ends(session, dataset.id)
        named = {one.category_id for one in changes if one.kind is ChangeKind.RENAME}
        told = [_told(one) for one in changes]
        for target in sorted(set(into.values())):
            group = [target, *(id_ for id_, end in into.items() if end == target)]
            if count := category_changes.boxed_but_unknown(session, target, group):
                told.append(
                    f"{count:,} images have annotations of {legible(rows[target].name)} while "
                    "their label is unknown: who reads the file takes them for present"
                )
        needed = dataset.format == "lvis" or LABELS_KEY in dataset.header
        return cls(
            {id_: rows[id_].name for id_ in named if id_ not in into},
            into,
            tuple(told),
            {id_: json.loads(row.source_id) for id_, row in rows.items()},
            {}
            if told_alone or not needed
            else category_changes.states(session, set(into.values())),
        )

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.renamed or self.into)

    def category(self, category_id: int, record: JsonObject) -> JsonObject:
        """The record of a category: keys and their order as they were."""
        name = self.renamed.get(category_id)
        return record if name is None or "name" not in record else {**record, "name": name}

    def annotation(self, category_id: int | None, record: JsonObject) -> JsonObject:
        """The record of an annotation: of a hidden category under the id of the other."""
        end = self.into.get(category_id or 0)
        if end is None or "category_id" not in record:
            return record
        return {**record, "category_id": self.keys[end]}

    def image(self, image_id: int, record: JsonObject) -> JsonObject:
        """The record of an image: what its lists (LVIS) say of categories."""
        changed = {
            key: self._listed(image_id, record[key], state)
            for key, state in _LISTED.items()
            if self.into and isinstance(record.get(key), list)
        }
        return {**record, **changed} if changed else record

    def _listed(self, image_id: int, values: list[Any], state: LabelState) -> list[Any]:
        """A list of category ids without what their labels do not say any more."""
        ids = self._by_key
        found: list[Any] = []
        for value in values:
            category_id = ids.get(json.dumps(id_of(value)))
            end = self.into.get(category_id or 0, category_id)
            if end is None or end not in self._ends:
                found.append(value)
            elif self.states.get((image_id, end)) is state and self.keys[end] not in found:
                found.append(self.keys[end])
        return found

    def header(self, header: JsonObject, images: Mapping[str, int]) -> JsonObject:
        """The top level: what its list of labels says of categories.

        Args:
            header: As it came.
            images: Image ids by their id in the file, as JSON.
        """
        entries = header.get(LABELS_KEY)
        if not self.into or not isinstance(entries, list):
            return header
        found = []
        for entry in entries:
            changed = self._entry(entry, images)
            if changed is not None:
                found.append(changed)
        return {**header, LABELS_KEY: found}

    def _entry(self, entry: Any, images: Mapping[str, int]) -> Any:
        """One entry; None where it says something else than the label does."""
        if not isinstance(entry, dict):
            return entry
        category_id = self._by_key.get(json.dumps(id_of(entry.get("category_id"))))
        end = self.into.get(category_id or 0, category_id)
        if end is None or end not in self._ends:
            return entry
        image_id = images.get(json.dumps(id_of(entry.get("image_id"))))
        state = self.states.get((image_id or 0, end), LabelState.UNKNOWN)
        if image_id is not None and state.word != entry.get("state"):
            return None
        return {**entry, "category_id": self.keys[end]}

    @cached_property
    def _ends(self) -> frozenset[int]:
        return frozenset(self.into.values())

    @cached_property
    def _by_key(self) -> dict[str, int]:
        return {json.dumps(key): id_ for id_, key in self.keys.items()}


def _told(change: CategoryChange) -> str:
    said = change.details
    if change.kind is ChangeKind.RENAME:
        return f"{legible(said['before'])} is called {legible(said['after'])}"
    names = ", ".join(legible(one["name"]) for one in said["sources"])
    return (
        f"{names} went into {legible(said['target'])}: {said['annotations']:,} annotations go out "
        f"under its id, {said['labels']:,} of its labels changed"
    )
