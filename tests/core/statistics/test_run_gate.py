"""The gate lets equal runs through, keeps sabotaged ones back, and says when it cannot tell."""

from dataclasses import replace

import numpy as np
import pytest

from clsl_core.errors import InputError
from clsl_core.statistics.metrics import average_precision
from clsl_core.statistics.run_gate import GateConfig, GateDecision, HeldOut, compare

CONFIG = GateConfig(resamples=300)


def make_verdicts(images: int, categories: int, seed: int) -> tuple[HeldOut, np.ndarray]:
    """Every pair judged, a quarter positive, and the strength behind each pair."""
    rng = np.random.default_rng(seed)
    rows, columns = np.divmod(np.arange(images * categories), categories)
    truth = rng.random(len(rows)) < 0.25
    return HeldOut(rows + 1000, columns + 7, truth), truth * 1.5


def noisy(strength: np.ndarray, noise: float, seed: int) -> np.ndarray:
    return strength + noise * np.random.default_rng(seed).normal(size=len(strength))


def test_the_measure_is_the_mean_of_the_average_precisions() -> None:
    held_out, strength = make_verdicts(60, 3, seed=0)
    old, new = np.round(noisy(strength, 1, 1), 1), noisy(strength, 1, 2)  # old with ties
    result = compare(held_out, old, new, CONFIG)
    for scores, value in ((old, result.serving), (new, result.candidate)):
        parts = [held_out.categories == c for c in (7, 8, 9)]
        expected = np.mean([average_precision(held_out.truth[p], scores[p]) for p in parts])
        assert value == pytest.approx(expected)
    assert result.low is not None
    assert result.high is not None
    assert result.low < result.difference < result.high
    assert (result.images, result.verdicts) == (60, 180)
    losses = [change.candidate - change.serving for change in result.categories]
    assert losses == sorted(losses)
    assert {change.category for change in result.categories} == {7, 8, 9}


def test_a_sabotaged_run_is_kept_back() -> None:
    held_out, strength = make_verdicts(80, 4, seed=0)
    good = noisy(strength, 1, 1)
    for seed in range(20):
        shuffled = np.random.default_rng(seed).permutation(good)
        result = compare(held_out, good, shuffled, CONFIG)
        assert result.decision == "keep"
        assert "worse with confidence" in result.reason


def test_an_upside_down_run_is_kept_back_even_with_few_verdicts() -> None:
    held_out, strength = make_verdicts(24, 2, seed=3)
    good = noisy(strength, 0.5, 1)
    assert compare(held_out, good, -good, CONFIG).decision == "keep"


def test_a_better_run_serves() -> None:
    held_out, strength = make_verdicts(80, 4, seed=0)
    result = compare(held_out, noisy(strength, 2, 1), noisy(strength, 0.5, 1), CONFIG)
    assert result.decision == "serve"
    assert result.low is not None
    assert result.low > 0


def test_an_unchanged_run_serves() -> None:
    held_out, strength = make_verdicts(40, 4, seed=0)
    scores = noisy(strength, 1, 1)
    result = compare(held_out, scores, 3 * scores + 1, CONFIG)  # the order is what counts
    assert (result.decision, result.difference, result.low, result.high) == ("serve", 0, 0, 0)


@pytest.mark.parametrize("images", [30, 250])
def test_equal_runs_are_rarely_kept_back(images: int) -> None:
    kept = certain = 0
    for seed in range(150):
        held_out, strength = make_verdicts(images, 3, seed)
        old, new = noisy(strength, 1.2, 1000 + seed), noisy(strength, 1.2, 2000 + seed)
        result = compare(held_out, old, new, replace(CONFIG, resamples=200))
        assert result.high is not None
        kept += result.decision == "keep"
        certain += result.high < 0
    assert certain / 150 <= 0.06  # about 2.5 % is meant
    assert kept / 150 <= 0.18  # and at most about 10 % more by the guard


