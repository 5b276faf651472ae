"""Instant updates: a category's proposals follow its verdicts at once, between two trainings.

While a run proposes it leaves a table in its folder: the logits of all pairs, and the images'
vectors. From these and the verdicts given since the training the order of a category's open
proposals is made anew (``clsl_core.instant``), and images that come to the front without a
proposal get one. It is computed from the present labels each time, so undone verdicts leave no
trace. A run's own score and probability stay as they are; what moves is ``chance``, by which
queues are ordered.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.services.instant_table import Floats, Ids, InstantTable
from clsl_core.instant import with_verdicts
from clsl_core.types import JsonObject, LabelState
from db.models import ModelRun, Proposal
from db.queries import labels, proposals, runs
from db.session import Database

log = logging.getLogger(__name__)

FRONT = 50
"""So many of a category's likeliest unknown images always have a proposal."""

_PAUSE = 0.5  # seconds in which further verdicts are waited for
_NOTICED = 1e-3  # change of a chance that is worth writing


class InstantUpdates:
    """Brings proposals up to date a moment after verdicts; one thread for the process.

    Args:
        database: Of the workspace.
        data_dir: Where the runs' folders are.
    """

    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database, self._data_dir = database, data_dir
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._due: set[tuple[int, int]] = set()
        self._thread: threading.Thread | None = None
        self._stamps: Counter[int] = Counter()

    def stamp(self, dataset_id: int) -> int:
        """Grows whenever the order of a dataset's proposals has changed."""
        return self._stamps[dataset_id]

    def soon(self, dataset_id: int, category_ids: Collection[int]) -> None:
        """Some categories have got verdicts. Returns at once."""
        with self._lock:
            if self._closed or not category_ids:
                return
            self._due |= {(dataset_id, category_id) for category_id in category_ids}
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="instant", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop; what was due is made by the next verdict or training."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while True:
            self._wake.wait(_PAUSE)
            with self._lock:
                if self._closed or not self._due:
                    self._thread = None
                    return
                due, self._due = self._due, set()
            for dataset_id, category_id in sorted(due):
                if self._closed:
                    break
                try:
                    self.update(dataset_id, category_id)
                except Exception:
                    log.exception("the proposals of category %d were not updated", category_id)

    def update(self, dataset_id: int, category_id: int) -> int:
        """Bring the open proposals of one category up to date; how many changed or were added."""
        with self._database.read() as session:
            run = runs.serving_run(session, dataset_id)
            if run is None or run.directory is None:
                return 0
            run_id, table = run.id, InstantTable.open(self._data_dir / run.directory)
            if table is None:
                return 0
            said = labels.decided_after(session, category_id, run.last_decision_id)
        before, way = table.of(category_id)
        places, present = _places(table.image_ids, said)
        after = with_verdicts(before, table.vectors, places, present)
        calibrated, spacing = len(table.calibration) > 0, len(table.category_ids)
        beliefs = _Beliefs(table.image_ids, before, after, way, calibrated, spacing)
        with self._database.write(dataset_id) as session:
            serving = runs.serving_run(session, dataset_id)
            if serving is None or serving.id != run_id:
                return 0
            changed = _store(session, serving, category_id, beliefs)
        if changed:
            self._stamps[dataset_id] += 1
        return changed


@dataclass(frozen=True)
class _Beliefs:
    """What was and is thought of one category.

    Attributes:
        image_ids: (N,) rising.
        before, after: (N,) logits of presence.
        way: Slope and shift from a logit to a probability.
        calibrated: Whether there is such a way.
        spacing: Places in the mixed order between two proposals of a category.
    """

    image_ids: Ids
    before: Floats
    after: Floats
    way: tuple[float, float]
    calibrated: bool
    spacing: int

    def front(self, count: int, without: set[int]) -> list[int]:
        """The images that are likeliest now."""
        order = np.argsort(-self.after, kind="stable")[: count + len(without)]
        likeliest = self.image_ids[order].tolist()
        return [id_ for id_ in likeliest if id_ not in without][:count]

    def chance(self, logit: float) -> float:
        """Probability of presence where there is a calibration, else the score."""
        slope, shift = self.way
        return _sigmoid(slope * logit + shift)

    def move(self, row: Proposal) -> JsonObject | None:
        """The change of a proposal's chance; None where it stays."""
        place = self._place(row.image_id)
        if place is None:
            return None
        present = self.chance(float(self.after[place]))
        held = present if row.state is LabelState.PRESENT else 1.0 - present
        if abs(held - row.chance) < _NOTICED:
            return None
        return {"id": row.id, "chance": held, "margin": abs(held - 0.5)}

    def proposals(self, image_ids: Sequence[int]) -> list[JsonObject]:
        """Column values of proposals for images at the front."""
        rows: list[JsonObject] = []
        for rank, image_id in enumerate(image_ids):
            place = self._place(image_id)
            assert place is not None
            chance, before = self.chance(float(self.after[place])), float(self.before[place])
            rows.append(
                {
                    "image_id": image_id,
                    "state": LabelState.PRESENT,
                    "score": _sigmoid(before),
                    "probability": self.chance(before) if self.calibrated else None,
                    "chance": chance,
                    "margin": abs(chance - 0.5),
                    "turn": rank * self.spacing,
                }
            )
        return rows

    def _place(self, image_id: int) -> int | None:
        place = int(np.searchsorted(self.image_ids, image_id))
        here = place < len(self.image_ids) and self.image_ids[place] == image_id
        return place if here else None


def _places(
    image_ids: Ids, said: Sequence[tuple[int, LabelState]]
) -> tuple[Ids, npt.NDArray[np.bool_]]:
    """Rows of the images with a verdict, and what it was; images the run does not know are left."""
    ids = np.asarray([image_id for image_id, _ in said], np.int64)
    present = np.asarray([state is LabelState.PRESENT for _, state in said], np.bool_)
    rows = np.searchsorted(image_ids, ids)
    known = rows < len(image_ids)
    known[known] = image_ids[rows[known]] == ids[known]
    return rows[known], present[known]


def _store(session: Session, run: ModelRun, category_id: int, beliefs: _Beliefs) -> int:
    """Write the new order within the caller's transaction."""
    waiting = proposals.open_of_category(session, run.id, category_id)
    settled = proposals.settled_images(session, run.id, category_id)
    front = beliefs.front(FRONT, without=settled)
    present = {row.image_id for row in waiting if row.state is LabelState.PRESENT}
    raised = beliefs.proposals([id_ for id_ in front if id_ not in present])
    absent = {row.image_id: row for row in waiting if row.state is LabelState.ABSENT}
    added = []
    for values in raised:  # what was thought absent is turned over, anything else is new
        turned = absent.get(values["image_id"])
        if turned is None:
            added.append({"model_run_id": run.id, "category_id": category_id, **values})
        else:
            values["id"] = turned.id
    moved = [change for row in waiting if (change := beliefs.move(row)) is not None]
    over = [values for values in raised if "id" in values]
    proposals.change(session, moved)
    proposals.change(session, over)
    proposals.add(session, added)
    if moved or raised:
        proposals.take_turns(session, run.id, category_id)
    return len(moved) + len(raised)


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(logit, -15.0), 15.0)))
