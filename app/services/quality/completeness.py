"""How many positives are missing still, from what people said of the random control arm.

The control arm is a uniform sample of the pairs that were unknown when the run proposed, so what
people find in it holds for all of them, however good the model is. It counts once every pair of
it is answered or skipped: pairs answered so far are those that stand high in other queues too,
and would make the estimate too large.

Labels that were imported after the run proposed count as known before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from app.services.workspace import Workspace, find_dataset
from clsl_core.statistics.completeness import (
    Cells,
    CompletenessConfig,
    estimate_missing,
    recall_curve,
    stop_advice,
)
from db.models import ModelRun
from db.queries import completeness, datasets, runs
from db.queries.completeness import Drawn

POINTS = 400
ALL = "all categories"


@dataclass(frozen=True, slots=True)
class CategoryCompleteness:
    """One category, or all together.

    Attributes:
        found: Positives known now.
        drawn: Pairs of the control arm.
        waiting: Those of them that nobody has answered or skipped yet.
        missing, low, high: Estimate with its 95 % interval; None while pairs wait.
        share, share_low: Share of the positives that is found, and its lower bound.
        stop: Whether the goal is reached with confidence.
        reason: Plain words with the numbers, or what is needed first.
    """

    category: str
    found: int
    drawn: int
    waiting: int
    reason: str
    missing: float | None = None
    low: float | None = None
    high: float | None = None
    share: float | None = None
    share_low: float | None = None
    stop: bool = False


@dataclass(frozen=True, slots=True)
class RecallPoint:
    """The share of all positives that was found after so many verdicts."""

    verdicts: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Completeness:
    """What the page shows.

    Attributes:
        together: All categories as one; None without a serving run.
        categories: In source order.
        recall: Over the verdicts of people; empty until ``together`` has an estimate.
    """

    together: CategoryCompleteness | None
    categories: tuple[CategoryCompleteness, ...] = ()
    recall: tuple[RecallPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class _Counts:
    """One category's control arm against all that was unknown when it was drawn."""

    unknown: int
    drawn: int
    answered: int
    passed: int
    hits: int
    found: int
    also_found: int

    def __add__(self, other: _Counts) -> _Counts:
        names = _Counts.__slots__
        return _Counts(*(getattr(self, name) + getattr(other, name) for name in names))


def completeness_of(
    workspace: Workspace, name: str, config: CompletenessConfig | None = None
) -> Completeness:
    """Estimate what is missing in a dataset, category by category and all together.

    Raises:
        NotFoundError: There is none of that name.
    """
    config = config or CompletenessConfig()
    with workspace.database.read() as session:
        dataset_id = find_dataset(session, name).id
        run = runs.serving_run(session, dataset_id)
        if run is None:
            return Completeness(None)
        names = [(row.id, row.name) for row in datasets.categories(session, dataset_id)]
        counts = _counts(session, run, [category_id for category_id, _ in names])
        look = completeness.trainings_until(session, run)
        hits = completeness.hits(session, dataset_id)
    rows = tuple(_row(name, counts[id_], config, look) for id_, name in names)
    total = sum(counts.values(), _Counts(0, 0, 0, 0, 0, 0, 0))
    together = _row(ALL, total, config, look)
    return Completeness(together, rows, _recall(together, np.array(hits, np.bool_)))


def _counts(session: Session, run: ModelRun, category_ids: list[int]) -> dict[int, _Counts]:
    """Every category's counts, as the run's control arm needs them."""
    before = run.last_decision_id
    if run.finished_at is not None:
        before = completeness.decided_until(session, run.dataset_id, run.finished_at)
    images = run.snapshot.get("images")
    if images is None:
        images = sum(datasets.image_status_counts(session, run.dataset_id).values())
    known = completeness.known(session, run.dataset_id)
    gained = completeness.gained_since(session, run.dataset_id, before, run.id)
    drawn = {one.category_id: one for one in completeness.control_arm(session, run.id)}
    counts = {}
    for category_id in category_ids:
        arm = drawn.get(category_id, Drawn(category_id, 0, 0, 0, 0))
        labels, present = known.get(category_id, (0, 0))
        since, outside = gained.get(category_id, (0, 0))
        counts[category_id] = _Counts(
            unknown=max(images - (labels - since), arm.drawn),
            drawn=arm.drawn,
            answered=arm.answered,
            passed=arm.passed,
            hits=arm.found,
            found=present,
            also_found=outside,
        )
    return counts


def _row(name: str, counts: _Counts, config: CompletenessConfig, look: int) -> CategoryCompleteness:
    """The estimate of one category, or what is needed before there can be one."""
    cells = Cells(
        *(np.array([n], np.int64) for n in (counts.unknown, counts.answered, counts.hits))
    )
    waiting = counts.drawn - counts.answered - counts.passed
    return in_words(
        name, cells, counts.found, counts.also_found, counts.drawn, waiting, config, look
    )


def in_words(
    name: str,
    cells: Cells,
    found: int,
    also_found: int,
    drawn: int,
    waiting: int,
    config: CompletenessConfig,
    look: int,
) -> CategoryCompleteness:
    """The estimate from a random sample, or what is needed before there can be one.

    Args:
        name: Of what the sample is.
        cells: Its answers by stratum.
        found: Positives known now.
        also_found: Positives found since the sample was drawn, among the same pairs, outside it.
        drawn: Pairs of the sample.
        waiting: Those of them without an answer.
        config: How sure to be, and the goal.
        look: 1 for the first sample of this, 2 for the second, ….
    """
    start = (name, found, drawn, waiting)
    if waiting:
        return CategoryCompleteness(*start, f"{waiting:,} random pairs wait for an answer.")
    if np.any((cells.checked == 0) & (cells.pairs > 0)):
        return CategoryCompleteness(*start, "No random pair was answered, so nothing is known.")
    missing = estimate_missing(cells, config, also_found, look)
    advice = stop_advice(found, missing, config)
    return CategoryCompleteness(
        *start,
        reason=advice.reason,
        missing=missing.missing,
        low=missing.low,
        high=missing.high,
        share=advice.share if found or missing.missing else None,
        share_low=advice.share_low,
        stop=advice.stop,
    )


def _recall(
    together: CategoryCompleteness, hits: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[RecallPoint, ...]:
    """The curve, thinned to what a chart can show; its last point is the table's share."""
    if together.missing is None or together.low is None or together.high is None:
        return ()
    already = max(together.found - int(hits.sum()), 0)
    curve = recall_curve(hits, already, (together.missing, together.low, together.high))
    chosen = np.unique(np.linspace(0, len(hits), min(POINTS, len(hits) + 1)).astype(int))
    return tuple(
        RecallPoint(
            int(curve.verdicts[i]),
            float(curve.share[i]),
            float(curve.low[i]),
            float(curve.high[i]),
        )
        for i in chosen
    )
