"""Accepting many proposals of one category at once, with a guarantee.

K open PRESENT proposals are ordered by score. People check a few drawn at random; then the
largest set from the top may be accepted of which it is *shown* that the share of right ones among
the unchecked (those accepted without being seen) is at least a target, 98 % say. The chance that
any application of this to a category falls short of the target is at most 5 %, whatever the
scores are worth and however often one looks.

*Sets.* Nested: the k_1 < k_2 < … < k_J = K best, each ``growth`` times as large. They follow from
K and the configuration alone, never from verdicts.

*Checks.* Every proposal has a lot, a uniform random number that never changes. For set j the m_j
proposals with the smallest lots among its k_j are checked: a simple random sample without
replacement of exactly that set. As lots stay, most of set j+1's sample has been checked for set j
already; what is new lies in the ranks from k_j to k_{j+1}. High scores are thus checked at a
higher rate m_j / k_j than low ones, and each doubling of a set costs about m/2 more verdicts.

*Test.* Of the k_j proposals W_j are wrong. If at most b_j = ⌊(1 - target)(k_j - checked)⌋ are, the
unchecked ones meet the target. The hypothesis W_j > b_j is rejected when the m_j checked ones
hold at most ``allowed`` wrong ones; m_j is the smallest number for which that has at most the
chance ε under W_j = b_j + 1 (hypergeometric, exact; the test that inverts the bound of Clopper and
Pearson 1934). ``checked`` here is what the plan reckons with (``reserve``); whether what is left
really meets the target, given b_j and the wrong ones found, is checked before it is accepted.

*Many looks.* Sets are tested in the fixed order 1, 2, … and the first failure ends it, so no
correction for their number is needed (fixed-sequence testing: Maurer, Hothorn and Lehmacher
1995; for choosing a threshold with a guarantee: Angelopoulos et al., Learn then Test,
arXiv 2110.01052). When a set fails, a *stage* with more checks and more allowed wrong ones begins
from the first set on; stage s uses ε_s = (1 - confidence) / (s (s+1)), and these add up to
1 - confidence.

A set that qualifies may cease to while it is checked more densely for a later stage, as fewer of
it are left; so accept what qualifies, or go on for more.

The order breaks ties by position, never by lot. Give the same proposals, scores and lots from
the first check until the set is accepted; afterwards, or with a new model run, begin anew with
new lots. The guarantee holds for each category and each such audit on its own: over 100
categories expect up to 5 that fall short.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Doubles, Ids, Values
from clsl_core.errors import InputError
from clsl_core.statistics.intervals import hypergeometric_cdf, spend

__all__ = ["AuditConfig", "AuditSet", "Qualification", "draw_lots", "plan_sets", "qualify"]

State = Literal["excluded", "ask", "failed", "stale", "complete"]


@dataclass(frozen=True)
class AuditConfig:
    """What is promised, and for which categories.

    Attributes:
        target: Share of right ones among what is accepted unseen.
        confidence: Chance, at least, that the promise is kept.
        min_proposals: Categories with fewer open proposals are left to people; also the smallest
            set that is tested.
        min_positives: Categories with fewer known positives are rare, and left to people too.
        growth: Each set is this many times as large as the one before; above 1.
        allowed: Wrong ones that may be among the checked, for each stage.
    """

    target: float = 0.98
    confidence: float = 0.95
    min_proposals: int = 500
    min_positives: int = 50
    growth: float = 2.0
    allowed: tuple[int, ...] = (1, 4, 10, 24)


@dataclass(frozen=True)
class AuditSet:
    """One of the nested sets and its test.

    Attributes:
        size: k, how many of the best proposals it holds.
        checks: m, how many of them are checked at random.
        reserve: Verdicts in the set that are reckoned with by then, smaller sets included.
        at_most: When the test passes, at most this many of the set are wrong.
    """

    size: int
    checks: int
    reserve: int
    at_most: int


@dataclass(frozen=True)
class Qualification:
    """What may be accepted now, and what would be needed for more.

    Attributes:
        state: ``excluded`` (too rare, or no set could ever be shown to qualify), ``ask`` (verdicts
            on ``ask`` decide what else qualifies), ``failed`` (no more than ``accept`` can be
            shown), ``stale`` (what qualified has mostly been decided since: begin anew),
            ``complete`` (all qualify).
        reason: Plain words with the numbers.
        accept: (A,) int64 positions that may be accepted unseen, best first; may be empty.
        precision_low: Lower confidence bound of the share of right ones among ``accept``, at or
            above the target; None while ``accept`` is empty.
        checked, wrong: Verdicts behind that bound, and wrong ones among them.
        ask: (Q,) int64 positions to check next, best first; empty unless the state is ``ask``.
        ask_within: They are drawn from this many of the best proposals.
        may_be_wrong: How many of ``ask`` may turn out wrong for that set to qualify.
        stage: The last stage that was tested.
    """

    state: State
    reason: str
    accept: Ids
    precision_low: float | None = None
    checked: int = 0
    wrong: int = 0
    ask: Ids = field(default_factory=lambda: np.zeros(0, np.int64))
    ask_within: int = 0
    may_be_wrong: int = 0
    stage: int = 1


def draw_lots(count: int, seed: int) -> Doubles:
    """(count,) uniform random numbers in [0, 1) that decide who is checked; save them."""
    return np.random.default_rng(seed).random(count)


def plan_sets(count: int, config: AuditConfig, stage: int = 1) -> tuple[AuditSet, ...]:
    """The nested sets of ``count`` proposals and how many of each must be checked.

    Args:
        count: K, open proposals of the category.
        config: The promise.
        stage: 1 .. len(config.allowed).

    Returns:
        Smallest set first. Sets of which more than half would have to be checked are left out, so
        it may be empty.

    Raises:
        InputError: There is no such stage.
    """
    if not 1 <= stage <= len(config.allowed):
        raise InputError(f"there are stages 1 to {len(config.allowed)}, got {stage}.")
    return _plan_stages(count, config)[stage - 1]


@lru_cache(maxsize=64)
def _plan_stages(count: int, config: AuditConfig) -> tuple[tuple[AuditSet, ...], ...]:
    """The sets of every stage; a set's reserve knows all that may have been checked before it."""
    sizes = [count]
    while sizes[-1] / config.growth >= config.min_proposals:
        sizes.append(int(sizes[-1] / config.growth))
    ends = np.array(sizes[::-1])
    widths = np.diff(ends, prepend=0)
    rates = np.zeros(len(ends))  # at which the ranks between two ends have been checked so far
    stages = []
    for stage in range(1, len(config.allowed) + 1):
        plan = []
        for j, size in enumerate(ends.tolist()):
            step = _fewest_checks(size, widths[: j + 1], rates[: j + 1], config, stage)
            if step is not None:
                plan.append(step)
                rates[: j + 1] = np.maximum(rates[: j + 1], step.checks / size)
        stages.append(tuple(plan))
    return tuple(stages)


