"""Calibration makes probabilities honest, and is refused while negatives are too few."""

import numpy as np
import pytest

from clsl_core.calibrate import (
    CalibrationConfig,
    apply_calibration,
    calibrate,
    control_weights,
)
from clsl_core.reliability import expected_calibration_error

CONFIG = CalibrationConfig()


def make_scores(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits twice too sure and shifted, differently in two categories."""
    rng = np.random.default_rng(seed)
    categories = rng.integers(0, 2, count)
    honest = rng.normal(size=count)
    truth = rng.random(count) < 1 / (1 + np.exp(-honest))
    logits = 2 * honest + np.where(categories == 0, 1.5, -0.5)
    return logits.astype(np.float32), truth, categories


def sigmoid(z: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-z))).astype(np.float32)


def test_calibration_improves_reliability_on_new_entries() -> None:
    logits, truth, categories = make_scores(600, seed=0)
    map_ = calibrate(logits, truth, categories, 2, CONFIG)
    assert map_ is not None
    new_logits, new_truth, new_categories = make_scores(4000, seed=1)
    table = np.zeros((4000, 2), np.float32)
    table[np.arange(4000), new_categories] = new_logits
    probability = apply_calibration(map_, table)[np.arange(4000), new_categories]
    before = expected_calibration_error(sigmoid(new_logits), new_truth)
    after = expected_calibration_error(probability, new_truth)
    assert before > 0.1
    assert after < 0.04


@pytest.mark.parametrize(("positives", "negatives"), [(100, 19), (19, 100), (0, 0)])
def test_too_few_labels_give_no_probability(positives: int, negatives: int) -> None:
    truth = np.repeat([True, False], [positives, negatives])
    logits, categories = np.zeros(len(truth), np.float32), np.zeros(len(truth), np.int64)
    assert calibrate(logits, truth, categories, 1, CONFIG) is None


def test_twenty_of_each_are_enough() -> None:
    truth = np.repeat([True, False], [20, 20])
    logits = np.where(truth, 1.0, -1.0).astype(np.float32)
    assert calibrate(logits, truth, np.zeros(40, np.int64), 1, CONFIG) is not None


def test_a_rare_category_takes_the_pooled_map() -> None:
    logits, truth, categories = make_scores(600, seed=0)
    map_ = calibrate(logits, truth, categories, 3, CONFIG)
    assert map_ is not None
    np.testing.assert_array_equal(map_.weights[2], map_.pooled)
    assert not np.allclose(map_.weights[0], map_.weights[1])


def test_probability_never_falls_as_the_score_rises() -> None:
    logits, truth, categories = make_scores(200, seed=0)
    map_ = calibrate(logits, ~truth, categories, 2, CONFIG)  # a misleading score
    assert map_ is not None
    table = np.linspace(-5, 5, 40, dtype=np.float32)[:, None].repeat(2, 1)
    assert (np.diff(apply_calibration(map_, table), axis=0) >= 0).all()


def test_calibration_error_by_hand() -> None:
    p = np.array([0.05, 0.05, 0.95, 0.95], np.float32)
    assert expected_calibration_error(p, np.array([0, 0, 1, 1]) > 0) == pytest.approx(0.05)
    assert expected_calibration_error(p, np.array([1, 1, 0, 0]) > 0) == pytest.approx(0.95)


def test_weights_undo_a_selection() -> None:
    logits, truth, categories = make_scores(4000, seed=2)
    seen = np.random.default_rng(0).random(4000) < np.where(truth, 0.9, 0.1)
    weights = np.where(truth, 1 / 0.9, 1 / 0.1).astype(np.float32)[seen]
    whole = calibrate(logits, truth, categories, 2, CONFIG)
    biased = calibrate(logits[seen], truth[seen], categories[seen], 2, CONFIG)
    undone = calibrate(logits[seen], truth[seen], categories[seen], 2, CONFIG, weights)
    assert whole is not None
    assert biased is not None
    assert undone is not None
    assert abs(undone.pooled[1] - whole.pooled[1]) < abs(biased.pooled[1] - whole.pooled[1]) / 4


def test_a_random_control_arm_makes_probabilities_honest_for_what_is_unknown() -> None:
    """Known: half of the positives (a file), the likeliest pairs (a queue), and 150 at random."""
    errors = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=20_000).astype(np.float32)
        truth = rng.random(20_000) < sigmoid(1.5 * logits - 3)
        imported = truth & (rng.random(20_000) < 0.5)
        asked = ~imported & (logits > np.quantile(logits, 0.98))
        drawn = np.zeros(20_000, bool)
        drawn[rng.choice(np.flatnonzero(~imported & ~asked), 150, replace=False)] = True
        known, unknown = imported | asked | drawn, ~(imported | asked | drawn)
        categories = np.zeros(known.sum(), np.int64)
        weights = control_weights(drawn[known], CONFIG)
        errors.append([])
        for chosen in (None, weights):
            map_ = calibrate(logits[known], truth[known], categories, 1, CONFIG, chosen)
            assert map_ is not None
            probability = apply_calibration(map_, logits[unknown, None])[:, 0]
            errors[-1].append(expected_calibration_error(probability, truth[unknown]))
    plain, leaning = np.mean(errors, 0)
    assert plain > 0.2
    assert leaning < plain / 2


def test_weights_of_the_control_arm_by_hand() -> None:
    drawn = np.array([True] * 10 + [False] * 1000)
    np.testing.assert_allclose(control_weights(drawn, CONFIG), [1000 / 30] * 10 + [1.0] * 1000)
    assert (control_weights(~drawn, CONFIG) == 1).all()  # plenty
    assert (control_weights(drawn & False, CONFIG) == 1).all()
