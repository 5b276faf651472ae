"""Methods to compare, small enough to read, behind one Protocol (``method.Method``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.baselines.blend import RankBlend
from benchmarks.baselines.frequency import CategoryFrequency, RandomScores
from benchmarks.baselines.logistic import LogisticPerCategory
from benchmarks.baselines.method import Method, NotApplicable, Predicted, Question
from benchmarks.baselines.ours import ABLATIONS, Ours
from benchmarks.baselines.released import Released
from benchmarks.baselines.token_head import TokenHead
from benchmarks.baselines.vote import NeighbourVote
from benchmarks.baselines.worded import Described, Prompted
from benchmarks.baselines.zero_shot import ZeroShot
from clsl_core.errors import NotFoundError

__all__ = ["BLENDED", "METHODS", "Method", "NotApplicable", "Predicted", "Question", "make_method"]

METHODS: Mapping[str, Callable[[], Method]] = {
    "random": RandomScores,
    "frequency": CategoryFrequency,
    "zero-shot-global": partial(ZeroShot, patches=False),
    "zero-shot-patch": partial(ZeroShot, patches=True),
    "knn": NeighbourVote,
    "knn-weak": partial(NeighbourVote, unknown_as_negative=True),
    "logistic": LogisticPerCategory,
    "logistic-known": partial(LogisticPerCategory, unknown_as_negative=False),
    "logistic-weak": partial(LogisticPerCategory, unknown_as_negative=True),
    "token-head": TokenHead,
    "released": Released,
    "rank-blend": RankBlend,
    "ours": Ours,
    "ours:no-instant": partial(Ours, instant=False),
    **{f"ours:{name}": partial(Ours, change) for name, change in ABLATIONS.items()},
    "ours:with-descriptions": partial(Described, Ours),
    "ours:with-prompts": partial(Prompted, Ours),
    "zero-shot-patch:with-descriptions": partial(Described, partial(ZeroShot, patches=True)),
    "zero-shot-patch:with-prompts": partial(Prompted, partial(ZeroShot, patches=True)),
}
"""Every method by the name used on the command line."""

BLENDED = ("knn", "logistic", "released")
"""What ``rank-blend`` is made of, by name."""


def make_method(name: str) -> Method:
    """A fresh method.

    Raises:
        NotFoundError: With the names there are.
    """
    try:
        return METHODS[name]()
    except KeyError:
        known = ", ".join(METHODS)
        raise NotFoundError(f"there is no method {name!r}; the methods are: {known}") from None
