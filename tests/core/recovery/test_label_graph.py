"""The label graph: known entries only, rows that sum to one, no category its own neighbour."""

import numpy as np
import pytest
import torch

from clsl_core.recovery.label_graph import GraphConfig, GraphLayer, build_graph, co_occurrence


def make_labels(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice(np.array([-1, 0, 1], np.int8), (60, 7), p=[0.3, 0.4, 0.3])


@pytest.mark.parametrize("with_vectors", [True, False])
def test_rows_sum_to_one_and_name_other_categories(with_vectors: bool) -> None:
    vectors = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    graph = build_graph(
        make_labels(),
        vectors if with_vectors else None,
        GraphConfig(neighbours=3),
        unknown_weight=0.0,
    )
    assert graph.index.shape == graph.weight.shape == (7, 3)
    np.testing.assert_allclose(graph.weight.sum(1), 1, rtol=1e-5)
    assert (graph.index != np.arange(7)[:, None]).all()
    assert (graph.weight >= 0).all()


def test_co_occurrence_is_the_share_among_known_pairs() -> None:
    labels = np.array([[1, 1], [1, -1], [1, 0], [-1, 1]], np.int8)
    found = co_occurrence(labels, slice(0, 2), unknown_weight=0.0, shrinkage=1e-6)
    assert found[0, 1] == pytest.approx(0.5, abs=1e-4)  # of two images where both are known
    counted = co_occurrence(labels, slice(0, 2), unknown_weight=1.0, shrinkage=1e-6)
    assert counted[0, 1] == pytest.approx(1 / 3, abs=1e-4)  # the unknown one stands for absent


def test_few_images_are_shrunk_towards_the_prior() -> None:
    labels = np.zeros((100, 2), np.int8)
    labels[:, 1] = -1
    labels[0] = 1
    prior = 1.5 / 101
    found = co_occurrence(labels, slice(0, 1), unknown_weight=0.0, shrinkage=9.0)
    assert found[0, 1] == pytest.approx((1 + 9 * prior) / 10, rel=1e-4)


def test_text_alone_finds_the_alike_categories() -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
    graph = build_graph(
        np.zeros((5, 4), np.int8),
        vectors,
        GraphConfig(neighbours=1, text_weight=1.0),
        unknown_weight=1.0,
    )
    assert graph.index[:, 0].tolist() == [1, 0, 3, 2]


def test_one_category_alone_is_possible() -> None:
    graph = build_graph(np.ones((3, 1), np.int8), None, GraphConfig(), unknown_weight=1.0)
    assert graph.index.shape == (1, 1)
    np.testing.assert_allclose(graph.weight, 1)


def test_the_layer_is_residual_and_mixes_neighbours_only() -> None:
    torch.manual_seed(0)
    graph = build_graph(make_labels(), None, GraphConfig(neighbours=2), unknown_weight=0.0)
    layer = GraphLayer(graph, 4)
    vectors = torch.randn(7, 4, requires_grad=True)
    out = layer(vectors)
    assert out.shape == (7, 4)
    (slope,) = torch.autograd.grad(out[0].sum(), vectors)
    touched = set(torch.nonzero(slope.abs().sum(1)).flatten().tolist())
    assert touched == {0, *graph.index[0].tolist()}
    torch.nn.init.zeros_(layer.mix.weight)
    torch.nn.init.zeros_(layer.mix.bias)
    torch.testing.assert_close(layer(vectors), vectors)