def qualify(
    scores: Values,
    lots: Doubles,
    verdicts: npt.NDArray[np.int8],
    positives: int,
    config: AuditConfig,
) -> Qualification:
    """Find the largest set that may be accepted, and what to check for a larger one.

    Call it, have ``ask`` checked, call it again, until the state is no longer ``ask`` or until
    ``accept`` is enough. Then apply ``accept``; the audit has ended.

    Args:
        scores: (K,) of the category's open PRESENT proposals, all as they were when the audit
            began, decided ones included.
        lots: (K,) from ``draw_lots``, drawn when the audit began.
        verdicts: (K,) int8, what people said since: +1 right, -1 wrong, 0 nothing yet. A checked
            proposal that people could not decide counts as wrong (-1).
        positives: Known positives of the category.
        config: The promise; must not change during the audit.

    Returns:
        What may be accepted unseen, with the bound, and what is asked for next.

    Raises:
        InputError: Lengths differ or a score is not finite.
    """
    if not (len(scores) == len(lots) == len(verdicts) and np.all(np.isfinite(scores))):
        raise InputError(
            f"expected finite scores, lots and verdicts of one length, got {len(scores)}, "
            f"{len(lots)} and {len(verdicts)}."
        )
    excluded = _why_excluded(len(scores), positives, config)
    if excluded:
        return Qualification("excluded", excluded, np.zeros(0, np.int64))
    audit = _Audit(np.argsort(-scores, kind="stable"), lots, verdicts, config)
    passed: list[_Tested] = []
    for stage in range(1, len(config.allowed) + 1):
        state, tested = audit.walk(stage)
        passed += tested if state == "complete" else tested[:-1]
        if state != "failed":
            break
    usable = [audit.accept(test) for test in passed]
    best = max(filter(None, usable), key=lambda found: len(found.accept), default=None)
    if state == "ask":
        return _ask(audit, tested[-1], best)
    if passed and (best is None or (state == "complete" and usable[-1] is None)):
        state = "stale"
    return _report(state, _NEXT[state], stage, best)


@dataclass(frozen=True)
class _Tested:
    """A set that was looked at, with the positions checked for it and the wrong ones among them."""

    set: AuditSet
    drawn: Ids
    wrong: int
    stage: int


