"""The label graph: which categories go together, from words and from known labels.

Letters: N images, C categories, E width of a category vector, k neighbours.

A row of the graph blends how alike two categories' vectors are with how often they are known to
occur together, keeps the k strongest neighbours and sums to one. It costs C·k numbers, so that
thousands of categories stay cheap. Sources: SSGRL (arXiv 1908.07325) for labels passed through a
co-occurrence graph, SCPNet (arXiv 2303.13283) for the prior from text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = [
    "GraphConfig",
    "GraphLayer",
    "LabelGraph",
    "build_graph",
    "co_occurrence",
    "similar_categories",
]

_CHUNK = 512  # categories whose row of similarities is held at a time


@dataclass(frozen=True)
class GraphConfig:
    """How the label graph is made.

    Attributes:
        neighbours: k, at most C - 1.
        text_weight: Share of text similarity; the rest is co-occurrence.
        shrinkage: Images' worth of belief in the plain class prior, mixed into P(c'|c).
        temperature: Text similarities are compared as exp(cosine / temperature).
    """

    neighbours: int = 8
    text_weight: float = 0.5
    shrinkage: float = 5.0
    temperature: float = 0.1


@dataclass(frozen=True)
class LabelGraph:
    """Sparse rows: ``index`` (C, k) int64 neighbours, ``weight`` (C, k) float32, rows sum to 1."""

    index: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]


def co_occurrence(
    labels: npt.NDArray[np.int8],
    rows: slice,
    *,
    unknown_weight: float,
    shrinkage: float,
) -> npt.NDArray[np.float32]:
    """P(c' present | c present) for the categories c in ``rows``, from known entries only.

    Counts images where both are known to be present against images where c is present and c' is
    known either way; an unknown c' counts as absent with ``unknown_weight`` (1 when positives are
    all that is known, else 0). Both are mixed with ``shrinkage`` images of the plain prior of c'.

    Args:
        labels: (N, C) in {-1, 0, +1}.
        rows: The categories c wanted.
        unknown_weight: In [0, 1].
        shrinkage: More than 0.

    Returns:
        float32 (rows, C) in (0, 1).
    """
    positive = (labels > 0).astype(np.float32)
    counted = np.where(labels != 0, 1.0, unknown_weight).astype(np.float32)
    prior = (positive.sum(0) + 0.5) / (counted.sum(0) + 1.0)
    together = positive[:, rows].T @ positive
    possible = positive[:, rows].T @ counted
    found: npt.NDArray[np.float32] = (together + shrinkage * prior) / (possible + shrinkage)
    return found.astype(np.float32)


def build_graph(
    labels: npt.NDArray[np.int8],
    vectors: npt.NDArray[np.float32] | None,
    config: GraphConfig,
    *,
    unknown_weight: float,
) -> LabelGraph:
    """Build the row-normalised top-k graph.

    Args:
        labels: (N, C) in {-1, 0, +1}.
        vectors: (C, E) category vectors, or None to use co-occurrence alone.
        config: How to blend.
        unknown_weight: See ``co_occurrence``.
    """
    count = labels.shape[1]
    k = max(1, min(config.neighbours, count - 1))
    index = np.zeros((count, k), np.int64)
    weight = np.zeros((count, k), np.float32)
    for start in range(0, count, _CHUNK):
        rows = slice(start, min(start + _CHUNK, count))
        strength = _strength(labels, vectors, config, rows, unknown_weight)
        index[rows], weight[rows] = _top_k(strength, k)
    return LabelGraph(index, weight)


def _strength(
    labels: npt.NDArray[np.int8],
    vectors: npt.NDArray[np.float32] | None,
    config: GraphConfig,
    rows: slice,
    unknown_weight: float,
) -> npt.NDArray[np.float32]:
    """Blended edges (rows, C) from the categories in ``rows`` to all, none to itself."""
    edges = co_occurrence(labels, rows, unknown_weight=unknown_weight, shrinkage=config.shrinkage)
    own = (np.arange(edges.shape[0]), np.arange(rows.start, rows.stop))
    edges[own] = 0.0
    edges /= np.maximum(edges.sum(1, keepdims=True), 1e-9)
    if vectors is None:
        return edges
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    alike = np.exp((unit[rows] @ unit.T - 1.0) / config.temperature).astype(np.float32)
    alike[own] = 0.0
    alike /= np.maximum(alike.sum(1, keepdims=True), 1e-9)
    blended: npt.NDArray[np.float32] = (
        config.text_weight * alike + (1.0 - config.text_weight) * edges
    )
    return blended


def _top_k(
    strength: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    index = np.argsort(-strength, axis=1, kind="stable")[:, :k].astype(np.int64)
    kept = np.take_along_axis(strength, index, 1)
    totals = kept.sum(1, keepdims=True)
    even = np.full_like(kept, 1.0 / k)
    return index, np.where(totals > 0, kept / np.maximum(totals, 1e-12), even)


def similar_categories(
    vectors: npt.NDArray[np.float32], neighbours: int, temperature: float, full: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The categories most like each one, and their weights, which sum to 1 at most.

    The mean vector is taken away first: what all categories have in common tells none apart.
    A category that is like no other gets weights near zero.

    Args:
        vectors: (C, E), C at least 2.
        neighbours: k, at most C - 1.
        temperature: Similarities are compared as exp(cosine / temperature).
        full: Cosine from which on a category counts in full; below, in proportion.

    Returns:
        ``index`` (C, k) int64 and ``weight`` (C, k) float32.
    """
    centred = vectors - vectors.mean(0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    k = min(neighbours, len(unit) - 1)
    index = np.empty((len(unit), k), np.int64)
    weight = np.empty((len(unit), k), np.float32)
    for start in range(0, len(unit), _CHUNK):
        rows = slice(start, min(start + _CHUNK, len(unit)))
        cosines = unit[rows] @ unit.T
        alike = np.exp((cosines - 1.0) / temperature).astype(np.float32)
        alike[np.arange(alike.shape[0]), np.arange(rows.start, rows.stop)] = 0.0
        index[rows], shares = _top_k(alike, k)
        weight[rows] = shares * np.clip(np.take_along_axis(cosines, index[rows], 1) / full, 0, 1)
    return index, weight


class GraphLayer(nn.Module):
    """One residual step over the label graph: T + GELU(W · A T)."""

    index: Tensor
    weight: Tensor

    def __init__(self, graph: LabelGraph, width: int) -> None:
        super().__init__()
        self.register_buffer("index", torch.from_numpy(graph.index))
        self.register_buffer("weight", torch.from_numpy(graph.weight))
        self.mix = nn.Linear(width, width)

    def forward(self, vectors: Tensor) -> Tensor:
        """(C, E) -> (C, E)."""
        neighbours = (vectors[self.index] * self.weight.unsqueeze(-1)).sum(1)  # (C, k, E) -> (C, E)
        return vectors + nn.functional.gelu(self.mix(neighbours))
