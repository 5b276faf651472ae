"""Students learn from what is believed of unknown entries, and are blended in by their share."""

from dataclasses import replace

import numpy as np

from clsl_core.image_identity import digests_of
from clsl_core.metrics import mean_average_precision
from clsl_core.predict import join
from clsl_core.students import StudentConfig, fit_students
from clsl_core.views import StaticViews, fit_views
from tests.core.synthetic import SMALL, make_collection

COLLECTION = make_collection()
POOLED = COLLECTION.features.pooled()


def looked(labels: np.ndarray) -> tuple[StaticViews, np.ndarray]:
    return fit_views(
        COLLECTION.features,
        digests_of(POOLED),
        labels,
        SMALL.views,
        unknown_weight=0.0,
        seed=0,
        device="cpu",
    )


def taught(labels: np.ndarray, believed: np.ndarray, config: StudentConfig) -> np.ndarray:
    views, memory = looked(labels)
    students = fit_students(
        views,
        COLLECTION.features,
        POOLED,
        labels,
        believed.astype(np.float32),
        config,
        seed=0,
        device="cpu",
    )
    rows = np.arange(len(POOLED))
    if config.voters:
        students = students.hearing(labels[memory], believed[memory].astype(np.float32))
    near = views.neighbours(POOLED, np.searchsorted(memory, rows))
    return students.logits(views, COLLECTION.features, POOLED, rows, near, config, "cpu")


def test_they_learn_from_beliefs_what_labels_do_not_say() -> None:
    labels = COLLECTION.mixed(0.05)
    unknown = labels == 0
    good = np.where(COLLECTION.truth > 0, 0.9, 0.1)
    blind = np.full(labels.shape, 0.5)

    def quality(believed: np.ndarray) -> float:
        scores = taught(labels, believed, StudentConfig())
        return mean_average_precision(np.where(unknown, COLLECTION.truth, 0), scores)

    assert quality(good) > quality(blind) + 0.05


def test_known_labels_are_not_overruled_by_beliefs() -> None:
    labels = COLLECTION.truth
    agree, contradict = (
        taught(labels, np.where(labels * sign > 0, 1.0, 0.0), StudentConfig()) for sign in (1, -1)
    )
    np.testing.assert_array_equal(agree, contradict)


def test_a_vote_on_beliefs() -> None:
    """Each image's nearest others, counted one by one."""
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, COLLECTION.truth.shape).astype(np.int8)
    labels[:, 0] = np.where(labels[:, 0] == 0, 1, labels[:, 0])  # every image is remembered
    believed = rng.random(labels.shape)
    config = StudentConfig(voters=7, vote_prior=0.5)
    both = taught(labels, believed, replace(config, voters=0))
    vote = 3 * taught(labels, believed, config) - 2 * both
    heard = np.where(labels != 0, labels > 0, believed)
    views, _ = looked(labels)
    x = views.standardise(POOLED)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for row in range(0, len(x), 10):
        cosine = x @ x[row]
        cosine[row] = -np.inf
        best = np.argsort(-cosine)[:7]
        weight = np.exp((cosine[best] - cosine[best[0]]) / SMALL.views.vote_temperature)
        share = (weight @ heard[best] + 0.5 * heard.mean(0)) / (weight.sum() + 0.5)
        expected = np.log(share / (1 - share))
        np.testing.assert_allclose(vote[row], expected, atol=0.02)


def test_their_share() -> None:
    first, second = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    np.testing.assert_allclose(join(first, second, StudentConfig(share=0.25)), 0.25)
    assert join(first, None, StudentConfig()) is first
    none = replace(SMALL, students=StudentConfig(share=0.0))
    assert none.students.share == 0.0