@dataclass(frozen=True)
class _Accepted:
    """What of a set that passed its test may be accepted unseen."""

    test: _Tested
    accept: Ids
    precision_low: float


@dataclass(frozen=True)
class _Audit:
    """The proposals in order of score, with what is known of them."""

    order: Ids
    lots: Doubles
    verdicts: npt.NDArray[np.int8]
    config: AuditConfig

    def walk(self, stage: int) -> tuple[State, list[_Tested]]:
        """Test the sets of a stage in order; the state belongs to the last set of the list."""
        tested: list[_Tested] = []
        for step in plan_sets(len(self.order), self.config, stage):
            top = self.order[: step.size]
            first = np.sort(np.argsort(self.lots[top], kind="stable")[: step.checks])
            wrong = int(np.sum(self.verdicts[top[first]] < 0))
            tested.append(_Tested(step, top[first], wrong, stage))
            if wrong > self.config.allowed[stage - 1]:
                return "failed", tested
            if np.any(self.verdicts[top[first]] == 0):
                return "ask", tested
        return ("complete" if tested else "failed"), tested

    def accept(self, test: _Tested) -> _Accepted | None:
        """What is left of a set, None where so much was decided that the target may be missed.

        The test has shown that the whole set holds at most ``at_most`` wrong ones; those known
        by now are not among the rest.
        """
        top = self.order[: test.set.size]
        rest = top[self.verdicts[top] == 0]
        wrong = max(test.set.at_most - int(np.sum(self.verdicts[top] < 0)), 0)
        if not len(rest) or wrong > (1 - self.config.target) * len(rest):
            return None
        return _Accepted(test, rest, 1 - wrong / len(rest))


def _fewest_checks(
    size: int, widths: Ids, rates: Doubles, config: AuditConfig, stage: int
) -> AuditSet | None:
    """The set with the fewest checks that make a test; None where that is more than half of it.

    Its reserve is the number of checks plus what is expected to have been checked before at
    higher rates, with four standard deviations for luck. It follows from the plan, not from the
    lots, as it decides which hypothesis is tested.
    """
    allowed = config.allowed[stage - 1]
    enough = 2 * (allowed + 3 * allowed**0.5 + 12) / max(1 - config.target, 1e-6)
    m = np.arange(1, min(size // 2, int(enough)) + 1)
    extra = np.maximum(rates - m[:, None] / size, 0.0) @ widths
    reserve = (m + np.ceil(extra + 4 * np.sqrt(extra))).astype(np.int64)
    at_most = np.floor((1 - config.target) * np.maximum(size - reserve, 0)).astype(np.int64)
    chance = hypergeometric_cdf(allowed, at_most + 1, m, size)
    fits = (chance <= spend(1 - config.confidence, stage)) & (reserve <= size // 2)
    if not fits.any():
        return None
    first = int(np.argmax(fits))
    return AuditSet(size, int(m[first]), int(reserve[first]), int(at_most[first]))


def _why_excluded(count: int, positives: int, config: AuditConfig) -> str:
    if count < config.min_proposals:
        return f"{count:,} open proposals are too few; {config.min_proposals:,} are needed."
    if positives < config.min_positives:
        return f"Rare category: {positives} known positives, {config.min_positives} are needed."
    if not plan_sets(count, config):
        return f"Of {count:,} proposals more than half would have to be checked; review them all."
    return ""


def _ask(audit: _Audit, test: _Tested, best: _Accepted | None) -> Qualification:
    ask = test.drawn[audit.verdicts[test.drawn] == 0]
    size, spare = test.set.size, audit.config.allowed[test.stage - 1] - test.wrong
    then = f"The best {size:,} need {len(ask):,} more verdicts, at most {spare} of them wrong."
    result = _report("ask", then, test.stage, best)
    return replace(result, ask=ask, ask_within=size, may_be_wrong=spare)


def _report(state: State, then: str, stage: int, best: _Accepted | None) -> Qualification:
    if best is None:
        now = f"No proposals qualify yet. {then}"
        return Qualification(state, now, np.zeros(0, np.int64), stage=stage)
    share = f"{np.floor(1000 * best.precision_low + 1e-9) / 10:g} %"
    return Qualification(
        state,
        f"{len(best.accept):,} proposals qualify: at least {share} of them are right. {then}",
        best.accept,
        best.precision_low,
        checked=len(best.test.drawn),
        wrong=best.test.wrong,
        stage=stage,
    )


_NEXT: dict[State, str] = {
    "failed": "The checked ones hold too many wrong ones to show more.",
    "stale": "Too many have been decided since; begin the audit anew.",
    "complete": "These are all.",
}
