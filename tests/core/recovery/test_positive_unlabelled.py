"""Regimes, held-out labels, sampled entries, the label frequency and what it corrects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.recovery.positive_unlabelled import (
    RecoveryConfig,
    Regime,
    class_priors,
    detect_regime,
    label_frequency,
    pick_entries,
    pu_corrected,
    split_labels,
    unknown_as_negative,
)

CONFIG = RecoveryConfig()


def make_labels(counts: dict[int, int], shape: tuple[int, int] = (40, 5)) -> np.ndarray:
    """Labels with this many entries of each state, at random places."""
    flat = np.zeros(shape[0] * shape[1], np.int8)
    flat[: counts.get(1, 0)] = 1
    flat[counts.get(1, 0) : counts.get(1, 0) + counts.get(-1, 0)] = -1
    return np.random.default_rng(0).permutation(flat).reshape(shape)


@pytest.mark.parametrize(
    ("counts", "regime", "unknown"),
    [
        ({}, Regime.NONE, 1.0),
        ({1: 20}, Regime.POSITIVES, 1.0),
        ({1: 20, -1: 20}, Regime.POSITIVES, 0.75),
        ({1: 20, -1: 80}, Regime.MIXED, 0.0),
        ({-1: 30}, Regime.MIXED, 0.0),
    ],
)
def test_the_regime_is_read_off_the_labels(
    counts: dict[int, int], regime: Regime, unknown: float
) -> None:
    labels = make_labels(counts)
    assert detect_regime(labels, CONFIG) is regime
    assert unknown_as_negative(labels, CONFIG) == pytest.approx(unknown)


def test_one_positive_per_image_is_its_own_regime() -> None:
    labels = np.zeros((10, 4), np.int8)
    labels[np.arange(10), np.arange(10) % 4] = 1
    assert detect_regime(labels, CONFIG) is Regime.SINGLE
    labels[0] = 1
    assert detect_regime(labels, CONFIG) is Regime.POSITIVES


@given(st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_split_keeps_one_label_of_each_kind_and_hides_only_known_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([-1, 0, 1], np.int8), (12, 6), p=[0.1, 0.8, 0.1])
    split = split_labels(labels, rng.random(labels.shape).astype(np.float32), CONFIG)
    assert (labels[split.held_out] != 0).all()
    np.testing.assert_array_equal(split.train[~split.held_out], labels[~split.held_out])
    assert (split.train[split.held_out] == 0).all()
    for state in (-1, 1):
        assert ((split.train == state).any(0) == (labels == state).any(0)).all()


def test_the_split_takes_its_share() -> None:
    labels = make_labels({1: 2000, -1: 2000}, (1000, 10))
    draws = np.random.default_rng(1).random(labels.shape).astype(np.float32)
    split = split_labels(labels, draws, CONFIG)
    for state in (-1, 1):
        assert split.held_out[labels == state].mean() == pytest.approx(0.2, abs=0.03)


def test_few_negatives_are_held_out_more_so_that_calibration_comes_soon() -> None:
    labels = make_labels({1: 2000, -1: 60}, (1000, 10))
    draws = np.random.default_rng(1).random(labels.shape).astype(np.float32)
    split = split_labels(labels, draws, CONFIG)
    assert split.held_out[labels < 0].mean() == pytest.approx(0.5, abs=0.2)


def test_what_is_held_out_stays_held_out_when_labels_arrive() -> None:
    draws = np.random.default_rng(1).random((40, 5)).astype(np.float32)
    before = make_labels({1: 40})
    after = before.copy()
    after[(before == 0) & (np.random.default_rng(2).random(before.shape) < 0.3)] = 1
    first, second = (split_labels(labels, draws, CONFIG).held_out for labels in (before, after))
    assert (second[before != 0] == first[before != 0]).all()


def test_entries_weigh_the_unknown_ones_by_the_judged_share() -> None:
    labels = make_labels({1: 40})
    judged = (labels > 0) & (np.cumsum(labels > 0).reshape(labels.shape) <= 10)
    entries = pick_entries(labels, judged, 0.5, CONFIG, np.random.default_rng(0))
    assert entries.truth.sum() == 10
    assert entries.weights[entries.truth].sum() == 10
    assert entries.weights[~entries.truth].sum() == pytest.approx(0.5 * 0.25 * 160)
    few = RecoveryConfig(stacking_entries=8)
    sampled = pick_entries(labels, judged, 0.5, few, np.random.default_rng(0))
    assert len(sampled.truth) == 16
    assert sampled.weights.sum() == pytest.approx(entries.weights.sum())
    assert not pick_entries(labels, judged, 0.0, CONFIG, np.random.default_rng(0)).weights[10:].size


def test_presence_is_more_likely_than_being_a_known_positive() -> None:
    logits = np.linspace(-6, 6, 50, dtype=np.float32)[:, None]
    known = 1 / (1 + np.exp(-logits))
    found = 1 / (1 + np.exp(-pu_corrected(logits, 0.25)))
    np.testing.assert_allclose(found, np.minimum(known / 0.25, 0.999), rtol=1e-4)
    assert pu_corrected(logits, 1.0) is logits


def test_priors_are_estimated_and_never_zero() -> None:
    labels = np.zeros((100, 3), np.int8)
    labels[:20, 0] = 1
    all_known = class_priors(labels, 1.0, 1.0)
    half_known = class_priors(labels, 1.0, 0.5)
    assert all_known[0] == pytest.approx(0.2, abs=0.01)
    assert half_known[0] == pytest.approx(2 * all_known[0])
    assert (all_known[1:] > 0).all()
    labels[20:40, 0] = -1
    assert class_priors(labels, 0.0, 1.0)[0] == pytest.approx(0.5, abs=0.02)


def test_the_label_frequency_is_what_sure_positives_score() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((4000, 1)) < 0.3
    labels = (truth & (rng.random((4000, 1)) < 0.6)).astype(np.int8)
    scores = np.where(truth, 0.6, 0.0).astype(np.float32)
    assert label_frequency(scores, labels, 1.0) == pytest.approx(0.6)
    assert label_frequency(scores, labels, 0.0) == 1.0
    assert label_frequency(scores, np.zeros_like(labels), 1.0) == 1.0
