"""An annotator who is never wrong, answering in queue order while the model is trained again.

Letters: N images, C categories, M unknown pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Floats, Labels

__all__ = ["Trace", "answer", "round_sizes", "verdicts_until"]

Score = Callable[[Labels], Floats]
"""What is known (N, C) -> scores (N, C); higher is asked sooner."""

_STEPS = 20  # how often scores follow the verdicts of a round
_FEWEST = 20  # verdicts between two such steps


@dataclass(frozen=True)
class Trace:
    """What happened.

    Attributes:
        places: Verdict numbers, from 1, at which a missing positive was found; ascending.
        missing: How many positives were missing at the start.
        pairs: M, how many pairs were unknown.
        trainings: How often scores were computed.
    """

    places: npt.NDArray[np.int64]
    missing: int
    pairs: int
    trainings: int

    def points(self, count: int = 200) -> list[tuple[float, float]]:
        """(share of unknown pairs shown, share of missing positives found), evenly thinned out."""
        shares = np.arange(1, len(self.places) + 1) / max(self.missing, 1)
        wanted = np.unique(np.linspace(0, len(shares) - 1, min(count, len(shares))).astype(int))
        return [(0.0, 0.0)] + [
            (float(self.places[i] / self.pairs), float(shares[i])) for i in wanted
        ]


def answer(
    truth: Labels,
    known: Labels,
    score: Score,
    *,
    every: int,
    trainings: int,
    until: float,
    told: Callable[[int, int], None] = lambda shown, found: None,
    follow: Score | None = None,
) -> Trace:
    """Show unknown pairs, surest first, until a share of the missing positives is found.

    Args:
        truth: (N, C) in {-1, 0, +1}; pairs with 0 are never shown.
        known: (N, C) what is known at the start.
        score: Trains on what is known and scores all pairs; called at the start and after every
            round of verdicts.
        every: Verdicts between the first two trainings; see ``round_sizes``.
        trainings: At most this many.
        until: Share of the missing positives to find, in (0, 1].
        told: Called after each round with the verdicts given and the positives found.
        follow: Brings the scores up to date within a round, without training; called every 20
            verdicts, in long rounds 20 times.

    Returns:
        The trace, which ends with the verdict that reached ``until``.
    """
    labels = known.copy()
    open_pairs = (known == 0) & (truth != 0)
    missing, pairs = int((open_pairs & (truth > 0)).sum()), int(open_pairs.sum())
    target, found, shown, rounds = int(np.ceil(until * missing)), 0, 0, 0
    places: list[npt.NDArray[np.int64]] = []
    for size in round_sizes(pairs, every, trainings):
        if found >= target:
            break
        rounds += 1
        scores = score(labels)
        step = size if follow is None else max(_FEWEST, -(-size // _STEPS))
        for start in range(0, size, step):
            if start and follow is not None:
                scores = follow(labels)
            rows, columns = _surest(scores, open_pairs, min(step, size - start))
            hits = shown + 1 + np.flatnonzero(truth[rows, columns] > 0)
            places.append(hits)
            labels[rows, columns] = truth[rows, columns]
            open_pairs[rows, columns] = False
            shown, found = shown + len(rows), found + len(hits)
        told(shown, found)
    kept = np.concatenate(places)[:target] if places else np.zeros(0, np.int64)
    return Trace(kept, missing, pairs, rounds)


def round_sizes(pairs: int, every: int, trainings: int) -> list[int]:
    """How many verdicts each round takes: ``every``, or growing where that needs too many.

    With too few trainings for equal rounds each is longer than the one before by one factor, so
    that the trainings span the whole queue, most of them early, where most is found.

    Returns:
        Positive numbers that sum to ``pairs``, at most ``trainings`` of them.
    """
    low, high = 1.0, float(max(pairs, 2))
    for _ in range(60):
        middle = (low + high) / 2
        enough = sum(every * middle**k for k in range(trainings)) >= pairs
        low, high = (low, middle) if enough else (middle, high)
    growth = 1.0 if every * trainings >= pairs else high
    ends = np.cumsum([every * growth**k for k in range(trainings)]).clip(max=pairs)
    ends[-1] = pairs
    sizes = np.diff(np.ceil(ends), prepend=0).astype(int)
    return [int(size) for size in sizes if size > 0]


def verdicts_until(trace: Trace, shares: tuple[float, ...]) -> Iterator[tuple[float, int | None]]:
    """Verdicts until each share of the missing positives was found; None where it was not."""
    for share in shares:
        place = int(np.ceil(share * trace.missing))
        if place == 0:
            yield share, 0
        else:
            yield share, int(trace.places[place - 1]) if place <= len(trace.places) else None


def _surest(
    scores: Floats, open_pairs: npt.NDArray[np.bool_], size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The open pairs with the highest scores, best first; equal scores in random order."""
    places = np.flatnonzero(open_pairs)
    values = scores.ravel()[places]
    shuffled = np.random.default_rng(len(places)).permutation(len(places))
    order = shuffled[np.argsort(-values[shuffled], kind="stable")][:size]
    rows, columns = np.unravel_index(places[order], scores.shape)
    return rows.astype(np.int64), columns.astype(np.int64)