def test_the_interval_covers_the_true_difference() -> None:
    big, strength = make_verdicts(20_000, 1, seed=99)
    ap = [
        average_precision(big.truth, noisy(strength, noise, seed))
        for noise, seed in ((1.0, 1), (1.5, 2))
    ]
    covered = []
    for seed in range(150):
        held_out, strength = make_verdicts(100, 1, seed)
        old, new = noisy(strength, 1.0, 1000 + seed), noisy(strength, 1.5, 2000 + seed)
        result = compare(held_out, old, new, replace(CONFIG, resamples=200))
        assert result.low is not None
        assert result.high is not None
        covered.append(result.low <= ap[1] - ap[0] <= result.high)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_a_large_loss_on_few_verdicts_is_kept_back_by_the_guard() -> None:
    found = None
    for seed in range(200):
        held_out, strength = make_verdicts(24, 2, seed)
        old, new = noisy(strength, 0.8, 1000 + seed), noisy(strength, 1.8, 2000 + seed)
        result = compare(held_out, old, new, CONFIG)
        if result.decision == "keep" and result.high is not None and result.high >= 0:
            found = result
            without = replace(CONFIG, large_loss=1.0)
            assert compare(held_out, old, new, without).decision == "serve"
            break
    assert found is not None
    assert found.difference is not None
    assert found.difference <= -CONFIG.large_loss
    assert "too few verdicts" in found.reason


def test_images_not_pairs_are_resampled() -> None:
    """The same verdicts in fewer, larger images carry less information: a wider interval."""
    held_out, strength = make_verdicts(400, 1, seed=5)
    group = np.repeat(np.arange(40), 10)
    shared = np.random.default_rng(6).normal(size=40)[group]
    old, new = noisy(strength, 1, 1), noisy(strength, 1, 1) - held_out.truth * shared
    alone = compare(held_out, old, new, CONFIG)
    grouped = compare(replace(held_out, images=group), old, new, CONFIG)
    assert width(grouped) > 1.3 * width(alone)


def test_whole_weights_repeat_a_verdict() -> None:
    held_out, strength = make_verdicts(60, 2, seed=0)
    old, new = noisy(strength, 1, 1), noisy(strength, 1, 2)
    times = np.random.default_rng(3).integers(1, 4, len(old))
    weighted = compare(replace(held_out, weights=times.astype(float)), old, new, CONFIG)
    repeated = HeldOut(
        *(np.repeat(a, times) for a in (held_out.images, held_out.categories, held_out.truth))
    )
    other = compare(repeated, np.repeat(old, times), np.repeat(new, times), CONFIG)
    assert weighted.difference == pytest.approx(other.difference)
    assert (weighted.low, weighted.high) == pytest.approx((other.low, other.high))


def width(result: GateDecision) -> float:
    assert result.low is not None
    assert result.high is not None
    return result.high - result.low


def test_same_input_same_decision() -> None:
    held_out, strength = make_verdicts(40, 3, seed=0)
    old, new = noisy(strength, 1, 1), noisy(strength, 1, 2)
    assert compare(held_out, old, new, CONFIG) == compare(held_out, old, new, CONFIG)
    other = compare(held_out, old, new, replace(CONFIG, seed=1))
    assert other.low != compare(held_out, old, new, CONFIG).low


@pytest.mark.parametrize("images", [0, 1, 19])
def test_too_few_verdicts_compare_nothing_and_serve(images: int) -> None:
    held_out, strength = make_verdicts(images, 3, seed=0)
    result = compare(held_out, strength, -strength, CONFIG)
    assert (result.decision, result.difference) == ("serve", None)
    assert "Nothing could be compared" in result.reason


def test_verdicts_of_one_kind_compare_nothing() -> None:
    held_out, strength = make_verdicts(60, 3, seed=0)
    result = compare(replace(held_out, truth=np.ones(180, bool)), strength, strength, CONFIG)
    assert (result.decision, result.verdicts) == ("serve", 0)


def test_categories_with_verdicts_of_one_kind_are_left_out() -> None:
    held_out, strength = make_verdicts(60, 3, seed=0)
    truth = held_out.truth | (held_out.categories == 8)
    result = compare(replace(held_out, truth=truth), strength, noisy(strength, 1, 1), CONFIG)
    assert {change.category for change in result.categories} == {7, 9}
    assert result.verdicts == 120


def test_the_first_run_serves() -> None:
    held_out, strength = make_verdicts(60, 3, seed=0)
    assert compare(held_out, None, strength, CONFIG).decision == "serve"


def test_a_run_without_usable_scores_is_kept_back() -> None:
    held_out, strength = make_verdicts(60, 3, seed=0)
    broken = strength.copy()
    broken[3] = np.nan
    result = compare(held_out, strength, broken, CONFIG)
    assert result.decision == "keep"
    assert "1 held-out" in result.reason
    assert compare(held_out, None, broken, CONFIG).decision == "keep"


def test_what_cannot_be_compared_is_refused() -> None:
    held_out, strength = make_verdicts(60, 3, seed=0)
    with pytest.raises(InputError, match="180"):
        compare(held_out, strength, strength[:-1], CONFIG)
    with pytest.raises(InputError, match="serving run"):
        compare(held_out, np.full(180, np.nan), strength, CONFIG)
