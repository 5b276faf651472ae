"""Intervals and tail chances agree with independent ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clsl_core.statistics.intervals import hypergeometric_cdf, spend, wilson


@given(st.integers(0, 40), st.integers(1, 200), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_wilson_agrees_with_scipy(successes: int, trials: int, confidence: float) -> None:
    successes = min(successes, trials)
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, "wilson")
    low, high = wilson(successes, trials, confidence)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_without_trials_any_share_is_possible() -> None:
    low, high = wilson(0, 0)
    assert (float(low), float(high)) == (0.0, 1.0)


@given(st.integers(0, 12), st.integers(1, 60), st.data())
@settings(max_examples=100, deadline=None)
def test_hypergeometric_agrees_with_scipy(found: int, population: int, data: st.DataObject) -> None:
    marked = data.draw(st.integers(0, population))
    drawn = data.draw(st.integers(0, population))
    expected = stats.hypergeom.cdf(found, population, marked, drawn)
    assert float(hypergeometric_cdf(found, marked, drawn, population)) == pytest.approx(
        expected, abs=1e-9
    )


def test_hypergeometric_takes_arrays_and_large_populations() -> None:
    drawn = np.array([100, 200, 5000])
    expected = stats.hypergeom.cdf(2, 10**7, 10**5, drawn)
    actual = hypergeometric_cdf(2, 10**5, drawn, 10**7)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_all_looks_together_spend_the_error() -> None:
    parts = [spend(0.05, look) for look in range(1, 10_000)]
    assert parts[0] == pytest.approx(0.025)
    assert 0.0499 < sum(parts) <= 0.05
