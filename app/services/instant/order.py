"""The order of a category's open proposals, made anew from what is believed now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clsl_core.arrays import PROBABILITY_LIMIT, Floats, Ids, sigmoid
from clsl_core.types import JsonObject, LabelState
from db.queries.proposals import Waiting

FRONT = 50
"""So many of a category's likeliest unknown images always have a proposal."""

NEAR = 1000
"""What stands among so many, before or after, gets its new place; what is far behind keeps its."""

_NOTICED = 1e-3  # change of a chance that is worth writing


@dataclass(frozen=True)
class Beliefs:
    """What was and is thought of one category.

    Attributes:
        image_ids: (N,) rising.
        before, after: (N,) logits of presence.
        way: Slope and shift from a logit to a probability.
        calibrated: Whether there is such a way.
    """

    image_ids: Ids
    before: Floats
    after: Floats
    way: tuple[float, float]
    calibrated: bool

    def likeliest(self, count: int, without: set[int]) -> list[int]:
        """The images that are likeliest now."""
        order = np.argsort(-self.after, kind="stable")[: count + len(without)]
        found = self.image_ids[order].tolist()
        return [id_ for id_ in found if id_ not in without][:count]

    def chances(self, image_ids: Sequence[int]) -> Floats:
        """Probabilities of presence now where there is a calibration, else scores.

        NaN for images that are not among them.
        """
        wanted = np.asarray(image_ids, np.int64)
        places = np.searchsorted(self.image_ids, wanted).clip(max=max(len(self.image_ids) - 1, 0))
        known = self.image_ids[places] == wanted
        return np.where(known, self._chance(self.after[places]), np.nan).astype(np.float32)

    def first_thought(self, image_id: int) -> JsonObject:
        """What the model run itself would have said: score and probability of presence."""
        logit = self.before[np.searchsorted(self.image_ids, image_id)]
        return {
            "state": LabelState.PRESENT,
            "score": float(sigmoid(logit, PROBABILITY_LIMIT)),
            "probability": float(self._chance(logit)) if self.calibrated else None,
        }

    def _chance(self, logits: Floats) -> Floats:
        slope, shift = self.way
        return sigmoid(slope * logits + shift, PROBABILITY_LIMIT)


@dataclass(frozen=True)
class Order:
    """What there is to write: changed columns of proposals (with their ``id``), and new ones."""

    changed: list[JsonObject]
    added: list[JsonObject]


def reorder(
    waiting: Sequence[Waiting], settled: set[int], beliefs: Beliefs, *, spacing: int
) -> Order:
    """The new order of a category.

    Images that come to the front get a proposal; one that was thought absent is turned over. The
    turns that the category has in the mixed order are handed out anew.

    Args:
        waiting: The open proposals of the category, without the control arm.
        settled: Images that must not get a proposal.
        beliefs: What is thought now.
        spacing: Places in the mixed order between two new proposals.
    """
    front = beliefs.likeliest(FRONT, without=settled)
    now = _moved(waiting, beliefs)
    there = {row.image_id: row for row in waiting}
    turned = {
        there[id_].id for id_ in front if id_ in there and there[id_].state is LabelState.ABSENT
    }
    near = _near(waiting, now)
    rows = [
        replace(row, state=LabelState.PRESENT, chance=1.0 - row.chance) if row.id in turned else row
        for row in now
        if row.id in near or row.id in turned
    ]
    unseen = [id_ for id_ in front if id_ not in there]
    rows += [
        Waiting(0, image_id, LabelState.PRESENT, float(chance), rank * spacing)
        for rank, (image_id, chance) in enumerate(zip(unseen, beliefs.chances(unseen), strict=True))
    ]
    old = {row.id: row for row in waiting}
    changed, added = [], []
    for row in _with_turns(rows):
        values = {"chance": row.chance, "margin": abs(row.chance - 0.5), "turn": row.turn}
        if not row.id:
            thought = beliefs.first_thought(row.image_id)
            added.append({"image_id": row.image_id, **thought, **values})
        elif row.id in turned:
            changed.append({"id": row.id, **beliefs.first_thought(row.image_id), **values})
        elif abs(row.chance - old[row.id].chance) >= _NOTICED or row.turn != old[row.id].turn:
            changed.append({"id": row.id, **values})
    return Order(changed, added)


def _moved(waiting: Sequence[Waiting], beliefs: Beliefs) -> list[Waiting]:
    """Proposals with the chance of what they propose; as it was for images that are unknown."""
    chances = beliefs.chances([row.image_id for row in waiting]).tolist()
    return [
        row
        if math.isnan(chance)
        else replace(row, chance=chance if row.state is LabelState.PRESENT else 1.0 - chance)
        for row, chance in zip(waiting, chances, strict=True)
    ]


def _near(before: Sequence[Waiting], after: Sequence[Waiting]) -> set[int]:
    """Proposals that stand among the first NEAR, before or after."""
    first = [sorted(rows, key=lambda row: -row.chance)[:NEAR] for rows in (before, after)]
    return {row.id for rows in first for row in rows}


def _with_turns(rows: Sequence[Waiting]) -> list[Waiting]:
    """The same proposals, the turns of the PRESENT ones handed out by chance."""
    present = [row for row in rows if row.state is LabelState.PRESENT]
    turns = sorted(row.turn for row in present)
    ranked = sorted(present, key=lambda row: -row.chance)
    dealt = [replace(row, turn=turn) for row, turn in zip(ranked, turns, strict=True)]
    return [*dealt, *(row for row in rows if row.state is not LabelState.PRESENT)]
