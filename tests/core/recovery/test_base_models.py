"""The base models: none of them sees an entry's own label, and images know themselves again."""

from dataclasses import replace

import numpy as np
import pytest

from clsl_core.recovery.base_models import (
    BaseModelConfig,
    BaseModels,
    Context,
    cross_fitted,
    fit_base_models,
    logit,
)
from clsl_core.recovery.identity import digests_of, pair_draws, recognise
from clsl_core.recovery.patch_linear import patch_logits
from tests.core.synthetic import SMALL, make_collection

COLLECTION = make_collection()
NAMES = ("prior", "vote", "linear", "patches", "together")


def look(
    labels: np.ndarray, config: BaseModelConfig = SMALL.base_models
) -> tuple[BaseModels, Context]:
    pooled = COLLECTION.features.pooled()
    digests = digests_of(pooled)
    features = COLLECTION.features
    base_models = fit_base_models(
        features, digests, labels, config, unknown_weight=1.0, seed=0, device="cpu"
    )
    itself = recognise(digests, base_models.memory_digests)
    neighbours = base_models.neighbours(pooled, itself)
    context = Context(
        pooled=pooled,
        digests=digests,
        itself=itself,
        known=labels,
        learned=labels != 0,
        neighbours=neighbours,
        alike=base_models.alike(pooled, itself, neighbours, 7),
        patches=patch_logits(
            base_models.patch_models,
            features,
            np.arange(len(features)),
            base_models.token_centre,
            base_models.token_scale,
            config.patches,
            device="cpu",
        ),
        text=None,
    )
    return base_models, context


def test_every_base_model_but_the_prior_finds_hidden_positives() -> None:
    labels = COLLECTION.positives_only()
    base_models, context = look(labels)
    values = base_models.values(context)
    unknown = labels == 0
    for name in ("vote", "linear", "patches"):
        scores = values[NAMES.index(name)]
        present, absent = (scores[unknown & (COLLECTION.truth == s)] for s in (1, -1))
        assert np.mean(present[:, None] > absent[None]) > 0.75  # area under the ROC curve
    assert base_models.names(text=False) == NAMES


@pytest.mark.parametrize("name", ["vote", "linear", "patches", "together"])
def test_an_images_own_label_changes_nothing_for_that_entry_but_the_prior(name: str) -> None:
    labels = COLLECTION.positives_only()
    row, column = np.argwhere(labels > 0)[5]
    without = labels.copy()
    without[row, column] = -1
    config = replace(SMALL.base_models, vote_prior=1e-6)  # the vote's prior is allowed to know
    place = NAMES.index(name)
    seen, unseen = (
        base_models.values(context)[place][row, column]
        for base_models, context in (look(y, config) for y in (labels, without))
    )
    if name == "together":  # its counts know; cross-fitting takes them out
        folds = np.zeros(labels.shape, np.int8)
        folds[row, column] = 1
        seen, unseen = (
            cross_fitted(base_models, context, y, folds)[place][row, column]
            for y, (base_models, context) in ((y, look(y, config)) for y in (labels, without))
        )
    assert seen == pytest.approx(unseen, abs=1e-4)


def test_cross_fitting_depends_on_no_label_of_the_fold() -> None:
    labels = COLLECTION.positives_only()
    folds = np.random.default_rng(0).integers(0, 3, labels.shape).astype(np.int8)
    base_models, context = look(labels)
    before = cross_fitted(base_models, context, labels, folds)
    changed = np.where(folds == 1, -labels, labels)
    after = cross_fitted(base_models, context, changed, folds)
    np.testing.assert_array_equal(before[:, folds == 1], after[:, folds == 1])
    assert not np.array_equal(before[:, folds == 0], after[:, folds == 0])


