"""The labels that an export writes: those of now, or those of a snapshot."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.orm import Session

from app.services.datasets import snapshots
from app.services.exporting.part import ExportChoice, Selection
from clsl_core.errors import ConflictError
from clsl_core.types import LabelRecord, LabelSource, LabelState, SourceId
from db.models import Dataset
from db.queries import category_changes, export
from db.queries.snapshots import provenances, standing_decisions

__all__ = ["ExportLabels", "LabelCounts", "labels_of"]


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many labels an export holds.

    Attributes:
        given_here: By source and state, as ``human present``.
        imported_present: What came as present.
    """

    given_here: dict[str, int]
    imported_present: int


class ExportLabels(Protocol):
    """Labels of a part of a dataset, in the order of its images and categories."""

    def given_here(self) -> Iterator[LabelRecord]:
        """Those that people gave here, with their provenance."""

    def every(self) -> Iterator[LabelRecord]:
        """Every label with the provenance it was imported with.

        A dataset's own format finds them in the records and the header; another one cannot. What
        was given here and is not wanted leaves its pair unknown.
        """

    def of_merged(self, into: Mapping[int, int]) -> Iterator[LabelRecord]:
        """What came with the file and is known of categories that others went into.

        The records may say otherwise: a writer adds what they do not say.

        Args:
            into: The hidden categories, with the one that each is a part of.
        """

    def imported(self, *, undrawn: bool) -> Iterator[LabelRecord]:
        """What files said, with the provenance it came with.

        Args:
            undrawn: Leave out what only an annotation says: it goes out by itself.
        """

    def counts(self) -> LabelCounts:
        """How many there are."""


def labels_of(
    session: Session, dataset: Dataset, choice: ExportChoice, selection: Selection
) -> ExportLabels:
    """The labels that a choice asks for.

    Raises:
        NotFoundError: There is no such snapshot.
        ConflictError: Categories were merged since it was taken, or a merge was undone.
        DatabaseError: The snapshot is damaged.
    """
    if choice.snapshot is None:
        return _LabelsOfNow(session, choice, selection)
    return _LabelsOfSnapshot(session, dataset, choice, selection)


@dataclass(frozen=True, slots=True)
class _LabelsOfNow:
    session: Session
    choice: ExportChoice
    selection: Selection

    def given_here(self) -> Iterator[LabelRecord]:
        for row in export.given_here(self.session, self.selection, self.choice.sources):
            yield _record(*row)

    def every(self) -> Iterator[LabelRecord]:
        for row in export.every(self.session, self.selection, self.choice.sources):
            known = {"source": row.source.value, **(row.provenance or {})}
            yield LabelRecord(json.loads(row.image), json.loads(row.category), row.state, **known)

    def of_merged(self, into: Mapping[int, int]) -> Iterator[LabelRecord]:
        return _as_records(export.imported_of(self.session, self.selection, set(into.values())))

    def imported(self, *, undrawn: bool) -> Iterator[LabelRecord]:
        return _as_records(export.imported(self.session, self.selection, undrawn=undrawn))

    def counts(self) -> LabelCounts:
        given = export.given_counts(self.session, self.selection, self.choice.sources)
        return LabelCounts(
            {f"{source.value} {state.word}": number for source, state, number in given},
            export.imported_present(self.session, self.selection),
        )


class _LabelsOfSnapshot:
    """A snapshot's labels; whose each was is told by the decisions made until then."""

    def __init__(
        self, session: Session, dataset: Dataset, choice: ExportChoice, selection: Selection
    ) -> None:
        self._sources = set(choice.sources)
        kept = snapshots.states(session, dataset, choice.snapshot or "")
        if category_changes.merged_around(session, dataset.id, kept.taken_at):
            raise ConflictError(
                f"the snapshot {choice.snapshot!r} knows other categories than there are now: a "
                "merge was made or undone since; bring the categories back as they were first"
            )
        self._into = category_changes.ends(session, dataset.id)
        images = export.image_places(session, selection)
        categories = export.category_places(session, selection)
        # Of a merged category, a label rests on a decision about what went into it.
        self._deciders = {
            (row[0], self._into.get(row[1], row[1]), row[2].state): row[3:]
            for row in standing_decisions(session, dataset.id, kept.last_decision_id)
        }
        self._provenance = {
            (image_id, category_id): provenance
            for image_id, category_id, provenance in provenances(session, dataset.id)
        }
        self._labels = sorted(
            (images[row[0]], categories[row[1]], row)
            for row in kept.rows
            if row[0] in images and row[1] in categories
        )

    def given_here(self) -> Iterator[LabelRecord]:
        for label, decided in self._all():
            if decided and label.source in self._sources:
                yield label

    def every(self) -> Iterator[LabelRecord]:
        for label, decided in self._all():
            if not decided or label.source in self._sources:
                yield label

    def of_merged(self, into: Mapping[int, int]) -> Iterator[LabelRecord]:
        ends = set(into.values())
        for (label, decided), (_, _, row) in zip(self._all(), self._labels, strict=True):
            if not decided and row[1] in ends:
                yield label

    def imported(self, *, undrawn: bool) -> Iterator[LabelRecord]:
        del undrawn  # a writer leaves out what annotations say
        return (label for label, decided in self._all() if not decided)

    def counts(self) -> LabelCounts:
        given: Counter[str] = Counter()
        imported = 0
        for label, decided in self._all():
            if decided and label.source in self._sources:
                given[f"{label.source} {label.state.word}"] += 1
            elif not decided and label.state is LabelState.PRESENT:
                imported += 1
        return LabelCounts(dict(sorted(given.items())), imported)

    def _all(self) -> Iterator[tuple[LabelRecord, bool]]:
        """Each label, and whether it was given here."""
        for (_, image_key), (_, category_key), (image_id, category_id, value) in self._labels:
            state = LabelState(value)
            said = self._deciders.get((image_id, category_id, state))
            if said is None:
                known = self._provenance.get((image_id, category_id)) or {}
                pair = json.loads(image_key), json.loads(category_key)
                yield LabelRecord(*pair, state, **known), False
            else:
                yield _record(image_key, category_key, state, *said), True


def _as_records(rows: Iterator[export.Known]) -> Iterator[LabelRecord]:
    """What files said, with the provenance it came with."""
    for row in rows:
        known = row.provenance or {}
        yield LabelRecord(json.loads(row.image), json.loads(row.category), row.state, **known)


def _record(
    image_key: str,
    category_key: str,
    state: LabelState,
    source: LabelSource,
    moment: Any,
    annotator: str,
    run_id: int | None,
    score: float | None,
) -> LabelRecord:
    image_id: SourceId = json.loads(image_key)
    return LabelRecord(
        image_id=image_id,
        category_id=json.loads(category_key),
        state=state,
        source=source.value,
        model_run=None if run_id is None else str(run_id),
        score=score,
        annotator=annotator,
        decided_at=moment.isoformat(),
    )
