"""Stacking agrees with scikit-learn, trusts what knows, and shrinks rare categories to the rest."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from clsl_core.recovery.positive_unlabelled import RecoveryConfig, pick_entries
from clsl_core.recovery.stacking import (
    PooledLogistic,
    fit_head_stacking,
    fit_pooled,
    fit_stacking,
)

CONFIG = RecoveryConfig()


def make_entries(count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (count, 4), and truth that depends on them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    odds = x @ np.array([1.5, -1, 0, 0.5]) - 1
    return x, (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(np.float32)


def fit(shrinkage: float, categories: np.ndarray, x: np.ndarray, y: np.ndarray) -> PooledLogistic:
    weights = np.ones(len(x), np.float32)
    return fit_pooled(x, y > 0, weights, categories, 3, ridge=1e-6, shrinkage=shrinkage)


def test_the_pooled_fit_agrees_with_scikit_learn() -> None:
    x, y = make_entries()
    found = fit(1e9, np.zeros(len(x), np.int64), x, y)
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(x, y)
    expected = np.append(model.coef_[0], model.intercept_)
    np.testing.assert_allclose(found.pooled, expected, rtol=2e-2, atol=1e-2)
    np.testing.assert_allclose(found.deviations, 0, atol=1e-5)


def reversed_category(count: int, shrinkage: float) -> PooledLogistic:
    """Category 0 rises with x in 1000 entries; category 1 falls with it in ``count``."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000 + count, 1)).astype(np.float32)
    categories = np.repeat([0, 1], [1000, count])
    rises = rng.random(1000 + count) < 1 / (1 + np.exp(-2 * x[:, 0]))
    return fit(shrinkage, categories, x, np.where(categories == 0, rises, ~rises))


def test_the_more_a_category_has_to_say_the_more_it_deviates() -> None:
    slopes = [reversed_category(count, 10.0).weights[1, 0] for count in (3, 30, 300)]
    assert slopes[0] > slopes[1] > 0 > slopes[2]

    assert (reversed_category(30, 10.0).deviations[2] == 0).all()
    assert reversed_category(30, 100.0).weights[1, 0] > slopes[1]


def test_nothing_to_learn_from_leaves_the_start_as_it_is() -> None:
    start = np.array([0.5, -1.0, 2.0], np.float32)
    found = fit_pooled(
        np.zeros((0, 2), np.float32),
        np.zeros(0, bool),
        np.zeros(0, np.float32),
        np.zeros(0, np.int64),
        3,
        ridge=1.0,
        shrinkage=1.0,
        start=start,
    )
    np.testing.assert_allclose(found.pooled, start)
    np.testing.assert_allclose(found.deviations, 0)


def test_apply_weighs_the_inputs_of_each_category() -> None:
    map_ = PooledLogistic(
        np.array([1.0, 2.0, 3.0], np.float32),
        np.array([[0, 0, 0], [1, 0, -3]], np.float32),
    )
    inputs = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    expected = np.stack(
        [inputs[0, :, 0] + 2 * inputs[1, :, 0] + 3, 2 * inputs[0, :, 1] + 2 * inputs[1, :, 1]], 1
    )
    np.testing.assert_allclose(map_.apply(inputs), expected)


def test_weights_count_like_repeated_entries() -> None:
    x, y = make_entries(80)
    once = fit_pooled(
        x, y > 0, np.full(80, 2, np.float32), np.zeros(80, np.int64), 1, ridge=1, shrinkage=1
    )
    twice = fit_pooled(
        np.tile(x, (2, 1)),
        np.tile(y > 0, 2),
        np.ones(160, np.float32),
        np.zeros(160, np.int64),
        1,
        ridge=1,
        shrinkage=1,
    )
    assert once.pooled == pytest.approx(twice.pooled, rel=1e-4)


def test_stacking_trusts_the_model_that_knows() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([-1, 1], np.int8), (200, 3))
    logits = rng.normal(size=(2, 200, 3)).astype(np.float32)
    logits[1] += labels
    entries = pick_entries(labels, labels != 0, 0.0, CONFIG, rng)
    stacked = fit_stacking(logits, entries, CONFIG)
    assert stacked.pooled[1] > 1
    assert abs(stacked.pooled[0]) < 0.3


def test_without_held_out_labels_the_ensemble_stays_as_it_is() -> None:
    labels = np.zeros((40, 5), np.int8)
    labels[:3, 0] = 1
    none = np.zeros(labels.shape, bool)
    entries = pick_entries(labels, none, 1.0, CONFIG, np.random.default_rng(0))
    logits = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    pair = fit_head_stacking(logits, -logits, entries, CONFIG)
    np.testing.assert_allclose(pair.apply(np.stack([logits, -logits])), logits, atol=1e-5)


def test_a_head_that_moves_far_is_tamed_and_a_head_that_is_wrong_counts_nothing() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([-1, 1], np.int8), (300, 3))
    ensemble, head = (rng.normal(size=labels.shape).astype(np.float32) + labels for _ in range(2))
    head *= np.float32(1.5)
    entries = pick_entries(labels, labels != 0, 0.0, CONFIG, rng)

    def together(z: np.ndarray) -> np.ndarray:
        return fit_head_stacking(ensemble, z, entries, CONFIG).apply(np.stack([ensemble, z]))

    plain = together(head)
    stretched = np.array([3.0, 10.0, 50.0], np.float32) * head + np.float32(7)
    np.testing.assert_allclose(together(stretched), plain, atol=1e-3)
    assert np.corrcoef(plain[:, 0], head[:, 0])[0, 1] > 0.7
    ranks = together(-head).argsort(0)
    np.testing.assert_array_equal(ranks, ensemble.argsort(0))
