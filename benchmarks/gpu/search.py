"""Nearest neighbours by faiss on the card, where a faiss for cards is installed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu.section import NotRun, Row, Setup, measured
from benchmarks.gpu.timing import median_seconds
from clsl_core.backbones.spec import normalised

__all__ = ["search"]


def search(setup: Setup) -> Iterator[Row]:
    """The exact index on both.

    Raises:
        NotRun: There is no faiss, or none for cards, or no card.
    """
    faiss = _faiss()
    if not hasattr(faiss, "StandardGpuResources"):
        raise NotRun("the faiss that is installed is not made for GPUs (faiss-cpu)")
    if not setup.cuda or not faiss.get_num_gpus():
        raise NotRun("faiss sees no GPU")
    yield measured("exact search", partial(_compared, setup, faiss))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise NotRun("faiss is not installed") from error
    return faiss


def _compared(setup: Setup, faiss: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    vectors = normalised(rng.normal(size=(setup.choose(50_000, 100), 512)).astype(np.float32))
    queries, count = vectors[: setup.choose(2048, 10)], 20
    here = faiss.IndexFlatIP(vectors.shape[1])
    there = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), vectors.shape[1])
    found = []
    seconds = []
    for index in (here, there):
        index.add(vectors)
        # Its answers are in main memory when it returns.
        seconds.append(median_seconds(partial(index.search, queries, count), setup.device, 3))
        found.append(index.search(queries, count)[1])
    shared = [len(set(a) & set(b)) / count for a, b in zip(*found, strict=True)]
    overlap = float(np.mean(shared))
    return {
        "cpu s": seconds[0],
        "device s": seconds[1],
        "same neighbours": overlap,
        "sound": overlap >= 0.999,
    }
