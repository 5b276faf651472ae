"""Self-trained models learn from what is believed of unknown entries; joined by their share."""

from dataclasses import replace

import numpy as np
import pytest

from clsl_core.features import FeatureView
from clsl_core.recovery.base_models import BaseModels, Context, fit_base_models
from clsl_core.recovery.identity import digests_of, recognise
from clsl_core.recovery.model import read_context
from clsl_core.recovery.neighbours import similarity_graph, spread_labels
from clsl_core.recovery.self_training import (
    SelfTraining,
    SelfTrainingConfig,
    fit_joint,
    fit_self_training,
    plain_joint,
)
from clsl_core.statistics.metrics import mean_average_precision
from tests.core.synthetic import SMALL, make_collection

COLLECTION = make_collection()
POOLED = COLLECTION.features.pooled()
ROWS = np.arange(len(POOLED))
ALONE = SelfTrainingConfig(voters=0, reach=0.0)


def looked(labels: np.ndarray) -> BaseModels:
    return fit_base_models(
        COLLECTION.features,
        digests_of(POOLED),
        labels,
        SMALL.base_models,
        unknown_weight=0.0,
        seed=0,
        device="cpu",
    )


def context_of(
    base_models: BaseModels, features: FeatureView, config: SelfTrainingConfig
) -> tuple[Context, np.ndarray]:
    pooled = features.pooled()
    itself = recognise(digests_of(pooled), base_models.memory_digests)
    rows = np.arange(len(pooled))
    context = read_context(
        None,
        base_models,
        features,
        pooled,
        itself,
        rows,
        alike=config.alike,
        device="cpu",
        tick=list,
    )
    return context, rows


def fitted(
    labels: np.ndarray, believed: np.ndarray, config: SelfTrainingConfig
) -> tuple[BaseModels, SelfTraining]:
    base_models, believed = looked(labels), believed.astype(np.float32)
    self_training = fit_self_training(
        base_models, COLLECTION.features, POOLED, labels, believed, config, seed=0, device="cpu"
    )
    context, _ = context_of(base_models, COLLECTION.features, config)
    return base_models, self_training.after(context, labels, believed, config)


def self_trained(
    labels: np.ndarray,
    believed: np.ndarray,
    config: SelfTrainingConfig,
    features: FeatureView = COLLECTION.features,
) -> np.ndarray:
    base_models, self_training = fitted(labels, believed, config)
    context, rows = context_of(base_models, features, config)
    return self_training.logits(base_models, features, rows, context, config, "cpu")


def some() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, COLLECTION.truth.shape).astype(np.int8)
    return labels, rng.random(labels.shape)


def test_they_learn_from_beliefs_what_labels_do_not_say() -> None:
    labels = COLLECTION.mixed(0.05)
    unknown = labels == 0
    good = np.where(COLLECTION.truth > 0, 0.9, 0.1)
    blind = np.full(labels.shape, 0.5)

    def quality(believed: np.ndarray) -> float:
        scores = self_trained(labels, believed, ALONE)
        return mean_average_precision(np.where(unknown, COLLECTION.truth, 0), scores)

    assert quality(good) > quality(blind) + 0.05


def test_known_labels_are_not_overruled_by_beliefs() -> None:
    labels = COLLECTION.truth
    agree, contradict = (
        self_trained(labels, np.where(labels * sign > 0, 1.0, 0.0), SelfTrainingConfig())
        for sign in (1, -1)
    )
    np.testing.assert_array_equal(agree, contradict)


def test_a_vote_on_beliefs() -> None:
    """Each image's nearest others, counted one by one."""
    labels, believed = some()
    config = replace(ALONE, voters=7, vote_prior=0.5)
    vote = 3 * self_trained(labels, believed, config) - 2 * self_trained(labels, believed, ALONE)
    heard = np.where(labels != 0, labels > 0, believed)
    x = looked(labels).standardise(POOLED)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for row in range(0, len(x), 10):
        cosine = x @ x[row]
        cosine[row] = -np.inf
        best = np.argsort(-cosine)[:7]
        weight = np.exp((cosine[best] - cosine[best[0]]) / SMALL.base_models.vote_temperature)
        share = (weight @ heard[best] + 0.5 * heard.mean(0)) / (weight.sum() + 0.5)
        expected = np.log(share / (1 - share))
        np.testing.assert_allclose(vote[row], expected, atol=0.02)


