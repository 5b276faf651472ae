"""Stratified parts: everyone in one, rare categories in each, the same pictures together."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.errors import InputError
from clsl_core.statistics.iterative_stratification import (
    FREE,
    counts,
    deviation,
    iterative_split,
    random_parts,
)

SHARES = (0.8, 0.1, 0.1)


def long_tailed(images: int, categories: int, seed: int) -> npt.NDArray[np.int64]:
    """(P, 2) positives: the k-th category in about one of k + 2 images."""
    rng = np.random.default_rng(seed)
    chance = 0.5 / (1 + np.arange(categories)) ** 1.1
    return np.argwhere(rng.random((images, categories)) < chance)


def test_rare_categories_are_in_every_part_where_chance_fails() -> None:
    pairs = long_tailed(1000, 40, 0)
    ours = [deviation(iterative_split(1000, pairs, SHARES, s), pairs, SHARES) for s in range(5)]
    chance = [deviation(random_parts(1000, SHARES, s), pairs, SHARES) for s in range(20)]
    assert max(ours) < 0.5 * min(chance)
    parts = iterative_split(1000, pairs, SHARES, 0)
    assert np.abs(np.bincount(parts) - np.array([800, 100, 100])).max() <= 10
    often = np.bincount(pairs[:, 1]) >= 10
    assert (counts(parts, pairs, 3)[:, often] >= 1).all()


def test_a_small_case_by_hand() -> None:
    """Two of each category, two halves: each half gets one of each."""
    pairs = np.array([[0, 0], [1, 0], [2, 1], [3, 1]])
    for seed in range(10):
        table = counts(iterative_split(4, pairs, (0.5, 0.5), seed), pairs, 2)
        assert table.tolist() == [[1, 1], [1, 1]]


@st.composite
def problems(draw: st.DrawFn) -> tuple[int, npt.NDArray[np.int64], list[float], list[int]]:
    images = draw(st.integers(0, 40))
    cells = st.tuples(st.integers(0, max(images - 1, 0)), st.integers(0, 5))
    found = draw(st.lists(cells, unique=True, max_size=80)) if images else []
    weights = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    groups = draw(st.lists(st.integers(0, 10), min_size=images, max_size=images))
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return images, pairs, [weight / sum(weights) for weight in weights], groups


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(0, 3))
def test_every_image_is_in_one_part_and_groups_stay_together(
    problem: tuple[int, npt.NDArray[np.int64], list[float], list[int]], seed: int
) -> None:
    images, pairs, shares, groups = problem
    together = np.array(groups, np.int64)
    parts = iterative_split(images, pairs, shares, seed, groups=together)
    assert parts.shape == (images,)
    assert ((parts >= 0) & (parts < len(shares))).all()
    for group in set(groups):
        assert len(set(parts[together == group].tolist())) == 1
    again = iterative_split(images, pairs, shares, seed, groups=together)
    assert again.tolist() == parts.tolist()
    fixed = np.where(np.arange(images) % 3 == 0, parts, FREE)
    kept = iterative_split(images, pairs, shares, seed + 1, groups=together, fixed=fixed)
    assert (kept[fixed != FREE] == fixed[fixed != FREE]).all()
    for group in set(groups):
        assert len(set(kept[together == group].tolist())) == 1


def test_images_that_are_in_a_part_stay_and_the_others_fill_up() -> None:
    pairs = long_tailed(600, 10, 1)
    fixed = np.full(600, FREE)
    fixed[:100] = 1
    parts = iterative_split(600, pairs, (0.5, 0.5), 0, fixed=fixed)
    assert (parts[:100] == 1).all()
    assert abs(int((parts == 0).sum()) - 300) <= 5


@pytest.mark.parametrize("shares", [(), (0.5, 0.4), (1.2, -0.2), (1.0, 0.0)])
def test_shares_must_be_shares(shares: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="1 together"):
        iterative_split(3, np.zeros((0, 2), np.int64), shares, 0)
