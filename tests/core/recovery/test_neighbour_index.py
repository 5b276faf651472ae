"""Neighbour search: exact, bounded, and beside torch in either order of import."""

import subprocess
import sys

import numpy as np
import pytest

from clsl_core.errors import ClslError
from clsl_core.recovery.neighbours import NeighbourIndex


def test_search_agrees_with_all_products() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 6)).astype(np.float32)
    queries = rng.normal(size=(5, 6)).astype(np.float32)
    similarities, rows = NeighbourIndex(vectors).search(queries, 7)
    products = queries @ vectors.T
    np.testing.assert_array_equal(rows, np.argsort(-products, 1)[:, :7])
    np.testing.assert_allclose(similarities, -np.sort(-products, 1)[:, :7], rtol=1e-5)


def test_more_neighbours_than_vectors_are_cut_down() -> None:
    index = NeighbourIndex(np.eye(3, dtype=np.float32))
    assert len(index) == 3
    assert index.search(np.eye(3, dtype=np.float32), 10)[1].shape == (3, 3)


def test_an_empty_index_finds_nothing() -> None:
    index = NeighbourIndex(np.zeros((0, 4), np.float32))
    similarities, rows = index.search(np.zeros((2, 4), np.float32), 3)
    assert similarities.shape == rows.shape == (2, 0)


def test_without_faiss_the_message_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ClslError, match=r"extra `cpu` or `gpu`"):
        NeighbourIndex(np.eye(2, dtype=np.float32))


@pytest.mark.parametrize("order", ["import torch, faiss", "import faiss, torch"])
def test_faiss_and_torch_work_in_one_process_in_either_order(order: str) -> None:
    program = f"""{order}
import numpy as np
from clsl_core.recovery.neighbours import NeighbourIndex
x = np.random.default_rng(0).normal(size=(2000, 64)).astype('float32')
for _ in range(3):
    y = torch.from_numpy(x) @ torch.from_numpy(x).T
    s, rows = NeighbourIndex(x).search(x, 1)
    assert (torch.linalg.inv(y @ y.T + 10 * torch.eye(2000)).isfinite()).all()
print('fine', (s > 0).all())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["fine", "True"]
