"""Samples are random within strata, reach every stratum, and grow without being drawn anew."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.errors import InputError
from clsl_core.statistics.stratified_sample import SampleConfig, draw_sample

CONFIG = SampleConfig()


def make_scores(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).beta(0.2, 3, count)


@given(st.integers(1, 400), st.integers(1, 500), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_a_sample_is_what_was_asked_for(count: int, size: int, seed: int) -> None:
    sample = draw_sample(make_scores(count, seed), size, CONFIG, seed)
    assert len(np.unique(sample.chosen)) == len(sample.chosen) == min(size, count)
    drawn = np.bincount(sample.strata[sample.chosen], minlength=sample.strata.max() + 1)
    pairs = np.bincount(sample.strata)
    assert (pairs > 0).all()
    assert (drawn >= np.minimum(pairs, min(CONFIG.minimum, size, count))).all()


def test_strata_follow_the_score_and_are_finer_where_it_matters() -> None:
    scores = make_scores(5000)
    sample = draw_sample(scores, 200, CONFIG, 0)
    order = np.argsort(scores)
    assert (np.diff(sample.strata[order]) >= 0).all()
    pairs = np.bincount(sample.strata)
    assert len(pairs) == CONFIG.strata
    assert (np.diff(pairs) < 0).all()


def test_the_sample_is_divided_as_neyman_asks() -> None:
    scores = make_scores(5000)
    sample = draw_sample(scores, 500, CONFIG, 0)
    pairs, drawn = np.bincount(sample.strata), np.bincount(sample.strata[sample.chosen])
    share = np.bincount(sample.strata, np.clip(scores, 0.01, 0.99)) / pairs
    wanted = pairs * np.sqrt(share * (1 - share))
    assert (np.abs(drawn - 500 * wanted / wanted.sum()) <= 1).all()
    assert (np.diff(drawn / pairs) > 0).all()  # a higher rate where the scores are higher


def test_each_pair_of_a_stratum_is_as_likely() -> None:
    scores = make_scores(60)
    config = SampleConfig(strata=2, minimum=5)
    times = np.zeros(60)
    for seed in range(2000):
        sample = draw_sample(scores, 20, config, seed)
        times[sample.chosen] += 1
    for h in range(2):
        inside = sample.strata == h
        rate = np.mean(sample.strata[sample.chosen] == h) * 20 / inside.sum()
        spread = np.sqrt(rate * (1 - rate) / 2000)
        assert np.abs(times[inside] / 2000 - rate).max() < 4.5 * spread


def test_a_larger_sample_holds_the_smaller_one() -> None:
    scores = make_scores(1000)
    small, large = (set(draw_sample(scores, size, CONFIG, 3).chosen) for size in (100, 250))
    assert small < large


def test_an_unfinished_sample_is_spread_over_the_strata() -> None:
    sample = draw_sample(make_scores(300), 200, CONFIG, 3)
    whole = np.bincount(sample.strata[sample.chosen])
    assert whole.max() > 1.5 * whole.min()
    half = np.bincount(sample.strata[sample.chosen[:100]], minlength=len(whole))
    assert (np.abs(half - whole / 2) <= 1).all()


def test_equal_scores_make_a_plain_random_sample() -> None:
    sample = draw_sample(np.full(300, 0.5), 60, CONFIG, 0)
    assert len(sample.chosen) == 60
    assert np.bincount(sample.strata).max() <= 61


def test_seeds_decide() -> None:
    scores = make_scores(500)
    one, same, other = (draw_sample(scores, 50, CONFIG, seed).chosen for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert set(one) != set(other)


@pytest.mark.parametrize(("score", "size"), [(1.5, 10), (-0.1, 10), (np.nan, 10), (0.5, 0)])
def test_what_cannot_be_drawn_is_refused(score: float, size: int) -> None:
    with pytest.raises(InputError):
        draw_sample(np.array([0.5, score]), size, CONFIG, 0)


def test_nothing_to_draw_from_is_an_empty_sample() -> None:
    assert len(draw_sample(np.zeros(0), 10, CONFIG, 0).chosen) == 0
