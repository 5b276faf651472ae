"""Regimes, held-out labels, sharpening, gates and targets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.recovery.positive_unlabelled import (
    RecoveryConfig,
    Regime,
    class_priors,
    detect_regime,
    fit_blend,
    fit_stack,
    known_share,
    pick_entries,
    present,
    recovered_targets,
    sharpen,
    split_labels,
    thresholds,
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
    few = RecoveryConfig(blend_entries=8)
    sampled = pick_entries(labels, judged, 0.5, few, np.random.default_rng(0))
    assert len(sampled.truth) == 16
    assert sampled.weights.sum() == pytest.approx(entries.weights.sum())
    assert not pick_entries(labels, judged, 0.0, CONFIG, np.random.default_rng(0)).weights[10:].size


def test_the_blend_trusts_the_view_that_knows() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([-1, 1], np.int8), (200, 3))
    views = rng.normal(size=(2, 200, 3)).astype(np.float32)
    views[1] += labels
    entries = pick_entries(labels, labels != 0, 0.0, CONFIG, rng)
    blend = fit_blend(views, entries, CONFIG)
    assert blend.pooled[1] > 1
    assert abs(blend.pooled[0]) < 0.3


def test_without_held_out_labels_the_static_blend_stays_as_it_is() -> None:
    labels = make_labels({1: 3})
    none = np.zeros(labels.shape, bool)
    entries = pick_entries(labels, none, 1.0, CONFIG, np.random.default_rng(0))
    logits = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    pair = fit_stack(logits, -logits, entries, CONFIG)
    np.testing.assert_allclose(pair.apply(np.stack([logits, -logits])), logits, atol=1e-5)


def test_a_head_that_moves_far_is_tamed_and_a_head_that_is_wrong_counts_nothing() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([-1, 1], np.int8), (300, 3))
    static, head = (rng.normal(size=labels.shape).astype(np.float32) + labels for _ in range(2))
    head *= np.float32(1.5)
    entries = pick_entries(labels, labels != 0, 0.0, CONFIG, rng)

    def together(z: np.ndarray) -> np.ndarray:
        return fit_stack(static, z, entries, CONFIG).apply(np.stack([static, z]))

    plain = together(head)
    stretched = np.array([3.0, 10.0, 50.0], np.float32) * head + np.float32(7)
    np.testing.assert_allclose(together(stretched), plain, atol=1e-3)
    assert np.corrcoef(plain[:, 0], head[:, 0])[0, 1] > 0.7
    ranks = together(-head).argsort(0)
    np.testing.assert_array_equal(ranks, static.argsort(0))


def test_presence_is_more_likely_than_being_a_known_positive() -> None:
    logits = np.linspace(-6, 6, 50, dtype=np.float32)[:, None]
    known = 1 / (1 + np.exp(-logits))
    found = 1 / (1 + np.exp(-present(logits, 0.25)))
    np.testing.assert_allclose(found, np.minimum(known / 0.25, 0.999), rtol=1e-4)
    assert present(logits, 1.0) is logits


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


def test_the_known_share_is_what_sure_positives_score() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((4000, 1)) < 0.3
    labels = (truth & (rng.random((4000, 1)) < 0.6)).astype(np.int8)
    scores = np.where(truth, 0.6, 0.0).astype(np.float32)
    assert known_share(scores, labels, 1.0) == pytest.approx(0.6)
    assert known_share(scores, labels, 0.0) == 1.0
    assert known_share(scores, np.zeros_like(labels), 1.0) == 1.0
