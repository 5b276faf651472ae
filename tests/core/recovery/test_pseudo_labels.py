"""Sharpening, gates and the targets of unknown entries."""

import numpy as np
import pytest

from clsl_core.recovery.positive_unlabelled import RecoveryConfig
from clsl_core.recovery.pseudo_labels import recovered_targets, sharpen, thresholds

CONFIG = RecoveryConfig()


def test_sharpening_never_turns_an_image_of_negatives_positive() -> None:
    logits = np.array([[-3.0, -0.5], [2.0, -1.0]], np.float32)
    found = sharpen(logits)
    assert (found[0] < 0.5).all()
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-logits[0])), rtol=1e-5)
    np.testing.assert_allclose(found[1], 1 / (1 + np.exp(-2 * logits[1])), rtol=1e-5)


def test_gates_differ_by_category_and_fall_back_to_the_pooled_one() -> None:
    labels = np.zeros((200, 3), np.int8)
    labels[:100, :2], labels[100:, :2] = 1, -1
    scores = np.full((200, 3), 0.1, np.float32)
    scores[:100, 0], scores[:100, 1] = 0.9, 0.4
    upper, lower = thresholds(scores, labels, 0.0, CONFIG)
    assert upper[0] > 0.85
    assert upper[1] < 0.5
    assert upper[1] < upper[2] < upper[0]
    assert (lower <= upper).all()


def test_targets_are_sure_past_the_gates_and_soft_between() -> None:
    labels = np.zeros((300, 1), np.int8)
    labels[:50], labels[50:100] = 1, -1
    logits = np.zeros((300, 1), np.float32)
    logits[:50], logits[50:100] = 2.0, -2.0
    logits[100], logits[101], logits[102] = 5.0, -5.0, 0.0
    mixed = recovered_targets(logits, labels, 0.0, 0.3, CONFIG)
    assert mixed.values[100] > 0.9
    assert mixed.weights[100] == 1.0
    assert mixed.values[101] < 0.1
    assert mixed.weights[101] == 1.0
    assert mixed.weights[102] == pytest.approx(CONFIG.undecided)
    positives_only = recovered_targets(logits, np.maximum(labels, 0), 1.0, 0.3, CONFIG)
    assert positives_only.weights[101] == pytest.approx(0.3)
    assert positives_only.weights[100] == 1.0
