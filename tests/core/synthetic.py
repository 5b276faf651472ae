"""A small collection whose truth is known: each category is a direction that some patch shows."""

from dataclasses import dataclass, replace

import numpy as np

from clsl_core.features import FeatureView
from clsl_core.recovery.base_models import BaseModelConfig
from clsl_core.recovery.head.clsl import ModelConfig
from clsl_core.recovery.patch_linear import PatchConfig
from clsl_core.recovery.train import TrainConfig

SMALL = TrainConfig(
    model=ModelConfig(width=16, attention_width=8, hidden=16, learned_vector=8),
    base_models=BaseModelConfig(
        neighbours=15,
        folds=5,
        linear_l2=(0.3,),
        patches=PatchConfig(steps=40, learning_rate=0.2),
    ),
    epochs=4,
    batch_size=16,
)

SIGNAL = 0.5  # beside a background of length 1


@dataclass(frozen=True)
class Collection:
    """Features of N images, the truth (N, C) in {-1, +1} and a vector (C, d) per category."""

    features: FeatureView
    truth: np.ndarray
    vectors: np.ndarray

    def positives_only(self, share: float = 0.5, seed: int = 0) -> np.ndarray:
        """Labels that know this share of the positives and nothing else."""
        draw = np.random.default_rng(seed).random(self.truth.shape)
        return np.where((self.truth > 0) & (draw < share), 1, 0).astype(np.int8)

    def mixed(self, share: float = 0.5, seed: int = 0) -> np.ndarray:
        """Labels that know this share of all entries."""
        draw = np.random.default_rng(seed).random(self.truth.shape)
        return np.where(draw < share, self.truth, 0).astype(np.int8)


def make_collection(
    images: int = 120, categories: int = 4, seed: int = 0, signal: float = SIGNAL
) -> Collection:
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(10, categories + 1)))[0].T.astype(np.float32)
    vectors, background = directions[:-1], directions[-1]
    rates = np.linspace(0.15, 0.4, categories)
    truth = np.where(rng.random((images, categories)) < rates, 1, -1).astype(np.int8)
    tokens = background + 0.04 * rng.normal(size=(images, 9, 10))
    for row, column in np.argwhere(truth > 0):
        patches = rng.choice(9, 2, replace=False)
        tokens[row, patches] += signal * vectors[column]
    return Collection(FeatureView.from_arrays(tokens, grid=(3, 3)), truth, vectors)


def tiny_config(**changes: object) -> TrainConfig:
    return replace(SMALL, **changes)
