"""Which images are alike (exact search with faiss), and label spreading from image to image.

*Neighbours* are sparse weights (n, M) of n images asked about among M remembered ones: the best
first in each row, as many in every row, 1 for the best and 0 for the image itself.

faiss is imported when an index is built, so that importing this module needs neither of the
packages that bring it.

Source of label spreading: Zhou et al. 2004, "Learning with local and global consistency".

Letters: n images asked about, M images remembered, C categories, d width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array

from clsl_core.arrays import Floats, Ids
from clsl_core.errors import ClslError
from clsl_core.recovery.optimise import count_fit

__all__ = ["NeighbourIndex", "best", "nearest", "similarity_graph", "spread_labels"]

_SEARCH = 1024  # images whose neighbours are searched between two ticks
_ROUNDS = 200  # of spreading at most; at a reach of 0.9 it is still after about 30
_STILL = 1e-5  # share of the evidence below which a round changes nothing
_CATEGORIES = 64  # that spread at once


class NeighbourIndex:
    """Exact search by inner product; normalise the vectors to search by cosine.

    Args:
        vectors: (N, d) float32.

    Raises:
        ClslError: faiss is not installed.
    """

    def __init__(self, vectors: npt.NDArray[np.float32]) -> None:
        faiss = _import_faiss()
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors, np.float32))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(
        self, queries: npt.NDArray[np.float32], k: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Find the k vectors with the largest inner product, best first.

        Args:
            queries: (n, d) float32.
            k: At least 1; cut down to the size of the index.

        Returns:
            Similarities float32 (n, k) and row numbers int64 (n, k).
        """
        k = min(k, len(self))
        if k == 0:
            return np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
        similarities, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k)
        return np.asarray(similarities, np.float32), np.asarray(rows, np.int64)


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ClslError(
            "faiss is not installed, and the search for similar images needs it. Install the "
            "extra `cpu` or `gpu`, for example: pip install 'clsl[cpu]'."
        ) from error
    return faiss


def nearest(
    queries: Floats,
    memory: npt.NDArray[np.floating[Any]],
    among: Ids,
    itself: Ids,
    count: int,
    temperature: float,
    tick: Callable[[], None] = lambda: None,
) -> csr_array:
    """Neighbours (n, M): ``count`` of the images ``among`` the remembered ones, and one for itself.

    Args:
        queries: (n, d) float32 unit vectors.
        memory: (M, d) unit vectors.
        among: Rows of ``memory`` that may be found.
        itself: (n,) row of each image in ``memory``, -1 for strangers.
        count: How many; fewer where there are not so many.
        temperature: A weight is exp((cosine - best cosine) / temperature).
        tick: Called often.
    """
    index = NeighbourIndex(memory[among].astype(np.float32))
    parts = []
    for start in range(0, max(len(queries), 1), _SEARCH):
        tick()
        parts.append(index.search(queries[start : start + _SEARCH], count + 1))
    cosines, places = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    rows = among[places]
    cosines = np.where(rows == itself[:, None], -np.inf, cosines)
    top = cosines.max(1, keepdims=True, initial=-1.0)
    weights = np.exp((cosines - top) / temperature).astype(np.float32)
    bounds = np.arange(len(rows) + 1) * rows.shape[1]
    return csr_array((weights.ravel(), rows.ravel(), bounds), shape=(len(rows), len(memory)))


def best(neighbours: csr_array, count: int) -> csr_array:
    """The best ``count`` of each row, and one more for the image itself."""
    asked, remembered = neighbours.shape
    width = len(neighbours.data) // max(asked, 1)
    kept = min(count + 1, width)
    weights, rows = (
        part.reshape(asked, width)[:, :kept].ravel()
        for part in (neighbours.data, neighbours.indices)
    )
    return csr_array((weights, rows, np.arange(asked + 1) * kept), shape=(asked, remembered))


def similarity_graph(neighbours: csr_array) -> csr_array:
    """D^-½ (A + Aᵀ) D^-½, (M, M), of neighbours (M, M)."""
    both = (neighbours + neighbours.T).astype(np.float32)
    degree = np.asarray(both.sum(1)).ravel()
    scale = diags_array((1.0 / np.sqrt(np.maximum(degree, 1e-9))).astype(np.float32))
    return csr_array(scale @ both @ scale)


def spread_labels(
    graph: csr_array,
    presence: Floats,
    trust: Floats,
    reach: float,
    prior: float,
    tick: Callable[[], None] = lambda: None,
) -> Floats:
    """Share of presence (M, C) in what reaches each image from all others.

    Evidence for presence and all evidence run along the graph, F <- reach·G·F + Y, until hardly
    anything changes (Zhou et al. 2004), by Chebyshev's semi-iteration (Golub and Varga 1961);
    what an entry sent out itself does not count.

    Args:
        graph: (M, M) of ``similarity_graph``.
        presence: (M, C) in [0, 1].
        trust: (M, C) how much evidence an entry is.
        reach: In [0, 1): what is left of evidence after each step.
        prior: Belief in the category's mean, in mean evidence.
        tick: Called often.
    """
    out = np.empty(presence.shape, np.float32)
    for start in range(0, presence.shape[1], _CATEGORIES):
        part = slice(start, start + _CATEGORIES)
        sent = np.concatenate([presence[:, part] * trust[:, part], trust[:, part]], 1)
        last, heard, pace, still = np.zeros_like(sent), sent, 1.0, False
        for number in range(_ROUNDS):
            tick()
            pace = 1.0 / (1.0 - reach * reach * pace / (2.0 if number == 0 else 4.0))
            further = np.float32(reach) * (graph @ heard) + sent
            last, heard = heard, last + np.float32(pace) * (further - last)
            still = np.abs(heard - last).max(initial=0) <= _STILL * np.abs(heard).max(initial=0)
            if still:
                break
        count_fit("label spreading", np.array([still]))
        present, counted = np.split(heard - sent, 2, 1)
        mean = np.divide(*(side.sum(0) for side in np.split(sent, 2, 1)))
        belief = prior * counted.mean(0) + 1e-9
        out[:, part] = (present + belief * mean) / (counted + belief)
    return out