def test_only_labelled_images_vote_and_none_for_itself() -> None:
    labels = COLLECTION.mixed(0.9)
    labels[::3] = 0
    _, context = look(labels)
    weights = context.neighbours.toarray()
    assert (np.diag(weights) == 0).all()
    assert not weights[:, ::3].any()
    assert ((weights > 0).sum(1) >= SMALL.base_models.neighbours).all()
    assert weights.max() == pytest.approx(1.0)


def test_images_alike_are_the_nearest_labelled_or_not() -> None:
    some, every = COLLECTION.mixed(0.9), COLLECTION.truth
    some[::3] = 0
    found = [look(labels)[1].alike.toarray() for labels in (some, every)]
    np.testing.assert_array_equal(found[0] > 0, found[1] > 0)  # the second from the vote's own
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    assert (np.diag(found[0]) == 0).all()
    assert found[0][:, ::3].any()
    assert ((found[0] > 0).sum(1) == 7).all()


def test_the_vote_is_the_weighted_share_of_the_neighbours() -> None:
    labels = COLLECTION.mixed(0.5)
    base_models, context = look(labels)
    strength, prior = SMALL.base_models.vote_prior, base_models.prior
    weights = context.neighbours.toarray()
    positive = weights @ (base_models.memory_labels > 0)
    expected = (positive + strength * prior) / (weights.sum(1, keepdims=True) + strength)
    np.testing.assert_allclose(
        base_models.values(context)[NAMES.index("vote")], logit(expected), rtol=1e-3, atol=1e-3
    )


def test_labels_that_go_together_vouch_for_each_other() -> None:
    labels = np.zeros((40, 3), np.int8)
    labels[:20, :2] = 1
    labels[20:, 2] = 1
    features = COLLECTION.features
    labels = np.concatenate([labels, np.zeros((80, 3), np.int8)])
    digests = digests_of(features.pooled())
    base_models = fit_base_models(
        features, digests, labels, SMALL.base_models, unknown_weight=1.0, seed=0, device="cpu"
    )
    assert base_models.together[0, 1] > 0.3
    assert base_models.together[0, 2] < -0.3
    assert (np.diag(base_models.together) == 0).all()


def test_one_label_per_image_says_nothing_about_what_goes_together() -> None:
    labels = np.zeros((120, 4), np.int8)
    labels[np.arange(120), np.arange(120) % 4] = 1
    assert not look(labels)[0].together.any()


def test_strangers_have_no_place_and_copies_keep_theirs_apart() -> None:
    known = np.array([7, 9, 7, 5])
    assert recognise(np.array([7, 1, 7, 5, 7]), known).tolist() == [0, -1, 2, 3, -1]


def test_digests_are_stable_and_tell_images_apart() -> None:
    pooled = COLLECTION.features.pooled()
    digests = digests_of(pooled)
    assert len(set(digests.tolist())) == len(pooled)
    assert (digests >= 0).all()
    np.testing.assert_array_equal(digests, digests_of(pooled.astype(np.float16)))


def test_draws_are_uniform_and_belong_to_the_pair() -> None:
    digests = digests_of(COLLECTION.features.pooled())
    draws = pair_draws(digests, 30, seed=1)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert draws.mean() == pytest.approx(0.5, abs=0.02)
    assert np.corrcoef(draws[:, 0], draws[:, 1])[0, 1] == pytest.approx(0, abs=0.25)
    np.testing.assert_array_equal(draws[::-1, :10], pair_draws(digests[::-1], 10, seed=1))
    assert (draws != pair_draws(digests, 30, seed=2)).mean() > 0.99


def test_the_penalty_is_chosen_by_left_out_images() -> None:
    labels = COLLECTION.positives_only()
    bad, good = (look(labels, replace(SMALL.base_models, linear_l2=(l2,)))[0] for l2 in (1e4, 0.3))
    chosen = look(labels, replace(SMALL.base_models, linear_l2=(1e4, 0.3)))[0]
    np.testing.assert_allclose(chosen.linear, good.linear, atol=0.01)  # from another start
    assert not np.allclose(chosen.linear, bad.linear, atol=0.1)
