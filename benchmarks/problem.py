"""Which images are learned from and which are tested on, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.baselines.method import Question
from benchmarks.regimes import Regime, keep, recall
from benchmarks.tokens import Collection, load, split
from clsl_core.arrays import Ids
from clsl_core.errors import InputError

__all__ = ["Fold", "Inputs", "Problem"]

_SPLIT_SEED = 0  # every seed and method gets the same images


@dataclass(frozen=True)
class Inputs:
    """Where the images come from.

    Attributes:
        train: Token file or embedded folder.
        test: Another one to test on; without it ``train`` is divided.
        test_share: Share of the images to test on, once; else cross-validation ...
        folds: ... in this many folds.
        text: Whether the category vectors are text of the tokens' space; None: by their width.
    """

    train: Path
    test: Path | None = None
    test_share: float | None = None
    folds: int = 5
    text: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        places = {"train": str(self.train), "test": str(self.test) if self.test else None}
        return {**asdict(self), **places}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Inputs:
        """Undo ``to_json``."""
        test = value["test"]
        return cls(**{**value, "train": Path(value["train"]), "test": Path(test) if test else None})


@dataclass(frozen=True)
class Fold:
    """One question and the truth about it.

    Attributes:
        train, test: The images.
        labels: (N, C) what is known of ``train``.
        rows: Places of the test images among all that are tested.
    """

    train: Collection
    test: Collection
    labels: npt.NDArray[np.int8]
    rows: Ids

    def question(self, seed: int) -> Question:
        """What a method is asked."""
        return Question(
            self.train.features, self.labels, self.test.features, self.train.categories, seed
        )


@dataclass(frozen=True)
class Problem:
    """The images of all folds.

    Attributes:
        inputs: As asked for.
        train: All images that are ever learned from.
        test: Others to test on, or None.
    """

    inputs: Inputs
    train: Collection
    test: Collection | None

    @classmethod
    def load(cls, inputs: Inputs) -> Problem:
        """Read the files.

        Raises:
            InputError: They cannot be read, do not fit together, or the split makes no sense.
        """
        train = load(inputs.train, inputs.text)
        test = None if inputs.test is None else load(inputs.test, inputs.text)
        if test is not None:
            _check_same_kind(train, test)
        elif inputs.test_share is not None:
            if not 0 < inputs.test_share < 1:
                raise InputError(f"a test share of {inputs.test_share} is not between 0 and 1.")
        elif not 2 <= inputs.folds <= len(train.features):
            raise InputError(
                f"{inputs.folds} folds of {len(train.features)} images: expected 2 or more, and "
                "no more than images."
            )
        return cls(inputs, train, test)

    def labels(
        self, regime: Regime, known: float, seed: int, folder: Path | None
    ) -> npt.NDArray[np.int8]:
        """What is known of ``train``; kept in ``folder`` and found there again."""
        drawn = keep(self.train.truth, regime, known, seed)
        if folder is None:
            return drawn
        return recall(folder / f"{regime.value}-{known:g}-{seed}.npz", drawn)

    def folds(self, labels: npt.NDArray[np.int8]) -> Iterator[Fold]:
        """The questions, one after the other."""
        if self.test is not None:
            rows = np.arange(len(self.test.features))
            yield Fold(self.train, self.test, labels, rows)
            return
        for train, test in self._splits():
            yield Fold(self.train.take(train), self.train.take(test), labels[train], test)

    def tested_truth(self) -> npt.NDArray[np.int8]:
        """(M, C) truth of the images that ``Fold.rows`` counts."""
        return self.train.truth if self.test is None else self.test.truth

    def left_out(self, min_positives: int) -> list[str]:
        """Categories with too few positives among the tested images to count in means."""
        truth = self.tested_truth()
        if self.test is None and self.inputs.test_share is not None:
            truth = truth[self._splits()[0][1]]
        rare = (truth > 0).sum(0) < max(min_positives, 1)
        return [name for name, few in zip(self.train.categories.names, rare, strict=True) if few]

    def describe(self) -> dict[str, Any]:
        """What the results depend on, for the results file."""
        count = len(self.train.features)
        return {
            "train": {"sha256": self.train.origin, "images": count},
            "test": None
            if self.test is None
            else {"sha256": self.test.origin, "images": len(self.test.features)},
            "categories": len(self.train.categories.names),
            "test_share": None if self.test is not None else self.inputs.test_share,
            "folds": self.inputs.folds
            if self.test is None and self.inputs.test_share is None
            else None,
            "text": self.train.categories.text,
        }

    def _splits(self) -> list[tuple[Ids, Ids]]:
        count = len(self.train.features)
        if self.inputs.test_share is not None:
            return [split(count, self.inputs.test_share, _SPLIT_SEED)]
        order = np.random.default_rng(_SPLIT_SEED).permutation(count)
        turn = np.empty(count, np.int64)
        turn[order] = np.arange(count) % self.inputs.folds
        return [
            (np.flatnonzero(turn != fold), np.flatnonzero(turn == fold))
            for fold in range(self.inputs.folds)
        ]


def _check_same_kind(train: Collection, test: Collection) -> None:
    if train.categories.names != test.categories.names:
        raise InputError("the train and the test file name other categories, or in another order.")
    if (train.features.grid, train.features.dim) != (test.features.grid, test.features.dim):
        raise InputError(
            f"the test file has a grid of {test.features.grid} and {test.features.dim} numbers a "
            f"patch, the train file {train.features.grid} and {train.features.dim}."
        )
