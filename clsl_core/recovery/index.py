"""Nearest neighbours among pooled features: a thin wrapper around faiss.

faiss is imported when an index is built, so that importing this module needs neither of the
packages that bring it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clsl_core.errors import ClslError

__all__ = ["NeighbourIndex"]


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
