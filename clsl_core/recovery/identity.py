"""Recognising images by their features, from one training to the next and in prediction.

Letters: N images, C categories, d pooled width.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np

from clsl_core.arrays import Floats, Ids

__all__ = ["digests_of", "pair_draws", "recognise"]


def digests_of(pooled: Floats) -> Ids:
    """(N,) non-negative int64 by which images with these pooled features are recognised."""
    rows = np.ascontiguousarray(pooled, np.float16)
    found = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(found), np.int64) & np.iinfo(np.int64).max


def pair_draws(digests: Ids, category_count: int, seed: int) -> Floats:
    """(N, C) uniform in [0, 1): a number for every image-category pair that outlives a training.

    Mixes digest, category and seed with the finaliser of SplitMix64 (Steele et al. 2014).
    """
    z = np.uint64(seed) + np.arange(1, category_count + 1, dtype=np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    z = digests.astype(np.uint64)[:, None] ^ z  # (N, C)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24), np.float32)


def recognise(digests: Ids, known: Ids) -> Ids:
    """For each digest its place among the known ones, -1 for a stranger.

    The n-th image with a digest is the n-th remembered one with it, so copies stay apart.
    """
    places: dict[int, list[int]] = defaultdict(list)
    for place in range(len(known) - 1, -1, -1):
        places[int(known[place])].append(place)
    return np.array([places[d].pop() if places.get(d) else -1 for d in digests.tolist()], np.int64)
