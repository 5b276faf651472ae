"""The diagram shows what it should, with weights and without."""

import numpy as np
import pytest

from clsl_core.errors import InputError
from clsl_core.statistics.reliability import expected_calibration_error, reliability_bins


def make_entries(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probabilities = rng.random(count)
    return probabilities, rng.random(count) < probabilities


def test_bins_by_hand() -> None:
    probabilities = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    truth = np.array([False, True, True, True, False])
    first, last = reliability_bins(probabilities, truth, bins=2)
    assert (first.low, first.high, first.count) == (0.0, 0.5, 2)
    assert (first.stated, first.share) == pytest.approx((0.05, 0.5))
    assert (last.low, last.high, last.count) == (0.5, 1.0, 3)  # 1.0 is in the last bin
    assert (last.stated, last.share) == pytest.approx((0.8, 2 / 3))
    assert first.weight + last.weight == pytest.approx(1.0)
    assert expected_calibration_error(probabilities, truth, 2) == pytest.approx(
        0.4 * 0.45 + 0.6 * (0.8 - 2 / 3)
    )


def test_empty_bins_are_left_out() -> None:
    diagram = reliability_bins(np.array([0.05, 0.95]), np.array([False, True]))
    assert [bar.low for bar in diagram] == pytest.approx([0.0, 0.9])
    assert reliability_bins(np.zeros(0), np.zeros(0, bool)) == ()
    assert np.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_honest_probabilities_lie_within_the_intervals() -> None:
    inside = []
    for seed in range(100):
        probabilities, truth = make_entries(500, seed)
        inside += [
            b.share_low <= b.stated <= b.share_high for b in reliability_bins(probabilities, truth)
        ]
    assert 0.92 < np.mean(inside) < 0.98


def test_the_error_sees_an_overconfident_map() -> None:
    probabilities, truth = make_entries(4000, seed=1)
    overconfident = np.clip(2 * (probabilities - 0.5) + 0.5, 0, 1)
    assert expected_calibration_error(probabilities, truth) < 0.03
    assert expected_calibration_error(overconfident, truth) > 0.1


def test_whole_weights_repeat_an_entry() -> None:
    probabilities, truth = make_entries(50, seed=2)
    times = np.random.default_rng(3).integers(1, 4, 50)
    repeated = reliability_bins(np.repeat(probabilities, times), np.repeat(truth, times))
    weighted = reliability_bins(probabilities, truth, weights=times.astype(float))
    for one, other in zip(repeated, weighted, strict=True):
        assert (one.stated, one.share) == pytest.approx((other.stated, other.share))
        assert one.weight == pytest.approx(other.weight)
    assert expected_calibration_error(
        probabilities, truth, weights=times.astype(float)
    ) == pytest.approx(
        expected_calibration_error(np.repeat(probabilities, times), np.repeat(truth, times))
    )


def test_only_the_ratio_of_weights_counts() -> None:
    probabilities, truth = make_entries(50, seed=4)
    assert reliability_bins(probabilities, truth, weights=np.full(50, 2.0)) == reliability_bins(
        probabilities, truth
    )


def test_weights_undo_a_selection_and_widen_the_interval() -> None:
    """Positives were checked three times as often as negatives."""
    probabilities, truth = make_entries(20_000, seed=5)
    chance = np.where(truth, 0.9, 0.3)
    checked = np.random.default_rng(6).random(20_000) < chance
    p, t, w = probabilities[checked], truth[checked], 1 / chance[checked]
    assert expected_calibration_error(p, t) > 0.1
    assert expected_calibration_error(p, t, weights=w) < 0.03
    plain, weighted = reliability_bins(p, t, 1)[0], reliability_bins(p, t, 1, w)[0]
    assert weighted.share_high - weighted.share_low > plain.share_high - plain.share_low


@pytest.mark.parametrize(
    ("probabilities", "count", "weights"),
    [
        ([0.5, 1.2], 2, None),
        ([0.5, np.nan], 2, None),
        ([0.5], 2, None),
        ([0.5, 0.5], 2, [1.0, 0.0]),
        ([0.5, 0.5], 2, [1.0]),
    ],
)
def test_what_cannot_be_used_is_refused(
    probabilities: list[float], count: int, weights: list[float] | None
) -> None:
    given = None if weights is None else np.array(weights)
    with pytest.raises(InputError):
        reliability_bins(np.array(probabilities), np.ones(count, bool), weights=given)
