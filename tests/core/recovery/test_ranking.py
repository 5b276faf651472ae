"""Proposals: unknown pairs only, bounded, sorted, with a control arm."""

from dataclasses import replace

import numpy as np
import pytest

from clsl_core.errors import InputError
from clsl_core.recovery.model import Scores
from clsl_core.recovery.ranking import STRATEGIES, ProposeConfig, propose

CONFIG = ProposeConfig(present=4, absent=3, total=15, control=6)


def make_scores(seed: int = 0, shape: tuple[int, int] = (30, 5)) -> tuple[Scores, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([-1, 0, 1], np.int8), shape, p=[0.2, 0.6, 0.2])
    return Scores(rng.random(shape, dtype=np.float32) * 0.98 + 0.01), labels


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_keeps_the_promises(strategy: str) -> None:
    scores, labels = make_scores()
    found = propose(scores, labels, replace(CONFIG, strategy=strategy), seed=1)
    assert (labels[found.rows, found.columns] == 0).all()
    assert len({*zip(found.rows.tolist(), found.columns.tolist(), strict=True)}) == len(found)
    assert (np.diff(found.scores) <= 0).all()
    assert set(found.states.tolist()) == {-1, 1}
    assert ((found.scores > 0) & (found.scores < 1)).all()
    assert np.isnan(found.probabilities).all()
    assert found.control.sum() == 6
    for state, limit in ((1, CONFIG.present), (-1, CONFIG.absent)):
        columns = found.columns[(found.states == state) & ~found.control]
        assert 0 < np.bincount(columns, minlength=5).max() <= limit
        assert len(columns) <= CONFIG.total
    again = propose(scores, labels, replace(CONFIG, strategy=strategy), seed=1)
    np.testing.assert_array_equal(found.rows, again.rows)


def test_the_default_order_is_most_likely_first_over_all_categories() -> None:
    scores, labels = make_scores()
    found = propose(scores, labels, ProposeConfig(control=0), seed=0)
    present = found.states > 0
    values = np.where(labels == 0, scores.values, -1)
    best = np.argsort(-values.ravel(), kind="stable")[:10]
    flat = np.ravel_multi_index((found.rows[present], found.columns[present]), labels.shape)
    np.testing.assert_array_equal(flat[:10], best)


def test_scores_and_probabilities_speak_of_the_proposed_state() -> None:
    values = np.array([[0.9, 0.2], [0.1, 0.8]], np.float32)
    scores = Scores(values, probability=values / 2)
    found = propose(scores, np.zeros((2, 2), np.int8), ProposeConfig(control=0), seed=0)
    got = {
        (r, c): (s, v, p)
        for r, c, s, v, p in zip(
            found.rows.tolist(),
            found.columns.tolist(),
            found.states.tolist(),
            found.scores.tolist(),
            found.probabilities.tolist(),
            strict=True,
        )
    }
    assert got[0, 0] == (1, pytest.approx(0.9), pytest.approx(0.45))
    assert got[1, 0] == (-1, pytest.approx(0.9), pytest.approx(0.95))
    assert got[0, 1] == (-1, pytest.approx(0.8), pytest.approx(0.9))


def test_the_control_arm_is_uniform_over_unknown_pairs() -> None:
    scores, labels = make_scores()
    counts = np.zeros(labels.shape)
    config = ProposeConfig(present=1, absent=1, control=20)
    for seed in range(400):
        found = propose(scores, labels, config, seed)
        counts[found.rows[found.control], found.columns[found.control]] += 1
    expected = 400 * 20 / (labels == 0).sum()
    assert (counts[labels != 0] == 0).all()
    assert counts[labels == 0].mean() == pytest.approx(expected)
    assert counts[labels == 0].std() < 1.3 * np.sqrt(expected)


def test_category_quotas_give_every_category_its_turn() -> None:
    values = np.full((20, 3), 0.1, np.float32)
    values[:, 0] = np.linspace(0.8, 0.9, 20)
    values[:10, 1:] = 0.2
    scores, labels = Scores(values), np.zeros((20, 3), np.int8)
    config = ProposeConfig(present=20, total=6, absent=0, control=0)
    likely = propose(scores, labels, config, 0)
    quota = propose(scores, labels, replace(config, strategy="mixed"), 0)
    assert set(likely.columns.tolist()) == {0}
    assert np.bincount(quota.columns).tolist() == [2, 2, 2]


def test_diverse_shows_many_images() -> None:
    values = np.tile(np.linspace(0.1, 0.9, 20, dtype=np.float32)[:, None], (1, 4))
    scores, labels = Scores(values), np.zeros((20, 4), np.int8)
    config = ProposeConfig(total=8, absent=0, control=0)
    assert len(set(propose(scores, labels, config, 0).rows.tolist())) == 2
    spread = propose(scores, labels, replace(config, strategy="diverse"), 0)
    assert len(set(spread.rows.tolist())) == 8


def test_uncertain_takes_what_is_nearest_to_one_half() -> None:
    values = np.array([[0.95, 0.55], [0.05, 0.3], [0.9, 0.6]], np.float32)
    config = ProposeConfig(strategy="uncertain", total=2, absent=0, control=0)
    found = propose(Scores(values), np.zeros((3, 2), np.int8), config, 0)
    assert set(found.columns.tolist()) == {1}


def test_nothing_unknown_means_nothing_proposed() -> None:
    scores, labels = make_scores()
    found = propose(scores, np.ones_like(labels), CONFIG, 0)
    assert len(found) == 0
    assert found.heatmaps.shape[0] == 0


def test_heat_maps_belong_to_their_pairs() -> None:
    scores, labels = make_scores()
    drawn = replace(
        scores, heat=lambda rows, columns: np.stack([rows, columns], 1).astype(np.uint8)
    )
    found = propose(drawn, labels, CONFIG, 0)
    np.testing.assert_array_equal(found.heatmaps, np.stack([found.rows, found.columns], 1))


def test_what_does_not_fit_is_refused() -> None:
    scores, labels = make_scores()
    with pytest.raises(InputError, match=r"scores have shape \(30, 5\)"):
        propose(scores, labels[:-1], CONFIG, 0)
    with pytest.raises(InputError, match=r"choose one of likely.*mixed"):
        propose(scores, labels, replace(CONFIG, strategy="best"), 0)
