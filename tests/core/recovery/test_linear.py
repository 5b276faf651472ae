"""Logistic regressions agree with scikit-learn; rare categories are shrunk to the pooled fit."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from clsl_core.recovery.linear import PooledLogistic, fit_linear, fit_pooled


def make_problem(count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    beta = np.array([[1.5, -1, 0, 0.5], [0, 2, -1, 0]]).T
    y = (rng.random((count, 2)) < 1 / (1 + np.exp(-(x @ beta) + 1))).astype(np.float32)
    return x, y, rng.uniform(0.2, 1, (count, 2)).astype(np.float32)


def test_one_fold_agrees_with_scikit_learn() -> None:
    x, y, w = make_problem()
    folds = torch.zeros(len(x), dtype=torch.int64)
    beta = fit_linear(*(torch.from_numpy(a) for a in (x, y, w)), folds, fold_count=1, l2=2.0)
    for c in range(2):
        model = LogisticRegression(C=0.5, tol=1e-8, max_iter=1000).fit(x, y[:, c], w[:, c])
        expected = np.append(model.coef_[0], model.intercept_)
        np.testing.assert_allclose(beta[0, :, c].numpy(), expected, atol=0.02)


def test_a_fold_is_fitted_without_its_images() -> None:
    x, y, w = (torch.from_numpy(a) for a in make_problem())
    folds = torch.arange(len(x)) % 3
    before = fit_linear(x, y, w, folds, fold_count=3, l2=1.0)
    changed = torch.where((folds == 1).unsqueeze(1), 1 - y, y)
    after = fit_linear(x, changed, w, folds, fold_count=3, l2=1.0)
    torch.testing.assert_close(before[1], after[1])
    assert not torch.allclose(before[0], after[0])


def test_every_step_can_be_interrupted() -> None:
    x, y, w = (torch.from_numpy(a) for a in make_problem(20))
    calls = []
    folds = torch.zeros(20, dtype=torch.int64)
    fit_linear(x, y, w, folds, fold_count=1, l2=1.0, tick=lambda: calls.append(1))
    assert len(calls) >= 3


def fit(shrinkage: float, categories: np.ndarray, x: np.ndarray, y: np.ndarray) -> PooledLogistic:
    weights = np.ones(len(x), np.float32)
    return fit_pooled(x, y > 0, weights, categories, 3, ridge=1e-6, shrinkage=shrinkage)


def test_the_pooled_fit_agrees_with_scikit_learn() -> None:
    x, y, _ = make_problem()
    found = fit(1e9, np.zeros(len(x), np.int64), x, y[:, 0])
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(x, y[:, 0])
    expected = np.append(model.coef_[0], model.intercept_)
    np.testing.assert_allclose(found.pooled, expected, rtol=2e-2, atol=1e-2)
    np.testing.assert_allclose(found.deviations, 0, atol=1e-5)


def reversed_category(count: int, shrinkage: float) -> PooledLogistic:
    """Category 0 rises with x in 1000 entries; category 1 falls with it in ``count``."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000 + count, 1)).astype(np.float32)
    categories = np.repeat([0, 1], [1000, count])
    rises = rng.random(1000 + count) < 1 / (1 + np.exp(-2 * x[:, 0]))
    return fit(shrinkage, categories, x, np.where(categories == 0, rises, ~rises))


def test_the_more_a_category_has_to_say_the_more_it_deviates() -> None:
    slopes = [reversed_category(count, 10.0).weights[1, 0] for count in (3, 30, 300)]
    assert slopes[0] > slopes[1] > 0 > slopes[2]

    assert (reversed_category(30, 10.0).deviations[2] == 0).all()
    assert reversed_category(30, 100.0).weights[1, 0] > slopes[1]


def test_nothing_to_learn_from_leaves_the_start_as_it_is() -> None:
    start = np.array([0.5, -1.0, 2.0], np.float32)
    found = fit_pooled(
        np.zeros((0, 2), np.float32),
        np.zeros(0, bool),
        np.zeros(0, np.float32),
        np.zeros(0, np.int64),
        3,
        ridge=1.0,
        shrinkage=1.0,
        start=start,
    )
    np.testing.assert_allclose(found.pooled, start)
    np.testing.assert_allclose(found.deviations, 0)


def test_apply_weighs_the_inputs_of_each_category() -> None:
    map_ = PooledLogistic(
        np.array([1.0, 2.0, 3.0], np.float32),
        np.array([[0, 0, 0], [1, 0, -3]], np.float32),
    )
    inputs = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    expected = np.stack(
        [inputs[0, :, 0] + 2 * inputs[1, :, 0] + 3, 2 * inputs[0, :, 1] + 2 * inputs[1, :, 1]], 1
    )
    np.testing.assert_allclose(map_.apply(inputs), expected)


def test_weights_count_like_repeated_entries() -> None:
    x, y, _ = make_problem(80)
    once = fit_pooled(
        x, y[:, 0] > 0, np.full(80, 2, np.float32), np.zeros(80, np.int64), 1, ridge=1, shrinkage=1
    )
    twice = fit_pooled(
        np.tile(x, (2, 1)),
        np.tile(y[:, 0] > 0, 2),
        np.ones(160, np.float32),
        np.zeros(160, np.int64),
        1,
        ridge=1,
        shrinkage=1,
    )
    assert once.pooled == pytest.approx(twice.pooled, rel=1e-4)


def test_categories_are_fitted_in_parts_when_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator)
    targets = (torch.rand(60, 7, generator=generator) < 0.3).float()
    folds = torch.arange(60) % 2
    arguments = (x, targets, torch.ones_like(targets), folds)
    whole = fit_linear(*arguments, fold_count=2, l2=1.0)
    softplus, most = torch.nn.functional.softplus, []

    def tight(z: torch.Tensor) -> torch.Tensor:
        if z.shape[1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        most.append(z.shape[1])
        return softplus(z)

    monkeypatch.setattr(torch.nn.functional, "softplus", tight)
    parts = fit_linear(*arguments, fold_count=2, l2=1.0)
    assert set(most) == {1}  # 7, 3, 1
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-3)
