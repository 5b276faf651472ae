"""Label correlation: relatives lend, companions vouch, no label speaks for its own entry."""

import numpy as np
import pytest

from clsl_core.recovery.label_correlation import (
    LabelCorrelation,
    LabelCorrelationConfig,
    fit_label_correlation,
    no_label_correlation,
)
from clsl_core.recovery.label_graph import similar_categories

RNG = np.random.default_rng(0)
NOTHING = LabelCorrelationConfig(borrowed=0.0, together=0.0, known_together=0.0)


def fit(
    logits: np.ndarray,
    labels: np.ndarray,
    vectors: np.ndarray | None = None,
    config: LabelCorrelationConfig = NOTHING,
    lift: np.ndarray | None = None,
) -> LabelCorrelation:
    count = labels.shape[1]
    known_lift = np.zeros((count, count), np.float32) if lift is None else lift
    return fit_label_correlation(
        logits.astype(np.float32), labels.astype(np.int8), vectors, known_lift, config
    )


def test_the_neutral_correlation_changes_nothing() -> None:
    logits = RNG.normal(size=(5, 3)).astype(np.float32)
    labels = RNG.choice(np.array([-1, 0, 1], np.int8), (5, 3))
    np.testing.assert_array_equal(no_label_correlation(3).apply(logits, labels), logits)
    np.testing.assert_allclose(fit(logits, labels).apply(logits, labels), logits)


def test_a_category_without_positives_borrows_from_its_like_and_from_nothing_else() -> None:
    vectors = np.array([[1, 0, 0], [0.95, 0.1, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    logits = RNG.normal(size=(200, 4))
    labels = np.zeros((200, 4))
    labels[:100, 1:] = 1
    config = LabelCorrelationConfig(together=0.0, known_together=0.0)
    got = fit(logits, labels, vectors, config).apply(logits.astype(np.float32), labels)
    moved = got - logits
    relative = logits[:, 1] - logits[:, 1].mean()
    assert np.corrcoef(moved[:, 0], relative)[0, 1] > 0.99
    assert moved[:, 0].std() > 0.8
    assert moved[:, 1].std() < 0.1 * moved[:, 0].std()  # it knows a hundred positives itself
    assert moved[:, 2].std() < 0.1 * moved[:, 0].std()  # it is like no other


def test_unlike_categories_have_no_weight() -> None:
    _, weight = similar_categories(np.eye(5, dtype=np.float32), 3, 0.1, 0.5)
    assert not weight.any()
    index, weight = similar_categories(
        np.array([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]], np.float32), 1, 0.1, 0.5
    )
    assert index[:, 0].tolist() == [1, 0, 3, 2]
    np.testing.assert_allclose(weight, 1.0, atol=1e-5)


def test_guesses_that_go_together_vouch_for_each_other() -> None:
    first = RNG.normal(size=300) * 3
    logits = np.stack([first, first, RNG.normal(size=300) * 3], 1)
    context = fit(logits, np.zeros((300, 3)), config=LabelCorrelationConfig(together=1.0))
    assert context.lift[0, 1] > 0.3
    assert abs(context.lift[0, 2]) < 0.15
    assert (np.diag(context.lift) == 0).all()


def test_a_known_label_says_more_than_a_guess_and_nothing_about_itself() -> None:
    lift = np.array([[0, 1], [1, 0]], np.float32)
    config = LabelCorrelationConfig(borrowed=0.0, together=0.0, known_together=1.0)
    context = fit(np.zeros((4, 2)), np.zeros((4, 2)), config=config, lift=lift)
    logits = np.full((3, 2), 2.0, np.float32)
    known = np.array([[0, 0], [1, 0], [-1, 0]], np.int8)
    guessed, present, absent = context.apply(logits, known)
    assert absent[1] < 2.0 < guessed[1] < present[1]
    assert guessed[0] == pytest.approx(present[0]) == pytest.approx(absent[0])


def test_one_category_and_no_vectors() -> None:
    logits, labels = RNG.normal(size=(6, 1)).astype(np.float32), np.zeros((6, 1), np.int8)
    config = LabelCorrelationConfig()
    for vectors in (None, np.ones((1, 3), np.float32)):
        got = fit(logits, labels, vectors, config).apply(logits, labels)
        np.testing.assert_allclose(got, logits, atol=1e-6)
