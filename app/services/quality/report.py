"""How good labels and model are: what the quality page shows, each figure from stored events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from app.services.workspace import Workspace, find_dataset
from clsl_core.statistics.intervals import wilson
from clsl_core.statistics.reliability import (
    ReliabilityBin,
    expected_calibration_error,
    reliability_bins,
)
from clsl_core.types import LabelState
from db.models import Category
from db.queries import datasets, quality
from db.queries.quality import Block, LabelCount, Training, VerdictCount

BLOCK = 100
PROBABILITIES = 20_000
MATRIX = 40


@dataclass(frozen=True, slots=True)
class LabelRow:
    """Labels of one category in one state from one source."""

    category: str
    state: str
    source: str
    labels: int


@dataclass(frozen=True, slots=True)
class AcceptanceRow:
    """How many of a run's PRESENT proposals of one category people accepted.

    Attributes:
        share, low, high: The share accepted with Wilson's 95 % interval.
    """

    run: int
    category: str
    verdicts: int
    accepted: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """How often people said what the model had said, over consecutive verdicts.

    Attributes:
        verdict: Number of the last of these verdicts, from 1.
        until: When that was.
    """

    verdict: int
    until: datetime
    verdicts: int
    agreed: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LearningRow:
    """Held-out average precision of one run, with what it had learnt from."""

    run: int
    begun: datetime
    known_labels: int
    held_out_ap: float


@dataclass(frozen=True, slots=True)
class EffortRow:
    """Verdicts given and positives recovered in one arm.

    Attributes:
        per_positive: Verdicts for each recovered positive; None before the first.
    """

    arm: str
    verdicts: int
    recovered: int
    per_positive: float | None


@dataclass(frozen=True, slots=True)
class TogetherRow:
    """Two categories in the same images.

    Attributes:
        images: That carry both.
        share: Of the images with ``given``, those that carry ``category`` too.
    """

    given: str
    category: str
    images: int
    share: float


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Everything on the quality page.

    Attributes:
        calibration_error: Over the bars of ``reliability``; None without verdicts.
    """

    labels: tuple[LabelRow, ...]
    acceptance: tuple[AcceptanceRow, ...]
    agreement: tuple[AgreementRow, ...]
    learning: tuple[LearningRow, ...]
    effort: tuple[EffortRow, ...]
    reliability: tuple[ReliabilityBin, ...]
    calibration_error: float | None
    together: tuple[TogetherRow, ...]


def quality_of(workspace: Workspace, name: str) -> QualityReport:
    """Count everything for one dataset.

    Raises:
        NotFoundError: There is none of that name.
    """
    with workspace.database.read() as session:
        dataset_id = find_dataset(session, name).id
        names = _names(datasets.categories(session, dataset_id))
        counts = quality.label_counts(session, dataset_id)
        verdicts = quality.verdict_counts(session, dataset_id)
        blocks = quality.agreement_blocks(session, dataset_id, BLOCK)
        trainings = quality.trainings(session, dataset_id)
        stated = quality.stated_probabilities(session, dataset_id, PROBABILITIES)
        most = _most_present(counts)
        pairs = quality.together(session, most)
    probabilities = np.array([one for one, _ in stated], np.float64)
    agreed = np.array([one for _, one in stated], np.bool_)
    error = expected_calibration_error(probabilities, agreed) if stated else None
    return QualityReport(
        labels=tuple(_labels(counts, names)),
        acceptance=tuple(_acceptance(verdicts, names)),
        agreement=tuple(_agreement(blocks)),
        learning=tuple(_learning(trainings)),
        effort=tuple(_effort(verdicts)),
        reliability=reliability_bins(probabilities, agreed) if stated else (),
        calibration_error=error,
        together=tuple(_together(pairs, most, names)),
    )


def _names(categories: Iterable[Category]) -> dict[int, str]:
    """Names by id in source order; those that several categories share get the id with it."""
    found = [(one.id, one.name) for one in categories]
    times = Counter(name for _, name in found)
    return {id_: name if times[name] == 1 else f"{name} ({id_})" for id_, name in found}


def _labels(counts: list[LabelCount], names: dict[int, str]) -> Iterable[LabelRow]:
    for one in counts:
        yield LabelRow(names[one.category_id], one.state.word, one.source.value, one.count)


def _acceptance(verdicts: list[VerdictCount], names: dict[int, str]) -> Iterable[AcceptanceRow]:
    asked: Counter[tuple[int, int]] = Counter()
    accepted: Counter[tuple[int, int]] = Counter()
    for one in verdicts:
        if one.state is LabelState.PRESENT:
            asked[one.run_id, one.category_id] += one.count
            accepted[one.run_id, one.category_id] += one.agreed
    for (run_id, category_id), count in sorted(asked.items()):
        yes = accepted[run_id, category_id]
        yield AcceptanceRow(run_id, names[category_id], count, yes, *_share(yes, count))


def _share(part: int, whole: int) -> tuple[float, float, float]:
    low, high = wilson(part, whole)
    return part / whole, float(low), float(high)


def _agreement(blocks: list[Block]) -> Iterable[AgreementRow]:
    seen = 0
    for one in blocks:
        seen += one.count
        yield AgreementRow(seen, one.until, one.count, one.agreed, *_share(one.agreed, one.count))


def _learning(trainings: list[Training]) -> Iterable[LearningRow]:
    for one in trainings:
        value = one.metrics.get("held_out_ap", {}).get("blend")
        if value is not None:
            yield LearningRow(one.run_id, one.created_at, one.known, float(value))


def _effort(verdicts: list[VerdictCount]) -> Iterable[EffortRow]:
    for control, arm in ((False, "chosen by the model"), (True, "random control arm")):
        part = [one for one in verdicts if one.control is control]
        count, gained = sum(one.count for one in part), sum(one.gained for one in part)
        yield EffortRow(arm, count, gained, count / gained if gained else None)


def _most_present(counts: list[LabelCount]) -> list[int]:
    """The categories with most positives: a matrix of more could not be read."""
    present: Counter[int] = Counter()
    for one in counts:
        if one.state is LabelState.PRESENT:
            present[one.category_id] += one.count
    return [category_id for category_id, _ in present.most_common(MATRIX)]


def _together(
    pairs: dict[tuple[int, int], int], most: list[int], names: dict[int, str]
) -> Iterable[TogetherRow]:
    for given in most:
        for category in most:
            both = pairs.get((min(given, category), max(given, category)), 0)
            share = both / pairs[given, given]
            yield TogetherRow(names[given], names[category], both, share)
