"""The order that beliefs give: a property of lists, no database."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.instant.order import FRONT, NEAR, Beliefs, reorder
from clsl_core.types import LabelState
from db.queries.proposals import Waiting


def beliefs(after: np.ndarray, before: np.ndarray | None = None) -> Beliefs:
    logits = np.asarray(after, np.float32)
    earlier = logits * 0 if before is None else np.asarray(before, np.float32)
    return Beliefs(np.arange(1, len(logits) + 1), earlier, logits, (1.0, 0.0), False)


def waiting(chances: list[float], state: LabelState = LabelState.PRESENT) -> list[Waiting]:
    return [Waiting(100 + i, i + 1, state, chance, i * 3) for i, chance in enumerate(chances)]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.sets(st.integers(1, 30)))
@settings(max_examples=100, deadline=None)
def test_the_new_order_is_that_of_the_beliefs(logits: list[float], settled: set[int]) -> None:
    rows = [row for row in waiting([0.5] * len(logits)) if row.image_id not in settled][::2]
    order = reorder(rows, settled, beliefs(np.array(logits)), spacing=7)
    chances = {row.id: row.chance for row in rows} | {r["id"]: r["chance"] for r in order.changed}
    for row in rows:
        expected = 1 / (1 + np.exp(-logits[row.image_id - 1]))
        assert abs(chances[row.id] - expected) < 2e-3
    added = [row["image_id"] for row in order.added]
    assert not set(added) & (settled | {row.image_id for row in rows})
    assert len(added) + len(rows) == len(set(range(1, len(logits) + 1)) - settled)
    turns = {row.id: row.turn for row in rows} | {r["id"]: r["turn"] for r in order.changed}
    ranked = sorted([(turns[id_], -chances[id_]) for id_ in turns]
                    + [(row["turn"], -row["chance"]) for row in order.added])  # fmt: skip
    # Equal turns may stand in any order, and chances closer than what is noticed, too.
    assert all(b[1] - a[1] > -2e-3 for a, b in itertools.pairwise(ranked) if a[0] < b[0])


def test_what_is_far_behind_keeps_its_place() -> None:
    count = NEAR + 500
    rows = waiting([1 - i / count for i in range(count)])
    logits = np.log(1 / np.linspace(0.999, 0.001, count) - 1) * -1 - 0.01
    order = reorder(rows, set(), beliefs(logits), spacing=1)
    assert {row["id"] for row in order.changed} <= {row.id for row in rows[:NEAR]}
    assert not order.added


def test_at_most_the_front_is_added() -> None:
    order = reorder([], set(), beliefs(np.linspace(3, -3, 400)), spacing=5)
    assert [row["image_id"] for row in order.added] == list(range(1, FRONT + 1))
    assert [row["turn"] for row in order.added] == [5 * i for i in range(FRONT)]
    assert {row["score"] for row in order.added} == {0.5}


def test_images_that_the_run_does_not_know_stay() -> None:
    rows = [Waiting(1, 99, LabelState.PRESENT, 0.4, 8)]
    order = reorder(rows, {1, 2}, beliefs(np.array([1.0, 2.0])), spacing=1)
    assert (order.changed, order.added) == ([], [])


def test_what_was_thought_absent_is_turned_over_at_the_front() -> None:
    rows = waiting([0.9, 0.9], LabelState.ABSENT)
    order = reorder(rows, set(), beliefs(np.array([2.0, -2.0]), np.array([-1.0, -1.0])), spacing=1)
    first = next(row for row in order.changed if row["id"] == rows[0].id)
    assert first["state"] is LabelState.PRESENT
    assert abs(first["chance"] - 0.88) < 0.01
    assert abs(first["score"] - 0.27) < 0.01
