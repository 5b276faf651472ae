"""What goes into an export: which part of a dataset, and which of the labels given here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy.orm import Session

from clsl_core.errors import InputError, NotFoundError
from clsl_core.types import JsonObject, LabelSource
from db.models import Dataset
from db.queries import category_changes, datasets
from db.queries.export import Selection, Wanted, selection

__all__ = ["GIVEN_HERE", "WHOLE", "ExportChoice", "ExportPart", "Only", "Selection"]


class Only(StrEnum):
    """Which images go in by what is known of them, in the categories that go in.

    REVIEWED: somebody here gave a label. COMPLETE: no label is unknown.
    """

    ALL = "all"
    REVIEWED = "reviewed"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class ExportPart:
    """What somebody wants of a dataset; what is not said leaves nothing out.

    Attributes:
        split: Images of this part of the collection.
        categories: Names; all categories of a name go in.
        prefix: Images whose file name begins so: a folder, say.
        only: Images by what is known of them.
    """

    split: str | None = None
    categories: tuple[str, ...] = ()
    prefix: str | None = None
    only: Only = Only.ALL

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ExportPart:
        """From the words of a job, a command or a page.

        Raises:
            InputError: ``only`` is none of its words.
        """
        only = str(given.get("only") or Only.ALL)
        if only not in set(Only):
            raise InputError(f"only {only!r:.40} is not known; there are: {', '.join(Only)}")
        names = tuple(str(name) for name in given.get("categories") or ())
        return cls(given.get("split") or None, names, given.get("prefix") or None, Only(only))

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self == WHOLE

    def to_json(self) -> JsonObject:
        """As a job's payload holds it, and the file says it; nothing for the whole."""
        said: JsonObject = {
            "split": self.split,
            "categories": list(self.categories),
            "prefix": self.prefix,
            "only": None if self.only is Only.ALL else str(self.only),
        }
        return {key: value for key, value in said.items() if value}

    def select(self, session: Session, dataset: Dataset) -> Selection:
        """Find the part in a dataset.

        Raises:
            NotFoundError: There is no such split or category.
        """
        chosen = self._category_ids(session, dataset)
        self._check_split(session, dataset)
        wanted = Wanted(
            self.split,
            self.prefix,
            chosen if self.categories else None,
            reviewed=self.only is Only.REVIEWED,
            complete=len(chosen) if self.only is Only.COMPLETE else None,
        )
        into = category_changes.ends(session, dataset.id)
        drawn = chosen + [id_ for id_, end in into.items() if end in set(chosen)]
        return selection(dataset.id, wanted, chosen, drawn, whole=self.whole)

    def _check_split(self, session: Session, dataset: Dataset) -> None:
        if self.split is None:
            return
        known = datasets.splits(session, dataset.id)
        if self.split not in known:
            raise NotFoundError(
                f"{dataset.name!r} has no split {self.split!r:.60}; there are: "
                f"{', '.join(known[:20]) or 'none'}"
            )

    def _category_ids(self, session: Session, dataset: Dataset) -> list[int]:
        by_name = datasets.category_ids_by_name(session, dataset.id)
        missing = [name for name in self.categories if name not in by_name]
        if missing:
            raise NotFoundError(
                f"{dataset.name!r} has no category {missing[0]!r:.60}: `clsl stats` lists them"
            )
        return [id_ for name in self.categories or by_name for id_ in by_name[name]]


WHOLE = ExportPart()


GIVEN_HERE = (LabelSource.HUMAN, LabelSource.MODEL_AUDITED)
"""Sources of labels that were given in this program."""


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """What goes in; what came with the source file always does.

    Attributes:
        sources: Which of the labels that were given here.
        proposals: Whether the open proposals go along, in a table of their own: a proposal is
            never written as a label.
        part: Which images and categories.
        snapshot: The name of the snapshot whose labels go in; None for those of now.
    """

    sources: tuple[LabelSource, ...] = GIVEN_HERE
    proposals: bool = False
    part: ExportPart = WHOLE
    snapshot: str | None = None

    @classmethod
    def of(cls, sources: Iterable[str] | None, proposals: object = False) -> ExportChoice:
        """From the words of a job, a command or a page; all sources when None.

        Raises:
            InputError: A word is none of the sources.
        """
        if sources is None:
            return cls(GIVEN_HERE, bool(proposals))
        words = list(sources)
        unknown = [word for word in words if word not in GIVEN_HERE]
        if unknown:
            known = ", ".join(repr(str(source)) for source in GIVEN_HERE)
            raise InputError(f"no labels were given here by {unknown[0]!r:.60}; there are {known}")
        return cls(tuple(source for source in GIVEN_HERE if source in words), bool(proposals))

    @classmethod
    def of_payload(cls, payload: Mapping[str, Any]) -> ExportChoice:
        """From a job's payload.

        Raises:
            InputError: A word in it is not known.
        """
        choice = cls.of(payload.get("sources"), payload.get("proposals"))
        part = ExportPart.of(payload.get("part") or {})
        return replace(choice, part=part, snapshot=payload.get("snapshot") or None)

    @property
    def as_it_came(self) -> bool:
        """Whether everything that came in goes out again."""
        return self.part.whole and self.snapshot is None

    def to_json(self) -> JsonObject:
        """As a job's payload holds it; the whole and now go without saying."""
        said: JsonObject = {
            "sources": [str(source) for source in self.sources],
            "proposals": self.proposals,
        }
        if not self.part.whole:
            said["part"] = self.part.to_json()
        if self.snapshot is not None:
            said["snapshot"] = self.snapshot
        return said
