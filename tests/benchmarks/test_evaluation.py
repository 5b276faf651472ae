"""Measures agree with scikit-learn and with a computation done another way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from benchmarks.evaluation import best_threshold, judge, ranks


def _collection(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random((50, 6)) < 0.3, 1, -1).astype(np.int8)
    scores = np.clip(rng.random((50, 6)) + 0.2 * (truth > 0), 0, 1).astype(np.float32)
    return truth, np.round(scores, 1), rng.random((50, 6)) < 0.8  # with ties


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_plain_mean_agrees_with_scikit_learn(seed: int) -> None:
    truth, scores, judged = _collection(seed)
    expected = [
        average_precision_score(truth[judged[:, c], c] > 0, scores[judged[:, c], c])
        for c in range(6)
        if (truth[judged[:, c], c] > 0).any()
    ]
    found = judge(truth, scores, judged, 1)
    assert found.map == pytest.approx(np.mean(expected))
    assert found.categories == len(expected)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_interpolated_means_agree_with_their_definition(seed: int) -> None:
    """For each recall, the best precision at that recall or a higher one."""
    truth, scores, _ = _collection(seed)
    areas, points = [], []
    for c in range(6):
        if not (truth[:, c] > 0).any():
            continue
        precision, recall, _ = precision_recall_curve(truth[:, c] > 0, scores[:, c])
        # scikit-learn begins with "everything is positive" and ends with (1, 0).
        best = [max(precision[:-1][recall[:-1] >= r - 1e-12]) for r in np.linspace(0, 1, 11)]
        points.append(np.mean(best))
        steps = np.unique(np.append(recall, 0.0))
        heights = [max(precision[:-1][recall[:-1] >= r - 1e-12]) for r in steps[1:]]
        areas.append(np.sum(np.diff(steps) * heights))
    found = judge(truth, scores, np.ones(truth.shape, bool), 1)
    assert found.map_area == pytest.approx(np.mean(areas))
    assert found.map_11 == pytest.approx(np.mean(points))
    assert found.map_area >= found.map - 1e-12


def test_f1_counts_judged_entries_above_one_half() -> None:
    truth, scores, judged = _collection(1)
    found = judge(truth, scores, judged, 1)
    assert found.of1 == pytest.approx(f1_score(truth[judged] > 0, scores[judged] > 0.5))
    other = judge(truth, np.zeros(truth.shape, np.float32), judged, 1, raw=scores)
    assert other.of1 == found.of1


def test_the_best_threshold_is_the_best_of_all() -> None:
    truth, scores, judged = _collection(2)
    known, values = truth[judged] > 0, scores[judged]
    expected = max(f1_score(known, values >= threshold) for threshold in np.unique(values))
    assert best_threshold(known, values) == pytest.approx(expected)
    assert best_threshold(np.zeros(3, bool), np.ones(3, np.float32)) == 0.0


def test_entries_without_truth_and_rare_categories_do_not_count() -> None:
    truth, scores, judged = _collection(3)
    truth[0, 0], judged[0, 0] = 0, True
    without = judged.copy()
    without[0, 0] = False
    assert judge(truth, scores, judged, 1) == judge(truth, scores, without, 1)
    positives = ((truth > 0) & judged).sum(0)
    found = judge(truth, scores, judged, int(np.sort(positives)[2]))
    assert found.categories == int((positives >= np.sort(positives)[2]).sum())
    assert np.isnan(judge(truth, scores, judged, 1000).map)


def test_ranks_keep_the_order_and_share_ties() -> None:
    scores = np.array([[0.5, 9.0], [0.5, 7.0], [0.1, 8.0]], np.float32)
    expected = np.array([[2.5, 3], [2.5, 1], [1, 2]], np.float32) / 3
    assert ranks(scores) == pytest.approx(expected)
    assert ranks(scores[:0]).shape == (0, 2)
