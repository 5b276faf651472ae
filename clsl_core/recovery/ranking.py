"""Choosing which unknown pairs to show people, and in which order.

A *strategy* ranks the unknown pairs of all categories; ``propose`` takes from the front of that
ranking, with a limit for each category and in total so that huge collections stay bounded, and
adds a uniform random sample of unknown pairs: the control arm, the only unbiased view of how
good the model is. Known labels that the model contradicts strongly are proposed too, as disputes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Floats, Ids
from clsl_core.errors import InputError
from clsl_core.recovery.model import Scores

__all__ = ["STRATEGIES", "Proposals", "ProposeConfig", "propose"]

Strategy = Callable[[Floats, Ids, Ids, np.random.Generator], Floats]
"""(confidences (M,), rows (M,), columns (M,), rng) -> priority (M,), higher is shown first."""


@dataclass(frozen=True)
class ProposeConfig:
    """What to propose.

    Attributes:
        strategy: A name in ``STRATEGIES``.
        present, absent: Most pairs of one category proposed as present, as absent.
        total: Most pairs proposed for each state over all categories.
        control: Pairs in the random control arm.
        disputed: Most known labels of one category that are disputed.
        dispute_from: Probability of the opposite from which a known label is disputed.
        disputed_total: Most disputes over all categories.
    """

    strategy: str = "likely"
    present: int = 500
    absent: int = 100
    total: int = 20_000
    control: int = 100
    disputed: int = 50
    dispute_from: float = 0.8
    disputed_total: int = 2_000


@dataclass(frozen=True)
class Proposals:
    """K proposals for different pairs, sorted by score, highest first.

    Attributes:
        rows, columns: (K,) int64 image and category.
        states: (K,) int8, +1 "probably present", -1 "probably absent".
        scores: (K,) float32 in (0, 1): how strongly the model holds the proposed state.
        probabilities: (K,) float32 calibrated probability of the proposed state, nan where not
            calibrated.
        control: (K,) whether the pair is in the uniform random control arm.
        disputes: (K,) whether the pair has a label and ``states`` is the opposite of it.
        turns: (K,) int64, place in the mixed order, from 0: categories take turns, and a further
            pair of an image waits for other images.
        heatmaps: (K, P) uint8.
    """

    rows: Ids
    columns: Ids
    states: npt.NDArray[np.int8]
    scores: Floats
    probabilities: Floats
    control: npt.NDArray[np.bool_]
    disputes: npt.NDArray[np.bool_]
    turns: Ids
    heatmaps: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)


def most_likely(confidences: Floats, rows: Ids, columns: Ids, rng: np.random.Generator) -> Floats:
    """The surest first, over all categories together."""
    return confidences


def most_uncertain(
    confidences: Floats, rows: Ids, columns: Ids, rng: np.random.Generator
) -> Floats:
    """Those nearest to one half first."""
    return np.asarray(-np.abs(confidences - 0.5), np.float32)


def diverse(confidences: Floats, rows: Ids, columns: Ids, rng: np.random.Generator) -> Floats:
    """The surest first, but each further pair of an image waits for the other images."""
    turn = _turns(rows, confidences)
    return (confidences - turn).astype(np.float32)


def random_order(confidences: Floats, rows: Ids, columns: Ids, rng: np.random.Generator) -> Floats:
    """Uniformly random, as a control."""
    return np.asarray(rng.random(len(confidences)), np.float32)


def mixed(confidences: Floats, rows: Ids, columns: Ids, rng: np.random.Generator) -> Floats:
    """Each category in turn gives its surest, so that rare ones are not crowded out."""
    turn = _turns(columns, confidences)
    return (confidences - turn).astype(np.float32)


STRATEGIES: dict[str, Strategy] = {
    "likely": most_likely,
    "uncertain": most_uncertain,
    "diverse": diverse,
    "random": random_order,
    "mixed": mixed,
}


def propose(
    scores: Scores,
    labels: npt.NDArray[np.int8],
    config: ProposeConfig,
    seed: int,
    settled: npt.NDArray[np.bool_] | None = None,
) -> Proposals:
    """Propose values for unknown pairs, and dispute known ones that the model contradicts.

    An unknown pair is proposed as present where its score exceeds the mean score of its
    category's unknown pairs, else as absent. Disputes need calibrated probabilities.

    Args:
        scores: Of all N images and C categories.
        labels: (N, C) in {-1, 0, +1}.
        config: Strategy and limits.
        seed: Of the control arm and of random strategies.
        settled: (N, C) known labels that are not disputed any more; None for none.

    Raises:
        InputError: The shapes differ, or the strategy has no such name.
    """
    _check(scores, labels, config)
    rng = np.random.default_rng(seed)
    unknown = labels == 0
    values = scores.values
    pivot = np.sum(values * unknown, 0) / np.maximum(unknown.sum(0), 1)
    present = unknown & (values > pivot)
    chosen = [
        _choose(values, present, config.present, config, rng),
        _choose(1 - values, unknown & ~present, config.absent, config, rng),
        _control(unknown, config.control, rng),
    ]
    disputed = _disputes(scores, labels, settled, config, rng)
    flat = np.unique(np.concatenate([*chosen, disputed]))
    states = np.where(present.ravel()[flat] | (labels.ravel()[flat] < 0), 1, -1)
    return _sorted(scores, flat, states, np.isin(flat, chosen[2]), np.isin(flat, disputed))


def _disputes(
    scores: Scores,
    labels: npt.NDArray[np.int8],
    settled: npt.NDArray[np.bool_] | None,
    config: ProposeConfig,
    rng: np.random.Generator,
) -> Ids:
    """Flat places of known labels whose opposite the model holds to be very probable."""
    if scores.probability is None:
        return np.zeros(0, np.int64)
    opposite = np.where(labels > 0, 1 - scores.probability, scores.probability)
    candidates = (labels != 0) & (opposite >= config.dispute_from)
    if settled is not None:
        candidates &= ~settled
    limits = replace(config, strategy="likely", total=config.disputed_total)
    return _choose(opposite.astype(np.float32), candidates, config.disputed, limits, rng)


def _check(scores: Scores, labels: npt.NDArray[np.int8], config: ProposeConfig) -> None:
    if scores.values.shape != labels.shape:
        raise InputError(
            f"scores have shape {scores.values.shape}, labels {labels.shape}; score the same "
            "images and categories again."
        )
    if config.strategy not in STRATEGIES:
        raise InputError(
            f"no ranking strategy is called {config.strategy!r}; choose one of "
            f"{', '.join(STRATEGIES)}."
        )


def _choose(
    confidences: Floats,
    candidates: npt.NDArray[np.bool_],
    limit: int,
    config: ProposeConfig,
    rng: np.random.Generator,
) -> Ids:
    """Flat places of the best candidates within the limits."""
    rows, columns = np.nonzero(candidates)
    priority = STRATEGIES[config.strategy](confidences[rows, columns], rows, columns, rng)
    within = np.flatnonzero(_turns(columns, priority) < limit)
    order = within[np.argsort(-priority[within], kind="stable")][: config.total]
    return np.ravel_multi_index((rows[order], columns[order]), candidates.shape).astype(np.int64)


def _control(unknown: npt.NDArray[np.bool_], count: int, rng: np.random.Generator) -> Ids:
    places = np.flatnonzero(unknown)
    return rng.choice(places, min(count, len(places)), replace=False).astype(np.int64)


def _turns(groups: Ids, priority: Floats) -> Ids:
    """(M,) rank of each pair within its group, best first, from 0."""
    order = np.lexsort((-priority, groups))
    sorted_groups = groups[order]
    starts = np.flatnonzero(np.append(True, np.diff(sorted_groups) != 0))[: len(groups)]
    lengths = np.diff(np.append(starts, len(groups)))
    turns = np.empty(len(groups), np.int64)
    turns[order] = np.arange(len(groups)) - np.repeat(starts, lengths)
    return turns


def _sorted(
    scores: Scores,
    flat: Ids,
    states: npt.NDArray[np.int64],
    control: npt.NDArray[np.bool_],
    disputes: npt.NDArray[np.bool_],
) -> Proposals:
    """Proposals by score, highest first, with heat maps."""
    rows, columns = np.unravel_index(flat, scores.values.shape)
    held = _of_state(scores.values[rows, columns], states)
    if scores.probability is None:
        probabilities = np.full(len(flat), np.nan, np.float32)
    else:
        probabilities = _of_state(scores.probability[rows, columns], states)
    order = np.argsort(-held, kind="stable")
    rows, columns = rows[order].astype(np.int64), columns[order].astype(np.int64)
    return Proposals(
        rows=rows,
        columns=columns,
        states=states[order].astype(np.int8),
        scores=held[order],
        probabilities=probabilities[order],
        control=control[order],
        disputes=disputes[order],
        turns=_mixed_order(held[order], rows, columns),
        heatmaps=scores.heatmaps(rows, columns),
    )


def _mixed_order(confidences: Floats, rows: Ids, columns: Ids) -> Ids:
    """(K,) place of each pair when categories take turns and an image's further pairs wait."""
    waits = _turns(columns, confidences) + _turns(rows, confidences)
    order = np.lexsort((-confidences, waits))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def _of_state(present: Floats, states: npt.NDArray[np.int64]) -> Floats:
    return np.where(states > 0, present, 1 - present).astype(np.float32)
