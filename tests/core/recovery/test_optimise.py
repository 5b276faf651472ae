"""Every fit ends at its optimum or stays at its start, whatever it is given.

The inputs are hostile: saturated, collinear, separable, constant, huge, tiny, with one positive or
with nothing at all. An independent solver (scipy's L-BFGS on the objective written down again
here) says where the optimum is.
"""

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit

from clsl_core.recovery.linear import fit_linear
from clsl_core.recovery.online_update import with_verdicts
from clsl_core.recovery.optimise import Doubles, counting_fits, minimise
from clsl_core.recovery.self_training import to_mean
from clsl_core.recovery.stacking import fit_pooled

COUNT, CATEGORIES, RIDGE, SHRINKAGE = 240, 4, 30.0, 50.0
START = np.array([0.5, 1 / 3, 0.1, 0.0], np.float32)

Inputs = tuple[np.ndarray, np.ndarray]


def saturated(rng: np.random.Generator) -> Inputs:
    """Text logits cut off at ±13.8, as a fixed temperature makes them."""
    truth = rng.random(COUNT) < 0.15
    x = rng.normal(size=(COUNT, 3)) - 3
    x[:, 0] = np.where(rng.random(COUNT) < 0.6, -13.8, np.where(truth, 13.8, -13.7))
    return x, truth


def collinear(rng: np.random.Generator) -> Inputs:
    x = np.repeat(rng.normal(size=(COUNT, 1)), 3, 1) * [1.0, -2.0, 1.0]
    return x, x[:, 0] + rng.normal(size=COUNT) > 0.5


def separable(rng: np.random.Generator) -> Inputs:
    x = rng.normal(size=(COUNT, 3)) * 4
    return x, x[:, 1] > 0


def constant(rng: np.random.Generator) -> Inputs:
    return np.full((COUNT, 3), -6.0), rng.random(COUNT) < 0.3


def huge(rng: np.random.Generator) -> Inputs:
    x = rng.normal(size=(COUNT, 3)) * [1e6, 1.0, 1e4]
    return x, x[:, 0] + 1e6 * rng.normal(size=COUNT) > 0


def tiny(rng: np.random.Generator) -> Inputs:
    x = rng.normal(size=(COUNT, 3)) * 1e-6
    return x, rng.random(COUNT) < 0.3


def one_positive(rng: np.random.Generator) -> Inputs:
    return rng.normal(size=(COUNT, 3)) * 5, np.arange(COUNT) == 7


def contradicted(rng: np.random.Generator) -> Inputs:
    """The start is confident and wrong."""
    x = rng.normal(size=(COUNT, 3)) * 40
    return x, x @ START[:3] < 0


HOSTILE = [saturated, collinear, separable, constant, huge, tiny, one_positive, contradicted]
hostile = pytest.mark.parametrize("make", HOSTILE)
drawn = pytest.mark.parametrize("seed", range(3))


def log_loss(x: Doubles, y: Doubles, w: Doubles, beta: Doubles, offset: Doubles) -> float:
    z = offset + x @ beta
    return float((w * (np.logaddexp(0, z) - y * z)).sum())


def optimum(objective: Callable[[Doubles], float], slope: Callable[[Doubles], Doubles],
            start: Doubles) -> float:  # fmt: skip
    """The least value that an independent solver finds, from two starts."""
    found = [
        minimize(objective, place, jac=slope, method="L-BFGS-B",
                 options={"maxiter": 5000, "maxfun": 50000, "ftol": 1e-15, "gtol": 1e-10}).fun
        for place in (start, np.zeros_like(start))
    ]  # fmt: skip
    return float(min(found))


@hostile
@drawn
def test_stacking_reaches_the_optimum(make: Callable[..., Inputs], seed: int) -> None:
    rng = np.random.default_rng(seed)
    given, truth = make(rng)
    given = given.astype(np.float32)
    weights = rng.uniform(0.1, 40, COUNT).astype(np.float32)
    groups = rng.integers(0, CATEGORIES, COUNT)
    found = fit_pooled(
        given, truth, weights, groups, CATEGORIES, ridge=RIDGE, shrinkage=SHRINKAGE, start=START
    )
    x = np.column_stack([given.astype(np.float64), np.ones(COUNT)])
    scale = np.append(np.maximum(x[:, :-1].std(0), 1e-3), 1.0)
    y, w, none = truth.astype(float), weights.astype(float), np.zeros(COUNT)
    scaled, centre = x / scale, START * scale

    def pooled(beta: Doubles) -> float:
        return log_loss(scaled, y, w, beta, none) + 0.5 * RIDGE * ((beta - centre) ** 2).sum()

    def slope(beta: Doubles) -> Doubles:
        return scaled.T @ (w * (expit(scaled @ beta) - y)) + RIDGE * (beta - centre)

    reached, start = pooled(found.pooled * scale), pooled(centre)
    best = optimum(pooled, slope, centre)
    assert reached <= start * (1 + 1e-6) + 1e-6
    assert reached <= best * (1 + 1e-4) + 1e-3
    offset = scaled @ (found.pooled * scale)
    for c in range(CATEGORIES):
        here = groups == c

        def apart(beta: Doubles, here: np.ndarray = here) -> float:
            return log_loss(scaled[here], y[here], w[here], beta, offset[here]) + (
                0.5 * SHRINKAGE * (beta**2).sum()
            )

        def lean(beta: Doubles, here: np.ndarray = here) -> Doubles:
            z = offset[here] + scaled[here] @ beta
            return scaled[here].T @ (w[here] * (expit(z) - y[here])) + SHRINKAGE * beta

        zero = np.zeros(4)
        mine, least = apart(found.deviations[c] * scale), optimum(apart, lean, zero)
        assert mine <= apart(zero) * (1 + 1e-6) + 1e-6
        assert mine <= least * (1 + 1e-4) + 1e-3


