"""Instant updates against an independent fit, and what they must do to the order."""

import numpy as np
import pytest
from scipy.optimize import minimize

from clsl_core.recovery.online_update import MOST_VERDICTS, with_verdicts

N, D = 60, 5


@pytest.fixture
def collection() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(N, D)).astype(np.float32) / np.sqrt(D)
    return rng.normal(-1, 1, N).astype(np.float32), vectors


@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
def test_it_is_a_penalised_logistic_regression_with_an_offset(
    collection: tuple[np.ndarray, np.ndarray], spread: float
) -> None:
    logits, vectors = collection
    places = np.array([3, 17, 20, 41, 5])
    present = np.array([True, False, True, False, False])

    def loss(weights: np.ndarray) -> float:
        z = logits[places] + vectors[places] @ weights
        misfit = np.logaddexp(0, np.where(present, -z, z)).sum()
        return float(misfit + (weights**2).sum() / (2 * spread))

    best = minimize(loss, np.zeros(D), tol=1e-12).x
    found = with_verdicts(logits, vectors, places, present, spread=spread)
    np.testing.assert_allclose(found, logits + vectors @ best, atol=2e-3)


def test_without_verdicts_nothing_moves(collection: tuple[np.ndarray, np.ndarray]) -> None:
    logits, vectors = collection
    nothing = np.zeros(0, np.int64)
    np.testing.assert_array_equal(
        with_verdicts(logits, vectors, nothing, nothing.astype(bool)), logits
    )


@pytest.mark.parametrize("said", [True, False])
def test_what_looks_alike_follows_a_surprising_verdict(said: bool) -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [-1, 0]], np.float32)
    logits = np.full(4, -3.0 if said else 3.0, np.float32)
    moved = with_verdicts(logits, vectors, np.array([0]), np.array([said])) - logits
    assert abs(moved[1]) > 0.5 > abs(moved[2])
    assert np.sign(moved[1]) == (1 if said else -1) == -np.sign(moved[3])


def test_what_was_expected_teaches_little() -> None:
    vectors = np.ones((3, 1), np.float32)
    logits = np.array([6, -1, -1], np.float32)
    moved = with_verdicts(logits, vectors, np.array([0]), np.array([True])) - logits
    assert np.abs(moved).max() < 0.01


def test_only_the_latest_verdicts_count(collection: tuple[np.ndarray, np.ndarray]) -> None:
    logits, vectors = collection
    rng = np.random.default_rng(0)
    places = rng.integers(0, N, MOST_VERDICTS + 40)
    present = rng.random(len(places)) < 0.5
    late = with_verdicts(logits, vectors, places[40:], present[40:])
    np.testing.assert_array_equal(with_verdicts(logits, vectors, places, present), late)
    assert np.isfinite(late).all()


def test_half_precision_vectors_do(collection: tuple[np.ndarray, np.ndarray]) -> None:
    logits, vectors = collection
    places, present = np.array([1, 2, 3]), np.array([True, True, False])
    full = with_verdicts(logits, vectors, places, present)
    half = with_verdicts(logits, vectors.astype(np.float16), places, present)
    np.testing.assert_allclose(half, full, atol=0.02)
