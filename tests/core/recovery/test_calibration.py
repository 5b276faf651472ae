"""Calibration makes probabilities honest, and is refused while negatives are too few."""

import numpy as np
import pytest

from clsl_core.recovery.calibration import (
    CalibrationConfig,
    apply_calibration,
    calibrate,
    calibration_weights,
)
from clsl_core.statistics.reliability import expected_calibration_error
from clsl_core.types import Origin

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


def test_probabilities_are_honest_for_what_is_unknown() -> None:
    """Known: half of the positives (a file), the likeliest pairs (a queue), and 150 at random.

    Fitted on all of them alike, probabilities are far too high.
    """
    errors = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=20_000).astype(np.float32)
        truth = rng.random(20_000) < sigmoid(1.5 * logits - 3)
        origins = np.full(20_000, -1, np.int8)
        imported = truth & (rng.random(20_000) < 0.5)
        origins[~imported & (logits > np.quantile(logits, 0.98))] = Origin.QUEUE
        origins[imported] = Origin.IMPORTED
        chosen = rng.choice(np.flatnonzero(origins < 0), 150, replace=False)
        origins[chosen] = Origin.RANDOM
        known, unknown = origins >= 0, origins < 0
        categories = np.zeros(known.sum(), np.int64)
        weights = calibration_weights(origins[known], 0.0, CONFIG)
        errors.append([])
        for way in (None, weights):
            map_ = calibrate(logits[known], truth[known], categories, 1, CONFIG, way)
            assert map_ is not None
            probability = apply_calibration(map_, logits[unknown, None])[:, 0]
            errors[-1].append(expected_calibration_error(probability, truth[unknown]))
    alike, weighted = np.mean(errors, 0)
    assert alike > 0.2
    assert weighted < 0.05


def test_a_category_of_which_only_a_file_knows_positives_is_not_likely_for_that() -> None:
    """People were asked about category 0 and said no to two of three; 1 is in the file only."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=160).astype(np.float32)
    truth = np.concatenate([np.arange(120) % 3 == 0, np.ones(40, bool)])
    categories = np.repeat([0, 1], [120, 40])
    origins = np.repeat([Origin.QUEUE, Origin.IMPORTED], [120, 40]).astype(np.int8)
    weights = calibration_weights(origins, 0.0, CONFIG)
    map_ = calibrate(logits, truth, categories, 2, CONFIG, weights)
    assert map_ is not None
    np.testing.assert_array_equal(map_.weights[1], map_.pooled)
    assert apply_calibration(map_, np.zeros((1, 2), np.float32)).max() < 0.5


def test_weights_by_hand() -> None:
    origins = np.repeat([Origin.RANDOM, Origin.QUEUE, Origin.IMPORTED], [10, 600, 400])
    few = calibration_weights(origins.astype(np.int8), 0.5, CONFIG)
    np.testing.assert_allclose(few, np.repeat([800 / 30, 1.0, 0.5], [10, 600, 400]))
    unasked = np.full(5, Origin.UNASKED, np.int8)
    assert (calibration_weights(unasked, 0.0, CONFIG) == 0).all()
    plenty = np.repeat([Origin.RANDOM, Origin.QUEUE], [1000, 10]).astype(np.int8)
    assert (calibration_weights(plenty, 0.0, CONFIG) == 1).all()
