"""Measures agree with scikit-learn and leave out what they say they leave out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from clsl_core.statistics.metrics import (
    average_precision,
    category_f1,
    interpolated_average_precision,
    mean_average_precision,
    overall_f1,
    precision_at,
    recall_at,
)


@given(st.integers(0, 10_000), st.integers(1, 60), st.booleans())
@settings(max_examples=60, deadline=None)
def test_average_precision_agrees_with_scikit_learn(seed: int, count: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, count)
    truth[rng.integers(count)] = 1
    scores = rng.normal(size=count)
    if ties:
        scores = np.round(scores)
    assert average_precision(truth, scores) == pytest.approx(average_precision_score(truth, scores))


def test_average_precision_ignores_the_order_of_the_input() -> None:
    truth, scores = np.array([1, 0, 1, 0]), np.array([0.5, 0.5, 0.1, 0.9])
    order = [2, 0, 3, 1]
    assert average_precision(truth, scores) == average_precision(truth[order], scores[order])


def test_without_a_positive_there_is_no_average_precision() -> None:
    assert np.isnan(average_precision(np.zeros(3, int), np.arange(3.0)))
    assert np.isnan(interpolated_average_precision(np.zeros(3, int), np.arange(3.0)))
    assert np.isnan(mean_average_precision(np.zeros((3, 2), int), np.zeros((3, 2))))


def test_interpolated_average_precision_by_hand() -> None:
    truth, scores = np.array([1, 0, 0, 1]), np.array([4.0, 3.0, 2.0, 1.0])
    # precision 1 up to recall 1/2, then 2/4
    assert interpolated_average_precision(truth, scores) == pytest.approx(0.75)
    assert interpolated_average_precision(truth, scores, 11) == pytest.approx((6 + 5 * 0.5) / 11)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_interpolation_never_lowers_the_area(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, scores = rng.integers(0, 2, 30), rng.normal(size=30)
    truth[0] = 1
    area = average_precision(truth, scores)
    assert interpolated_average_precision(truth, scores) >= area - 1e-12


def test_the_mean_leaves_out_categories_without_judged_positives() -> None:
    truth = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]])
    scores = np.array([[3.0, 1.0, 0.0], [2.0, 2.0, 0.0], [1.0, 3.0, 0.0]])
    judged = np.array([[True, False, True]] * 3)
    first = average_precision(truth[:, 0], scores[:, 0])
    second = average_precision(truth[:, 1], scores[:, 1])
    assert mean_average_precision(truth, scores, judged) == pytest.approx(first)
    assert mean_average_precision(truth, scores) == pytest.approx((first + second) / 2)
    assert np.isnan(mean_average_precision(truth, scores, min_positives=3))


def test_f1_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    truth, chosen = rng.integers(0, 2, (40, 5)), rng.random((40, 5)) < 0.4
    assert overall_f1(truth, chosen) == pytest.approx(f1_score(truth, chosen, average="micro"))
    half = np.zeros((40, 5), bool)
    half[:20] = True
    expected = f1_score(truth[:20], chosen[:20], average="micro")
    assert overall_f1(truth, chosen, half) == pytest.approx(expected)


def test_category_f1_is_the_harmonic_mean_of_mean_precision_and_mean_recall() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0]])
    chosen = np.array([[True, True, False], [False, True, False]])
    precision, recall = (1 + 0.5) / 2, (0.5 + 1) / 2
    expected = 2 * precision * recall / (precision + recall)
    assert category_f1(truth, chosen) == pytest.approx(expected)
    assert category_f1(np.zeros((2, 2), int), np.ones((2, 2), bool)) == 0.0


def test_recovery_at_k_counts_judged_entries_only() -> None:
    truth = np.array([[1, 0], [1, 1]])
    scores = np.array([[0.9, 0.8], [0.7, 0.1]])
    judged = np.array([[False, True], [True, True]])
    assert precision_at(truth, scores, 2, judged) == 0.5
    assert recall_at(truth, scores, 2, judged) == 0.5
    assert recall_at(truth, scores, 3, judged) == 1.0
    assert precision_at(truth, scores, 1) == 1.0
