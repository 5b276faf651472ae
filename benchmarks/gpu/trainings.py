"""One whole training on the processor and on the card, with the same seed.

Dropout draws other numbers on a card and it trains in bfloat16, so the scores cannot be the same.
They must be as near to those of the processor as another seed's are on the processor.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from benchmarks.gpu.section import Row, Setup, measured
from benchmarks.regimes import Regime, keep
from benchmarks.tokens import load
from benchmarks.training_speed import drawn
from clsl_core.arrays import Labels
from clsl_core.features import FeatureView
from clsl_core.recovery.config import TrainConfig
from clsl_core.recovery.ranking import ProposeConfig, propose
from clsl_core.recovery.train import fit
from clsl_core.types import no_progress

__all__ = ["trainings"]


_FIRST = 500  # proposals that are compared
_CORRELATION = 0.02  # that may be missing to the correlation of two seeds
_OVERLAP = 0.05  # the same of their first proposals


@dataclass(frozen=True)
class _Problem:
    """What is learned from: features, known labels, category vectors."""

    features: FeatureView
    labels: Labels
    vectors: npt.NDArray[np.float32] | None = None
    text: bool = False


@dataclass(frozen=True)
class _Trained:
    """What came of a training: scores (N, C), the first proposals, seconds."""

    scores: npt.NDArray[np.float32]
    first: frozenset[tuple[int, int]]
    training_seconds: float
    scoring_seconds: float


def trainings(setup: Setup) -> Iterator[Row]:
    """Drawn features first, then the token files."""
    config = _config(setup)
    small = _Problem(*drawn(64, 9, 4))
    _trained(small, replace(config, epochs=2), str(setup.device))  # brings the card to life
    sizes = (setup.choose(1000, 60), setup.choose(49, 9), setup.choose(20, 4))
    title = "drawn, {} × {} × {}".format(*sizes)
    yield measured(title, partial(_compared, setup, _Problem(*drawn(*sizes))))
    for path in setup.tokens:
        yield measured(path.name, partial(_on_file, setup, path))


def _config(setup: Setup) -> TrainConfig:
    return TrainConfig(epochs=2) if setup.tiny else TrainConfig()


def _on_file(setup: Setup, path: Path) -> dict[str, Any]:
    """A token file of which half of the positives are known."""
    found = load(path)
    labels = keep(found.truth, Regime.POSITIVES, 0.5, 0)
    names = found.categories
    return _compared(setup, _Problem(found.features, labels, names.vectors, names.text))


def _compared(setup: Setup, problem: _Problem) -> dict[str, Any]:
    """The same seed on both, beside another seed on the processor."""
    config = _config(setup)
    usual = _trained(problem, config, "cpu")
    other = _trained(problem, replace(config, seed=config.seed + 1), "cpu")
    there = _trained(problem, config, str(setup.device))
    unknown = problem.labels == 0
    same, seeds = (_correlation(usual, one, unknown) for one in (there, other))
    shared, between = (_overlap(usual, one) for one in (there, other))
    return {
        "rank correlation": same,
        "of two seeds": seeds,
        "overlap of first": shared,
        "overlap of two seeds": between,
        "cpu s": usual.training_seconds,
        "device s": there.training_seconds,
        "cpu scoring s": usual.scoring_seconds,
        "device scoring s": there.scoring_seconds,
        "sound": same >= seeds - _CORRELATION and shared >= between - _OVERLAP,
    }


def _trained(problem: _Problem, config: TrainConfig, device: str) -> _Trained:
    began = time.perf_counter()
    model = fit(
        problem.features, problem.labels, category_vectors=problem.vectors, text=problem.text,
        config=config, progress=no_progress, device=device,
    )  # fmt: skip
    trained = time.perf_counter()
    scores = model.predict(problem.features)
    scored = time.perf_counter()
    found = propose(scores, problem.labels, ProposeConfig(), 0)
    wanted = np.flatnonzero((found.states > 0) & ~found.control & ~found.disputes)[:_FIRST]
    pairs = zip(found.rows[wanted].tolist(), found.columns[wanted].tolist(), strict=True)
    return _Trained(scores.values, frozenset(pairs), trained - began, scored - trained)


def _correlation(one: _Trained, other: _Trained, unknown: npt.NDArray[np.bool_]) -> float:
    """Spearman's, over all unknown pairs."""
    return float(spearmanr(one.scores[unknown], other.scores[unknown]).statistic)


def _overlap(one: _Trained, other: _Trained) -> float:
    return len(one.first & other.first) / max(len(one.first), 1)
