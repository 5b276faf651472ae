"""Coefficients of agreement against published examples and an independent computation."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clsl_core.statistics.agreement import alpha, cohen, fleiss

# Fleiss 1971, as it is usually printed: 10 subjects, 14 raters, 5 categories; kappa 0.210.
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)
# Krippendorff 2011, section B: two observers, ten units; alpha 0.095.
BINARY = ("0100000000", "1110010010")
# Section C: four observers, twelve units with gaps, nominal; alpha 0.743.
GAPS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")


def counted(*observers: str) -> np.ndarray:
    """How many observers gave each value, by unit; a dot is no value."""
    values = sorted({letter for one in observers for letter in one} - {"."})
    rows = zip(*observers, strict=True)
    return np.array([[unit.count(value) for value in values] for unit in rows])


def test_fleiss_as_published() -> None:
    assert fleiss(FLEISS) == pytest.approx(0.210, abs=0.0005)


def test_alpha_of_two_observers_as_published() -> None:
    assert alpha(counted(*BINARY)) == pytest.approx(0.095, abs=0.0005)


def test_alpha_with_gaps_as_published() -> None:
    assert alpha(counted(*GAPS)) == pytest.approx(0.743, abs=0.0005)


def test_cohen_by_hand() -> None:
    # 20 both yes, 15 both no, 5 and 10 apart: observed 0.7, by chance 0.5, kappa 0.4.
    first = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert cohen(first, second) == pytest.approx(0.4)


verdicts = st.lists(st.lists(st.integers(0, 1), min_size=0, max_size=5), min_size=1, max_size=12)


@given(verdicts)
def test_alpha_is_that_of_all_ordered_pairs(units: list[list[int]]) -> None:
    """Disagreement counted pair by pair, over that of all values thrown together."""
    several = [unit for unit in units if len(unit) > 1]
    together = [value for unit in several for value in unit]
    n = len(together)
    within = sum(
        sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in several
    )
    apart = sum(a != b for a, b in permutations(together, 2))
    found = alpha(np.array([[unit.count(0), unit.count(1)] for unit in units]))
    if apart == 0:
        assert found is None
    else:
        assert found == pytest.approx(1 - (within / n) / (apart / (n * (n - 1))))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=30))
def test_fleiss_of_two_is_scotts_pi(said: list[tuple[int, int]]) -> None:
    ones = sum(a + b for a, b in said) / (2 * len(said))
    chance = ones**2 + (1 - ones) ** 2
    found = fleiss(np.array([[2 - a - b, a + b] for a, b in said]))
    if ones in (0.0, 1.0):
        assert found is None
    else:
        same = sum(a == b for a, b in said) / len(said)
        assert found == pytest.approx((same - chance) / (1 - chance))


def test_nothing_to_tell() -> None:
    nothing = np.zeros((0, 2), int)
    assert (cohen([], []), fleiss(nothing), alpha(nothing)) == (None, None, None)
    assert cohen([1, 1], [1, 1]) is None


@pytest.mark.parametrize("rows", [[[1, 0]], [[2, 0], [1, 2]]])
def test_fleiss_needs_as_many_verdicts_everywhere(rows: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="same number"):
        fleiss(np.array(rows))
