"""By simulation: the estimate is unbiased, the interval covers, the stop rule does not lie."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import hypergeom

from clsl_core.errors import InputError
from clsl_core.statistics.completeness import (
    Cells,
    CompletenessConfig,
    Missing,
    count_cells,
    estimate_missing,
    recall_curve,
    stop_advice,
)
from clsl_core.statistics.stratified_sample import Sample, SampleConfig, draw_sample

CONFIG = CompletenessConfig(draws=1000)

# name: pairs and positives of each stratum, pairs checked in each (or all of a smaller one)
POPULATIONS = {
    "common": ([8000, 1500, 350, 100, 50], [30, 60, 60, 40, 40], 30),
    "rare": ([9000, 800, 140, 40, 20], [0, 1, 3, 5, 8], 10),
    "rare, hidden among low scores": ([9000, 800, 140, 40, 20], [9, 2, 3, 5, 8], 30),
    "two in all": ([9000, 800, 140, 40, 20], [0, 0, 0, 0, 2], 30),
    "none": ([9000, 800, 140, 40, 20], [0, 0, 0, 0, 0], 30),
    "useless scores": ([200] * 5, [10] * 5, 30),
    "useless scores, rare": ([200] * 5, [2] * 5, 30),
    "half": ([200] * 5, [100] * 5, 30),
    "nearly all": ([200] * 5, [196] * 5, 30),
    "one stratum": ([3000], [100], 30),
    "one stratum, rare": ([3000], [20], 30),
    "twenty rare categories": ([3000, 200, 40] * 20, [1, 2, 8] * 20, 15),
    "sixty even ones": ([1000] * 60, [30] * 60, 10),
}


def simulate(name: str, repetitions: int) -> tuple[np.ndarray, list[Missing], np.ndarray]:
    """What was missing after each audit, the estimates, and how often each came up."""
    pairs, positives, size = POPULATIONS[name]
    N, W = np.array(pairs), np.array(positives)
    checked = np.minimum(N, size)
    rng = np.random.default_rng(11)
    found = rng.hypergeometric(W, N - W, checked, size=(repetitions, len(N)))
    outcomes, times = np.unique(found, axis=0, return_counts=True)
    estimates = [estimate_missing(Cells(N, checked, x), CONFIG) for x in outcomes]
    return W.sum() - outcomes.sum(1), estimates, times


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_estimate_is_unbiased(name: str) -> None:
    pairs, positives, size = POPULATIONS[name]
    N, W = np.array(pairs), np.array(positives)
    checked = np.minimum(N, size)
    found = np.random.default_rng(1).hypergeometric(W, N - W, checked, size=(100_000, len(N)))
    few = replace(CONFIG, draws=1)
    errors = []
    outcomes, times = np.unique(found, axis=0, return_counts=True)
    for x in outcomes[:200]:  # enough of them to trust the fast sum below
        estimate = estimate_missing(Cells(N, checked, x), few)
        errors.append(estimate.missing - float(np.sum(N * x / checked) - x.sum()))
    np.testing.assert_allclose(errors, 0.0, atol=1e-6)
    missed = (outcomes * (N / checked)).sum(1) - W.sum()  # estimate minus truth, of every outcome
    mean = np.average(missed, weights=times)
    error = np.sqrt(np.average((missed - mean) ** 2, weights=times) / 100_000)
    assert abs(mean) <= 4 * error + 1e-9


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_interval_covers_at_about_its_nominal_rate(name: str) -> None:
    repetitions = 150 if len(POPULATIONS[name][0]) > 5 else 400
    truth, estimates, times = simulate(name, repetitions)
    low, high = (np.array([getattr(e, end) for e in estimates]) for end in ("low", "high"))
    too_low = np.average(high < truth, weights=times)
    too_high = np.average(low > truth, weights=times)
    slack = 2.5 * np.sqrt(0.025 * 0.975 / repetitions)
    assert too_low <= 0.025 + slack
    assert too_high <= 0.025 + slack
    assert all(e.low <= e.missing <= e.high for e in estimates)


@pytest.mark.parametrize("name", ["half", "useless scores"])
def test_the_interval_is_not_wider_than_needed(name: str) -> None:
    """Where positives are found in number, it misses now and then, as it may."""
    truth, estimates, times = simulate(name, 600)
    outside = [not e.low <= t <= e.high for e, t in zip(estimates, truth, strict=True)]
    assert np.average(outside, weights=times) >= 0.02


@pytest.mark.parametrize(("found", "checked", "pairs"), [(0, 30, 3000), (2, 40, 500), (9, 10, 20)])
def test_one_stratum_gives_the_exact_interval(found: int, checked: int, pairs: int) -> None:
    """Clopper and Pearson by trying every number of positives."""
    cells = Cells(*(np.array([value]) for value in (pairs, checked, found)))
    estimate = estimate_missing(cells, replace(CONFIG, draws=40_000))
    positives = np.arange(found, pairs - (checked - found) + 1)
    below = hypergeom.cdf(found, pairs, positives, checked) > 0.025
    above = hypergeom.sf(found - 1, pairs, positives, checked) > 0.025
    assert estimate.high == pytest.approx(positives[below].max() - found, rel=0.04, abs=1)
    assert estimate.low == pytest.approx(positives[above].min() - found, rel=0.08, abs=1)


def test_from_the_draw_to_the_estimate_without_bias() -> None:
    """The whole path, with scores that are informative but wrong in level."""
    rng = np.random.default_rng(5)
    chance = rng.beta(0.15, 4, 3000)
    truth = np.where(rng.random(3000) < chance, 1, -1).astype(np.int8)
    scores = np.clip(3 * chance, 0, 1)
    missed, covered, widths, plain = [], [], [], []
    for seed in range(200):
        sample = draw_sample(scores, 150, SampleConfig(), seed)
        estimate = estimate_missing(count_cells(sample, truth), CONFIG)
        missing = int(np.sum(truth > 0)) - estimate.found
        missed.append(estimate.missing - missing)
        covered.append(estimate.low <= missing <= estimate.high)
        widths.append(estimate.high - estimate.low)
        whole = draw_sample(scores, 150, SampleConfig(strata=1), seed)
        other = estimate_missing(count_cells(whole, truth), CONFIG)
        plain.append(other.missing - (int(np.sum(truth > 0)) - other.found))
    assert abs(np.mean(missed)) <= 3 * np.std(missed) / np.sqrt(200)
    assert np.mean(covered) >= 0.92
    assert np.std(missed) < np.std(plain)  # strata are worth their trouble


def test_a_complete_audit_leaves_nothing_open() -> None:
    cells = Cells(np.array([10, 20]), np.array([10, 20]), np.array([3, 0]))
    estimate = estimate_missing(cells, CONFIG)
    assert (estimate.missing, estimate.low, estimate.high, estimate.most) == (0, 0, 0, 0)


def test_nothing_unknown_means_nothing_missing() -> None:
    sample = Sample(np.zeros(0, np.int64), np.zeros(0, np.int64))
    estimate = estimate_missing(count_cells(sample, np.zeros(0, np.int8)), CONFIG)
    assert (estimate.missing, estimate.most, estimate.pairs) == (0, 0, 0)


def test_what_people_found_elsewhere_is_no_longer_missing() -> None:
    cells = Cells(np.array([100, 100]), np.array([20, 20]), np.array([10, 0]))
    before, after = (estimate_missing(cells, CONFIG, also_found=n) for n in (0, 15))
    assert before.missing == pytest.approx(40)
    assert after.missing == pytest.approx(25)
    assert after.high == before.high - 15
    assert estimate_missing(cells, CONFIG, also_found=1000).missing == 0


def test_counting_takes_only_answered_pairs_of_the_sample() -> None:
    sample = Sample(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 3, 4]))
    verdicts = np.array([1, 0, 1, -1, 1, 1], np.int8)
    cells = count_cells(sample, verdicts)
    assert cells.pairs.tolist() == [3, 3]
    assert cells.checked.tolist() == [1, 2]
    assert cells.found.tolist() == [1, 1]


def test_a_stratum_without_an_answer_is_refused() -> None:
    with pytest.raises(InputError, match="1 strata"):
        estimate_missing(Cells(np.array([5, 5]), np.array([5, 0]), np.array([1, 0])), CONFIG)


def test_categories_together_are_surer_than_their_sum() -> None:
    cells = [Cells(np.array([1000]), np.array([40]), np.array([2])) for _ in range(30)]
    alone = estimate_missing(cells[0], CONFIG)
    pooled = estimate_missing(Cells.joined(cells), CONFIG)
    assert pooled.missing == pytest.approx(30 * alone.missing)
    assert pooled.high < 30 * alone.high / 2
    assert pooled.pairs == 30_000


def test_looking_again_costs_certainty() -> None:
    cells = Cells(np.array([1000]), np.array([100]), np.array([3]))
    first, third = (estimate_missing(cells, CONFIG, look=look) for look in (1, 3))
    assert third.most > first.most
    assert (third.low, third.high) == (first.low, first.high)


def test_the_same_counts_give_the_same_interval() -> None:
    cells = Cells(np.array([1000, 50]), np.array([100, 20]), np.array([3, 8]))
    assert estimate_missing(cells, CONFIG) == estimate_missing(cells, CONFIG)


def test_the_recall_curve_by_hand() -> None:
    curve = recall_curve(np.array([True, False, True]), already=5, missing=(3.0, 0.0, 13.0))
    assert curve.verdicts.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(curve.share, np.array([5, 6, 6, 7]) / 10)
    np.testing.assert_allclose(curve.low, np.array([5, 6, 6, 7]) / 20)
    np.testing.assert_allclose(curve.high, np.array([5, 6, 6, 7]) / 7)


def test_a_curve_with_nothing_to_find_is_complete() -> None:
    curve = recall_curve(np.zeros(2, bool), already=0, missing=(0.0, 0.0, 4.0))
    assert curve.share.tolist() == [1, 1, 1]
    assert curve.low.tolist() == [0, 0, 0]


def test_advice_by_hand() -> None:
    missing = Missing(10, 2, 30, 25, pairs=900, checked=100, found=4)
    go_on = stop_advice(300, missing, CONFIG)
    assert (go_on.stop, go_on.share, go_on.share_low) == (False, 300 / 310, 300 / 325)
    assert "at most 25" in go_on.reason
    assert go_on.reason.endswith("go on.")
    assert stop_advice(475, missing, CONFIG).stop  # exactly 95 %
    assert not stop_advice(474, missing, CONFIG).stop
    assert stop_advice(0, replace(missing, missing=0, most=0), CONFIG).stop


def test_stopping_too_early_is_as_rare_as_promised() -> None:
    """An unlucky audit (22 or fewer of 60) leaves the goal just missed, and looks as if reached."""
    pairs, positives, checked, known = 2000, 60, 1000, 690

    def too_early(found: int, look: int) -> bool:
        cells = Cells(*(np.array([value]) for value in (pairs, checked, found)))
        estimate = estimate_missing(cells, replace(CONFIG, draws=4000), look=look)
        reached = (known + found) / (known + positives) >= CONFIG.goal
        return stop_advice(known + found, estimate, CONFIG).stop and not reached

    found = range(positives + 1)
    wrong = np.array([[too_early(x, look) for x in found] for look in (1, 2, 3)])
    audits = np.random.default_rng(2).hypergeometric(
        positives, pairs - positives, checked, size=(20_000, 3)
    )
    early = wrong[np.arange(3), audits]  # each look after a fresh audit
    assert 0.005 < np.mean(early[:, 0]) <= 0.03
    assert np.mean(early.any(1)) <= 0.05