@hostile
@drawn
def test_linear_models_reach_the_optimum(make: Callable[..., Inputs], seed: int) -> None:
    rng = np.random.default_rng(seed)
    given, truth = make(rng)
    given = given / max(
        float(np.sqrt((given**2).sum(1).mean())), 1e-9
    )  # as base models standardise
    w = rng.uniform(0, 1, COUNT)
    x = np.column_stack([given, np.ones(COUNT)])
    y, penalty = truth.astype(float), np.array([0.1, 0.1, 0.1, 1e-2])

    def objective(beta: Doubles) -> float:
        return log_loss(x, y, w, beta, np.zeros(COUNT)) + 0.5 * (penalty * beta**2).sum()

    def slope(beta: Doubles) -> Doubles:
        return x.T @ (w * (expit(x @ beta) - y)) + penalty * beta

    with counting_fits() as counts:
        found = fit_linear(
            torch.from_numpy(given.astype(np.float32)),
            torch.from_numpy(y[:, None].astype(np.float32)),
            torch.from_numpy(w[:, None].astype(np.float32)),
            torch.zeros(COUNT, dtype=torch.int64),
            fold_count=1,
            l2=0.1,
        )[0, :, 0].numpy()
    assert counts["linear models"].kept_at_start == 0
    assert objective(found.astype(float)) <= optimum(objective, slope, np.zeros(4)) * 1.001 + 1e-4


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("away", [0.0, 5.0, 60.0])
def test_an_online_update_reaches_the_optimum(seed: int, away: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(300, 12)).astype(np.float32) / 12**0.5
    logits = (away * rng.normal(size=300) - 2).astype(np.float32)
    places, said = rng.permutation(300)[:40], rng.random(40) < 0.3
    x, y, offset = vectors[places].astype(float), said.astype(float), logits[places].astype(float)

    def objective(beta: Doubles) -> float:
        return log_loss(x, y, np.ones(40), beta, offset) + 0.5 * (beta**2).sum()

    def slope(beta: Doubles) -> Doubles:
        return x.T @ (expit(offset + x @ beta) - y) + beta

    after = with_verdicts(logits, vectors, places, said).astype(float)
    beta = np.linalg.lstsq(vectors.astype(float), after - logits, rcond=None)[0]
    best = optimum(objective, slope, np.zeros(12))
    assert objective(beta) <= best * (1 + 1e-4) + 1e-3


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 300.0])
def test_a_category_is_brought_to_the_mean_believed_of_it(scale: float) -> None:
    rng = np.random.default_rng(0)
    logits = (scale * rng.normal(size=(50, 6))).astype(np.float32)
    believed = rng.uniform(0.001, 0.999, (50, 6)).astype(np.float32)
    judged = rng.random((50, 6)) < 0.7
    judged[:, 5] = False
    moved = to_mean(logits, believed, judged)
    assert moved[5] == 0
    for c in range(5):
        here = judged[:, c]
        mean = expit(logits[here, c].astype(float) + moved[c]).mean()
        assert mean == pytest.approx(believed[here, c].mean(), abs=2e-3)


class Slope:
    """f(x) = -x: it has no least value."""

    def look(self, x: Doubles) -> tuple[Doubles, Doubles]:
        return -x[:, 0], -np.ones_like(x)

    def direction(self, x: Doubles, slopes: Doubles) -> Doubles:
        return slopes


class Wrong:
    """A bowl with a direction that leads uphill, and another that is not a number."""

    def look(self, x: Doubles) -> tuple[Doubles, Doubles]:
        return (x**2).sum(1), 2 * x

    def direction(self, x: Doubles, slopes: Doubles) -> Doubles:
        return np.stack([-100 * slopes[0], np.full(x.shape[1], np.nan)])


def test_what_does_not_converge_is_kept_at_its_start_counted_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = np.array([[3.0], [-2.0]])
    with counting_fits() as counts, caplog.at_level(logging.WARNING):
        found = minimise(Slope(), start, what="a slope")
    assert not found.converged.any()
    np.testing.assert_array_equal(found.x, start)
    np.testing.assert_array_equal(found.end, found.start)
    assert (counts["a slope"].fitted, counts["a slope"].kept_at_start) == (2, 2)
    assert "2 of 2 fits did not converge" in caplog.text


def test_a_direction_that_leads_nowhere_is_replaced_by_the_slope() -> None:
    found = minimise(Wrong(), np.array([[3.0, 1.0], [-2.0, 5.0]]), what="a bowl")
    assert found.converged.all()
    np.testing.assert_allclose(found.x, 0, atol=1e-3)


def test_nothing_to_fit_has_converged() -> None:
    assert minimise(Wrong(), np.zeros((0, 3)), what="nothing").x.shape == (0, 3)
