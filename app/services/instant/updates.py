"""Instant updates: a category's proposals follow its verdicts at once, between two trainings.

While a run proposes it leaves a table in its folder: the logits of all pairs, and the images'
vectors. From these and the verdicts given since the training the order of a category's open
proposals is made anew (``clsl_core.recovery.online_update``), and images that come to the front
without a proposal get one. It is computed from the present labels each time, so undone verdicts
leave no trace. A run's own score and probability stay as they are; what moves is ``chance``, by
which queues are ordered.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.services.instant.order import Beliefs, Order, reorder
from app.services.instant.tables import InstantTable
from clsl_core.arrays import Ids
from clsl_core.recovery.online_update import with_verdicts
from clsl_core.types import JsonObject, LabelState
from db.models import Category
from db.queries import labels, proposals, runs, stored
from db.session import Database

log = logging.getLogger(__name__)

_PAUSE = 0.5  # seconds in which further verdicts are waited for
_AT_ONCE = 200  # rows written before people's verdicts have their turn


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
            if run is None or run.directory is None or _is_hidden(session, category_id):
                return 0
            run_id, table = run.id, InstantTable.open(self._data_dir / run.directory)
            if table is None:
                return 0
            said = labels.decided_after(session, category_id, run.last_decision_id)
            waiting = proposals.open_of_category(session, run_id, category_id)
            settled = proposals.settled_images(session, run_id, category_id)
        before, way = table.of(category_id)
        places, present = _places(table.image_ids, said)
        after = with_verdicts(before, table.vectors, places, present)
        beliefs = Beliefs(table.image_ids, before, after, way, len(table.calibration) > 0)
        order = reorder(waiting, settled, beliefs, spacing=max(1, len(table.category_ids)))
        return self._write(dataset_id, run_id, category_id, order)

    def _write(self, dataset_id: int, run_id: int, category_id: int, order: Order) -> int:
        """Store a new order, a little at a time; how many rows that were."""
        written = 0
        for rows in _portions(order.changed):
            with self._database.write(dataset_id) as session:
                if not self._serves(session, dataset_id, run_id):
                    return written
                proposals.change(session, rows)
            written += len(rows)
        if order.added:
            with self._database.write(dataset_id) as session:
                hidden = _is_hidden(session, category_id)
                if hidden or not self._serves(session, dataset_id, run_id):
                    return written
                there = proposals.images_with(session, run_id, category_id)
                added = [row for row in order.added if row["image_id"] not in there]
                pair = {"model_run_id": run_id, "category_id": category_id}
                proposals.add(session, [{**pair, **row} for row in added])
            written += len(added)
        if written:
            self._stamps[dataset_id] += 1
        return written

    def _serves(self, session: Session, dataset_id: int, run_id: int) -> bool:
        """Whether a run's proposals are still those that people see."""
        serving = runs.serving_run(session, dataset_id)
        return not self._closed and serving is not None and serving.id == run_id


def _is_hidden(session: Session, category_id: int) -> bool:
    category = stored.find(session, Category, category_id)
    return category is None or category.merged_into_id is not None


def _portions(rows: Sequence[JsonObject]) -> Iterator[Sequence[JsonObject]]:
    for start in range(0, len(rows), _AT_ONCE):
        yield rows[start : start + _AT_ONCE]


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
