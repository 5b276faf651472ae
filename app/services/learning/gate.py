"""Whether a new model run may serve: asked before it proposes, answered on labels of people.

Which pairs can be compared honestly:

A run is finished in two steps. It learns from most of the known labels and keeps the rest out, to
choose and calibrate on; then it learns from everything for a little longer. What it said of every
pair *between* the two steps is kept (``unseen``), with the pairs marked that it, or the run its
head started from, had learned from. Two runs are compared on the pairs that both had not learned
from by then and whose label is known now. Which pair is kept out is drawn once for each pair and
not for each training, so most pairs that one run has not seen are unseen by the other too, and so
is every verdict given since the serving run was trained, where the new run kept it out.

What is compared is thus the two runs one step before they were finished. Choosing the epoch and
weighing the head on the kept-out pairs favours both alike, by a little.

A pair's label counts only beside labels that came to be known in the same way: imported, from the
random sample, from a queue that a model had ordered, or given unasked. Accepted and rejected
proposals were all ranked high by some model; a rejected one beside a positive from the file would
count against whichever model had proposed it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.services.learning import unseen
from app.services.workspace import Workspace
from clsl_core.statistics.run_gate import GateConfig, GateDecision, HeldOut, compare
from clsl_core.types import JsonObject
from db.models import ModelRun
from db.queries import labels, stored

MAX_PAIRS = 200_000  # compared at most; drawn by image where there are more

_NOT_KEPT = (
    "Nothing could be compared: what run {id} said of labels it had not learned from is not "
    "kept. The newer run serves."
)


@dataclass(frozen=True)
class _Known:
    """M known labels: where, what, and how they came to be known."""

    images: npt.NDArray[np.int64]
    categories: npt.NDArray[np.int64]
    truth: npt.NDArray[np.bool_]
    origins: npt.NDArray[np.int64]

    def part(self, chosen: npt.NDArray[np.bool_]) -> _Known:
        return _Known(
            self.images[chosen], self.categories[chosen], self.truth[chosen], self.origins[chosen]
        )


def judge(workspace: Workspace, candidate_id: int, serving_id: int | None) -> GateDecision:
    """Compare a run with the one that serves.

    The same runs and labels give the same decision, always.

    Args:
        workspace: Where.
        candidate_id: The new run.
        serving_id: The run that serves; None while there is none.
    """
    with workspace.database.read() as session:
        folder = _folder(workspace, session, candidate_id)
        serving_folder = _folder(workspace, session, serving_id)
        dataset_id = stored.one(session, ModelRun, candidate_id).dataset_id
        known = _known(session, dataset_id)
    said = None if folder is None else unseen.load(folder)
    earlier = None if serving_folder is None else unseen.load(serving_folder)
    if said is None or (serving_id is not None and earlier is None):
        unknown_id = candidate_id if said is None else serving_id
        return GateDecision("serve", _NOT_KEPT.format(id=unknown_id))
    new = said.of(known.images, known.categories)
    old = None if earlier is None else earlier.of(known.images, known.categories)
    usable = ~np.isnan(new)
    if old is not None:
        usable &= np.isfinite(old)
    usable = _some_images(known.images, usable)
    return _compare(known.part(usable), None if old is None else old[usable], new[usable])


def record(decision: GateDecision, serving_id: int | None) -> JsonObject:
    """A decision as a model run keeps it, with the run it was compared with."""
    return {**asdict(decision), "against": serving_id}


def _compare(
    known: _Known, old: npt.NDArray[np.float32] | None, new: npt.NDArray[np.float32]
) -> GateDecision:
    """Compare within groups of a category and an origin; the result names categories."""
    members = np.column_stack([known.categories, known.origins])
    groups, numbers = np.unique(members, axis=0, return_inverse=True)
    held_out = HeldOut(known.images, numbers.reshape(-1), known.truth)
    decision = compare(held_out, old, new, GateConfig())
    named = [
        replace(change, category=int(groups[change.category, 0])) for change in decision.categories
    ]
    return replace(decision, categories=tuple(named))


def _folder(workspace: Workspace, session: Session, run_id: int | None) -> Path | None:
    run = None if run_id is None else stored.one(session, ModelRun, run_id)
    return None if run is None or run.directory is None else workspace.data_dir / run.directory


def _known(session: Session, dataset_id: int) -> _Known:
    rows = np.array(list(labels.with_origins(session, dataset_id)), np.int64).reshape(-1, 4)
    return _Known(rows[:, 0], rows[:, 1], rows[:, 2] > 0, rows[:, 3])


def _some_images(images: npt.NDArray[np.int64], usable: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """``usable``, cut down to the pairs of randomly drawn images where there are too many."""
    excess = int(usable.sum()) / MAX_PAIRS
    if excess <= 1:
        return usable
    ids, places = np.unique(images, return_inverse=True)
    drawn = np.random.default_rng(0).random(len(ids)) < 1 / excess
    return usable & drawn[places]
