"""What goes into an export, beyond what came in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.services.exporting.part import WHOLE, ExportPart
from clsl_core.errors import InputError
from clsl_core.types import JsonObject, LabelSource

__all__ = ["GIVEN_HERE", "ExportChoice"]

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
