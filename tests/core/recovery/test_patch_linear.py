"""Linear models on patches: small things count, folds are left out, runs repeat."""

import numpy as np
import pytest

from clsl_core.features import FeatureView
from clsl_core.recovery.patch_linear import PatchConfig, PatchModels, fit_patches, patch_logits
from clsl_core.statistics.metrics import mean_average_precision
from tests.core.synthetic import make_collection

COLLECTION = make_collection()
CONFIG = PatchConfig(steps=60, learning_rate=0.2)
ALL = np.arange(120)
ONE, ZERO = np.ones(10, np.float32), np.zeros(10, np.float32)


def fit(
    targets: np.ndarray,
    weights: np.ndarray,
    folds: np.ndarray | None = None,
    config: PatchConfig = CONFIG,
    seed: int = 0,
) -> PatchModels:
    return fit_patches(
        COLLECTION.features,
        ZERO,
        ONE,
        targets.astype(np.float32),
        weights.astype(np.float32),
        config,
        folds=folds,
        seed=seed,
        device="cpu",
    )


def logits(models: PatchModels, config: PatchConfig = CONFIG) -> np.ndarray:
    return patch_logits(models, COLLECTION.features, ALL, ZERO, ONE, config, device="cpu")


def test_what_shows_in_few_patches_is_found() -> None:
    known = ALL < 80
    weights = np.repeat(known[:, None], 4, 1)
    models = fit(COLLECTION.truth > 0, weights)
    scores = logits(models)[0, ~known]
    assert mean_average_precision(COLLECTION.truth[~known], scores) > 0.8


def test_the_logit_is_the_softmax_weighted_mean_of_the_patches() -> None:
    rng = np.random.default_rng(0)
    models = PatchModels(
        rng.normal(size=(2, 10, 3)).astype(np.float32), rng.normal(size=(2, 3)).astype(np.float32)
    )
    tokens = COLLECTION.features.tokens(ALL).astype(np.float32)
    r = np.einsum("npd,kdc->knpc", tokens, models.weights)
    share = np.exp(0.7 * r) / np.exp(0.7 * r).sum(2, keepdims=True)
    expected = (share * r).sum(2) + models.bias[:, None]
    np.testing.assert_allclose(logits(models), expected, atol=1e-4)


def test_a_fold_is_not_learned_from() -> None:
    folds = ALL % 3
    weights = np.ones((120, 4))
    before = fit(COLLECTION.truth > 0, weights, folds)
    changed = np.where((folds == 1)[:, None], COLLECTION.truth < 0, COLLECTION.truth > 0)
    after = fit(changed, weights, folds)
    np.testing.assert_array_equal(before.weights[1], after.weights[1])
    assert not np.array_equal(before.weights[0], after.weights[0])


def test_entries_without_weight_teach_nothing() -> None:
    weights = np.ones((120, 4))
    weights[:40, 2] = 0
    changed = COLLECTION.truth.copy()
    changed[:40, 2] *= -1
    np.testing.assert_array_equal(
        fit(COLLECTION.truth > 0, weights).weights, fit(changed > 0, weights).weights
    )


@pytest.mark.parametrize("batch_size", [16, 512])
def test_the_same_seed_gives_the_same_model(batch_size: int) -> None:
    config = PatchConfig(steps=20, batch_size=batch_size)
    weights = np.ones((120, 4))
    one, two = (fit(COLLECTION.truth > 0, weights, config=config) for _ in range(2))
    np.testing.assert_array_equal(one.weights, two.weights)
    other = fit(COLLECTION.truth > 0, weights, config=config, seed=1)
    assert np.array_equal(one.weights, other.weights) == (batch_size == 512)


def test_small_batches_learn_the_same_thing() -> None:
    weights = np.ones((120, 4))
    whole = fit(COLLECTION.truth > 0, weights)
    parts = fit(COLLECTION.truth > 0, weights, config=PatchConfig(60, 32, 0.2))
    a, b = logits(whole)[0].ravel(), logits(parts)[0].ravel()
    assert np.corrcoef(a, b)[0, 1] > 0.9


def test_many_categories_go_through_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    models = fit(COLLECTION.truth > 0, np.ones((120, 4)))
    expected = logits(models)
    monkeypatch.setattr("clsl_core.recovery.patch_linear._ELEMENTS", 9 * 4 * 5)
    np.testing.assert_allclose(logits(models), expected, atol=1e-5)


def test_nothing_known_gives_a_model_all_the_same() -> None:
    models = fit(np.zeros((120, 4)), np.zeros((120, 4)), ALL % 3)
    assert np.isfinite(logits(models)).all()


def test_it_can_be_cancelled() -> None:
    def tick() -> None:
        raise KeyboardInterrupt

    features = FeatureView.from_arrays(np.ones((4, 1, 2)))
    flat = np.ones((4, 1), np.float32)
    with pytest.raises(KeyboardInterrupt):
        fit_patches(
            features,
            ZERO[:2],
            ONE[:2],
            flat,
            flat,
            CONFIG,
            folds=None,
            seed=0,
            device="cpu",
            tick=tick,
        )