def test_what_spread_to_an_image_counts_and_a_stranger_asks_those_like_it() -> None:
    labels, believed = some()
    config = replace(ALONE, reach=0.8, steps_to=5)
    base_models, _ = fitted(labels, believed, config)
    context, _ = context_of(base_models, COLLECTION.features, config)
    presence = np.where(labels != 0, labels > 0, believed).astype(np.float32)
    trust = np.where(labels != 0, 1.0, config.believed_sent).astype(np.float32)
    arrived = spread_labels(
        similarity_graph(context.alike), presence, trust, 0.8, config.spread_prior
    )
    strangers = COLLECTION.features.pooled()[:9] + np.float32(1e-2)
    moved = FeatureView.from_arrays(
        COLLECTION.features.tokens(ROWS[:9]), strangers, COLLECTION.features.grid
    )
    for features in (COLLECTION.features, moved):
        there, rows = context_of(base_models, features, config)
        found = 3 * self_trained(labels, believed, config, features)
        found -= 2 * self_trained(labels, believed, ALONE, features)
        weight = there.alike.toarray()
        share = weight @ arrived / weight.sum(1, keepdims=True)
        share = arrived if features is COLLECTION.features else share
        assert (there.itself >= 0).all() == (features is COLLECTION.features)
        np.testing.assert_allclose(found[rows], np.log(share / (1 - share)), atol=0.02)


def test_known_labels_alone_spread_where_beliefs_count_for_nothing() -> None:
    labels, believed = some()
    config = replace(ALONE, reach=0.8, believed_sent=1e-6)
    _, one = fitted(labels, believed, config)
    _, other = fitted(labels, 1 - believed, config)
    np.testing.assert_allclose(one.arrived, other.arrived, atol=1e-3)


def test_how_many_similar_images_are_asked_for() -> None:
    assert SelfTrainingConfig(share=0.0).alike == 0
    assert SelfTrainingConfig(voters=0).alike == SelfTrainingConfig().steps_to
    assert ALONE.alike == 0


def test_self_trained_models_order_and_both_set_the_level() -> None:
    rng = np.random.default_rng(3)
    stacked = rng.normal(-2, 1, (200, 3)).astype(np.float32)
    self_trained = (3 * rng.normal(size=stacked.shape) + [4, 0, -4]).astype(np.float32)
    labels = rng.choice(np.array([-1, 0, 1], np.int8), stacked.shape)
    unknown, believed = labels == 0, 1 / (1 + np.exp(-stacked))
    config = SelfTrainingConfig(share=1.0, level=0.0)
    joined = fit_joint(stacked, self_trained, labels, believed, 0.0, config).apply(
        np.stack([stacked, self_trained])
    )
    np.testing.assert_array_equal(joined.argsort(0), self_trained.argsort(0))
    for c in range(3):
        one, other = joined[unknown[:, c], c], stacked[unknown[:, c], c]
        assert one.mean() == pytest.approx(other.mean(), abs=0.01)
        assert one.std() == pytest.approx(max(other.std(), 0.5 * self_trained[:, c].std()), rel=0.1)


def test_self_trained_models_alone_are_brought_to_the_believed_mean() -> None:
    rng = np.random.default_rng(4)
    stacked, self_trained = (rng.normal(size=(300, 2)).astype(np.float32) for _ in range(2))
    labels = np.zeros(stacked.shape, np.int8)
    believed = np.broadcast_to(np.array([0.05, 0.4], np.float32), stacked.shape)
    config = SelfTrainingConfig(share=1.0, level=1.0)
    joined = fit_joint(stacked, self_trained, labels, believed, 0.0, config).apply(
        np.stack([stacked, self_trained])
    )
    np.testing.assert_allclose((1 / (1 + np.exp(-joined))).mean(0), [0.05, 0.4], atol=1e-3)
    np.testing.assert_allclose(joined.std(0), self_trained.std(0), rtol=1e-3)


def test_base_models_have_a_say_in_the_order_where_unknown_entries_stand_for_negatives() -> None:
    rng = np.random.default_rng(5)
    stacked, self_trained = (rng.normal(size=(300, 2)).astype(np.float32) for _ in range(2))
    labels, believed = np.zeros(stacked.shape, np.int8), 1 / (1 + np.exp(-stacked))

    def agreement(unknown_weight: float) -> float:
        joint = fit_joint(
            stacked, self_trained, labels, believed, unknown_weight, SelfTrainingConfig()
        )
        joined = joint.apply(np.stack([stacked, self_trained]))
        return float(np.corrcoef(joined[:, 0], stacked[:, 0])[0, 1])

    assert agreement(0.0) < 0.1 < agreement(0.5) < agreement(1.0) < 0.5


def test_where_everything_is_known_nothing_moves() -> None:
    stacked, self_trained = np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32)
    labels = np.ones((4, 2), np.int8)
    joint = fit_joint(stacked, self_trained, labels, stacked, 1.0, SelfTrainingConfig(share=0.25))
    assert np.isfinite(joint.weights).all()
    np.testing.assert_allclose(plain_joint(0.25, 2).apply(np.stack([stacked, self_trained])), 0.25)
