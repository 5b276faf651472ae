"""Dividing images into parts so that every category is found in each of them by its share.

Iterative stratification of multi-label data (Sechidis, Tsoumakas, Vlahavas: On the Stratification
of Multi-Label Data, ECML PKDD 2011): the rarest category that is left is dealt out first, each of
its images to the part that lacks the category most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clsl_core.errors import InputError

__all__ = ["deviation", "iterative_split", "random_parts"]

Parts = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int64]
FREE = -1
"""In ``fixed``: not in any part yet."""


def iterative_split(
    count: int,
    pairs: Pairs,
    shares: Sequence[float],
    seed: int,
    *,
    groups: Parts | None = None,
    fixed: Parts | None = None,
) -> Parts:
    """Give every image a part.

    Args:
        count: How many images there are: N.
        pairs: (P, 2) row and category of each label that is present; categories from 0.
        shares: What each of K parts is to have of all, together 1.
        seed: Decides between what is equally good.
        groups: (N,) images of one number stay together; None for each on its own.
        fixed: (N,) the part of images that have one already, else ``FREE``. A group goes where
            its first such image is.

    Returns:
        (N,) the number of each image's part. The same input gives the same parts.

    Raises:
        InputError: The shares are not above 0, or not 1 together.
    """
    wanted = np.asarray(shares, float)
    if not len(wanted) or not (wanted > 0).all() or abs(wanted.sum() - 1) > 1e-6:
        raise InputError("the shares of the parts must each be above 0, and 1 together")
    units, unit_of = np.unique(np.arange(count) if groups is None else groups, return_inverse=True)
    deal = _Deal(unit_of.reshape(-1), len(units), pairs, wanted, seed)
    if fixed is not None:
        known = np.flatnonzero(fixed != FREE)[::-1]  # of a group, the first image's part stays
        part_of_unit = np.full(len(units), FREE)
        part_of_unit[deal.unit_of[known]] = fixed[known]
        for unit in np.flatnonzero(part_of_unit != FREE).tolist():
            deal.give(unit, int(part_of_unit[unit]))
    deal.all()
    parts: Parts = deal.part[deal.unit_of]
    if fixed is not None:
        parts = np.where(fixed != FREE, fixed, parts)
    return parts


class _Deal:
    """Who has been given out, and what each part still lacks.

    Attributes:
        unit_of: (N,) the unit (a group of images) of each image.
        part: (U,) the part of each unit, or ``FREE``.
    """

    def __init__(
        self, unit_of: Parts, units: int, pairs: Pairs, shares: npt.NDArray[np.float64], seed: int
    ) -> None:
        self.unit_of = unit_of
        self.part = np.full(units, FREE)
        self._random = np.random.default_rng(seed)
        self._weight = np.bincount(unit_of, minlength=units)  # images in each unit
        categories = int(pairs[:, 1].max()) + 1 if len(pairs) else 0
        # Positive labels of each unit by category, units one after another.
        keys, self._often = np.unique(
            unit_of[pairs[:, 0]] * max(categories, 1) + pairs[:, 1], return_counts=True
        )
        owner, self._category = keys // max(categories, 1), keys % max(categories, 1)
        self._begin = np.searchsorted(owner, np.arange(units + 1))
        by_category = np.argsort(self._category, kind="stable")
        self._members = owner[by_category]
        self._member_begin = np.searchsorted(self._category[by_category], np.arange(categories + 1))
        self._left = np.bincount(self._category, minlength=categories)  # units not given out
        positives = np.bincount(self._category, self._often, minlength=categories)
        self._lacks = shares[:, None] * positives  # (K, C)
        self._lacks_images = shares * len(unit_of)  # (K,)

    def give(self, unit: int, part: int) -> None:
        """Put a unit into a part."""
        its = slice(self._begin[unit], self._begin[unit + 1])
        self.part[unit] = part
        self._lacks[part, self._category[its]] -= self._often[its]
        self._lacks_images[part] -= self._weight[unit]
        self._left[self._category[its]] -= 1

    def all(self) -> None:
        """Give out what is left: the rarest category first, then what has no label."""
        while (self._left > 0).any():
            rarest = int(np.where(self._left > 0, self._left, np.iinfo(np.int64).max).argmin())
            members = self._members[self._member_begin[rarest] : self._member_begin[rarest + 1]]
            for unit in self._shuffled(members):
                self.give(unit, self._best(self._lacks[:, rarest]))
        for unit in self._shuffled(np.arange(len(self.part))):
            self.give(unit, self._best(self._lacks_images))

    def _shuffled(self, units: Parts) -> list[int]:
        """Those that are free, large ones first: where they fit is harder to find."""
        free = self._random.permutation(units[self.part[units] == FREE])
        found: list[int] = free[np.argsort(-self._weight[free], kind="stable")].tolist()
        return found

    def _best(self, lacks: npt.NDArray[np.float64]) -> int:
        """The part that lacks most; of several, the one that lacks most images; then any."""
        best = np.flatnonzero(lacks >= lacks.max() - 1e-9)
        if len(best) > 1:
            images = self._lacks_images[best]
            best = best[images >= images.max() - 1e-9]
        return int(best[0] if len(best) == 1 else self._random.choice(best))


def random_parts(count: int, shares: Sequence[float], seed: int) -> Parts:
    """(N,) parts of the right sizes, drawn without a look at the labels."""
    ends = np.round(np.cumsum(shares) * count).astype(np.int64)
    parts = np.searchsorted(ends, np.arange(count), side="right")
    return np.random.default_rng(seed).permutation(np.minimum(parts, len(shares) - 1))


def deviation(parts: Parts, pairs: Pairs, shares: Sequence[float]) -> float:
    """How far the parts' portions of a category's positives are from the shares.

    Returns:
        The mean over categories with a positive label of the largest such difference, from 0.
    """
    if not len(pairs):
        return 0.0
    table = counts(parts, pairs, len(shares))
    table = table[:, table.sum(axis=0) > 0]
    portions = table / table.sum(axis=0)
    return float(np.abs(portions - np.asarray(shares)[:, None]).max(axis=0).mean())


def counts(parts: Parts, pairs: Pairs, of: int) -> npt.NDArray[np.int64]:
    """(K, C) positive labels of each category in each of K parts; images in none count nowhere."""
    categories = int(pairs[:, 1].max()) + 1 if len(pairs) else 0
    table = np.zeros((of, categories), np.int64)
    placed = parts[pairs[:, 0]] if len(pairs) else parts[:0]
    inside = placed >= 0
    np.add.at(table, (placed[inside], pairs[inside, 1]), 1)
    return table
