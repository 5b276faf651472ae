"""Logistic regressions agree with scikit-learn, fold by fold."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from clsl_core.recovery.linear import fit_linear


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
