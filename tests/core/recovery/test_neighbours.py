"""Who is alike, and labels that spread, against plain linear algebra."""

import numpy as np
import pytest

from clsl_core.recovery.neighbours import best, nearest, similarity_graph, spread_labels

COUNT = 40


def unit(count: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


MEMORY = unit(COUNT)
ITSELF = np.arange(COUNT)


def among_themselves(count: int = 6) -> np.ndarray:
    return nearest(MEMORY, MEMORY, ITSELF, ITSELF, count, 0.2)


def test_the_nearest_one_by_one() -> None:
    strangers, among = unit(3, seed=1), np.arange(0, COUNT, 2)
    found = nearest(strangers, MEMORY, among, np.full(3, -1), 4, 0.2).toarray()
    for row, x in enumerate(strangers):
        cosine = MEMORY @ x
        order = among[np.argsort(-cosine[among])][:5]
        expected = np.exp((cosine[order] - cosine[order[0]]) / 0.2)
        np.testing.assert_allclose(found[row, order], expected, rtol=1e-4)
        assert (found[row] > 0).sum() == 5


def test_the_best_of_them() -> None:
    alike = among_themselves(12)
    np.testing.assert_allclose(best(alike, 6).toarray(), among_themselves(6).toarray())
    before = alike.toarray()
    similarity_graph(alike)
    np.testing.assert_array_equal(best(alike, 12).toarray(), before)  # still the best first


def test_there_may_be_nobody() -> None:
    none = np.zeros(0, np.int64)
    assert nearest(MEMORY, MEMORY, none, ITSELF, 4, 0.2).shape == (COUNT, COUNT)
    assert best(nearest(MEMORY[:0], MEMORY, ITSELF, none, 4, 0.2), 2).shape == (0, COUNT)


def test_the_graph_is_symmetric_and_normalised() -> None:
    alike = among_themselves().toarray()
    both = alike + alike.T
    root = np.sqrt(both.sum(1))
    graph = similarity_graph(among_themselves()).toarray()
    np.testing.assert_allclose(graph, both / root[:, None] / root, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("categories", [3, 70])  # 70: in two parts
def test_spreading_is_the_closed_form(categories: int) -> None:
    rng = np.random.default_rng(2)
    graph = similarity_graph(among_themselves())
    presence = rng.random((COUNT, categories)).astype(np.float32)
    trust = rng.choice(np.array([0.1, 1.0], np.float32), presence.shape)
    reach = 0.6
    whole = np.linalg.inv(np.eye(COUNT) - reach * graph.toarray()) - np.eye(COUNT)
    sent, counted = whole @ (presence * trust), whole @ trust
    mean = (presence * trust).sum(0) / trust.sum(0)
    prior = 0.3 * counted.mean(0)
    expected = (sent + prior * mean) / (counted + prior)
    np.testing.assert_allclose(
        spread_labels(graph, presence, trust, reach, 0.3), expected, rtol=1e-4
    )


def test_a_label_reaches_images_that_are_linked_by_others_only() -> None:
    line = np.linspace(0, 1.2, COUNT)
    memory = np.stack([np.cos(line), np.sin(line)], 1).astype(np.float32)
    graph = similarity_graph(nearest(memory, memory, ITSELF, ITSELF, 2, 0.2))
    presence, trust = np.zeros((COUNT, 1), np.float32), np.zeros((COUNT, 1), np.float32)
    presence[0], trust[[0, -1]] = 1.0, 1.0
    found = spread_labels(graph, presence, trust, 0.9, 0.01)[1:-1, 0]
    assert (np.diff(found) < 0).all()
    assert found[0] > 0.9
    assert found[-1] < 0.1
