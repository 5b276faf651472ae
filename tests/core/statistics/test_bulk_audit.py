"""By simulation: what is accepted unseen falls short of the target in at most 5 % of all audits."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from clsl_core.errors import InputError
from clsl_core.statistics.bulk_audit import (
    AuditConfig,
    Qualification,
    draw_lots,
    plan_sets,
    qualify,
)

CONFIG = AuditConfig()
Truth = Callable[[np.random.Generator], np.ndarray]


def answer(wrong: np.ndarray, seed: int, config: AuditConfig) -> tuple[Qualification, np.ndarray]:
    """A whole audit: people answer whatever is asked until nothing more is."""
    scores = -np.arange(len(wrong), dtype=float)
    lots, verdicts = draw_lots(len(wrong), 10_000 + seed), np.zeros(len(wrong), np.int8)
    for _ in range(1000):
        result = qualify(scores, lots, verdicts, 100, config)
        if result.state != "ask":
            return result, verdicts
        assert len(result.ask)
        assert (verdicts[result.ask] == 0).all()
        verdicts[result.ask] = np.where(wrong[result.ask], -1, 1)
    raise AssertionError("the audit does not end")


def just_too_bad(count: int, config: AuditConfig) -> np.ndarray:
    """One wrong proposal more than allowed in every set: the worst case of the guarantee."""
    wrong = np.zeros(count, bool)
    for step in plan_sets(count, config):
        lacking = step.at_most + 1 - int(wrong[: step.size].sum())
        wrong[step.size - 1 - np.arange(max(lacking, 0))] = True
    return wrong


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("just too bad", lambda rng: just_too_bad(2000, CONFIG)),
        ("just too bad, large", lambda rng: just_too_bad(12_000, CONFIG)),
        ("flat", lambda rng: rng.random(3000) < 0.02),
        ("flat, worse", lambda rng: rng.random(3000) < 0.03),
        ("good at first", lambda rng: rng.random(5000) < np.linspace(0, 0.1, 5000)),
        ("good, then a cliff", lambda rng: (np.arange(4000) > 2000) & (rng.random(4000) < 0.06)),
        ("best scores are the worst", lambda rng: rng.random(3000) < np.linspace(0.06, 0, 3000)),
    ],
)
def test_false_acceptances_stay_under_the_target(name: str, make: Truth) -> None:
    rng = np.random.default_rng(len(name))
    repetitions, short = 400, 0
    for seed in range(repetitions):
        wrong = make(rng)
        result, verdicts = answer(wrong, seed, CONFIG)
        if len(result.accept):
            assert (verdicts[result.accept] == 0).all()
            assert result.precision_low is not None
            assert result.precision_low >= CONFIG.target
            short += np.mean(wrong[result.accept]) > 1 - CONFIG.target
    assert short / repetitions <= 0.05


def test_the_guarantee_is_not_empty_caution() -> None:
    """Asked for less confidence, the same worst case falls short as often as it may."""
    config = replace(CONFIG, confidence=0.5, allowed=(1,))
    wrong = just_too_bad(2000, config)
    short = sum(len(answer(wrong, seed, config)[0].accept) > 0 for seed in range(400))
    assert 0.12 <= short / 400 <= 0.25 + 0.05  # the first stage spends half of 0.5


def test_choosing_the_threshold_by_looking_would_break_it() -> None:
    """What the module is for: the best-looking threshold of one sample promises too much."""
    rng = np.random.default_rng(0)
    short = 0
    for _ in range(300):
        wrong = rng.random(3000) < 0.03
        checked = rng.random(3000) < 0.1
        right_so_far = np.cumsum(checked & ~wrong) / np.maximum(np.cumsum(checked), 1)
        qualifying = np.flatnonzero((right_so_far >= CONFIG.target) & (np.cumsum(checked) >= 20))
        if len(qualifying):
            unseen = ~checked[: qualifying[-1] + 1]
            short += np.mean(wrong[: qualifying[-1] + 1][unseen]) > 1 - CONFIG.target
    assert short / 300 > 0.3


def test_good_proposals_are_accepted_with_few_checks() -> None:
    shares, checks = [], []
    for seed in range(40):
        wrong = np.random.default_rng(seed).random(10_000) < 0.001
        result, verdicts = answer(wrong, seed, CONFIG)
        shares.append(len(result.accept) / 10_000)
        checks.append(np.sum(verdicts != 0))
    assert np.mean(shares) > 0.8
    assert np.median(checks) < 1000


def test_the_accepted_set_is_the_top_of_the_order() -> None:
    wrong = np.arange(6000) > 3000
    result, verdicts = answer(wrong, 0, CONFIG)
    assert result.state == "failed"
    assert len(result.accept) > 0
    unseen = np.flatnonzero(verdicts == 0)
    np.testing.assert_array_equal(result.accept, unseen[: len(result.accept)])
    assert result.accept.max() <= 3000


def test_perfect_proposals_complete_in_the_first_stage() -> None:
    result, verdicts = answer(np.zeros(4000, bool), 0, CONFIG)
    assert (result.state, result.stage, result.wrong) == ("complete", 1, 0)
    assert len(result.accept) == 4000 - np.sum(verdicts != 0)
    assert "at least 9" in result.reason


def test_the_bound_by_hand() -> None:
    """What the test has shown, less the wrong ones that are known, over what is left."""
    config = replace(CONFIG, allowed=(4,))
    step = plan_sets(2000, config)[-1]
    scores, lots, verdicts = -np.arange(2000.0), draw_lots(2000, 1), np.zeros(2000, np.int8)
    while (result := qualify(scores, lots, verdicts, 60, config)).state == "ask":
        verdicts[result.ask] = 1
    drawn = np.argsort(lots)[: step.checks]
    verdicts[drawn[:3]] = -1
    result = qualify(scores, lots, verdicts, 60, config)
    rest = 2000 - int(np.sum(verdicts != 0))
    assert (len(result.accept), result.checked, result.wrong) == (rest, step.checks, 3)
    assert result.precision_low == pytest.approx(1 - (step.at_most - 3) / rest)


def test_each_set_is_checked_at_its_own_known_rate() -> None:
    """Inside a stratum between two sets everyone is as likely to be asked, and lower ones less."""
    times = np.zeros(3000)
    for seed in range(300):
        times[answer(np.zeros(3000, bool), seed, CONFIG)[1] != 0] += 1
    sizes = [step.size for step in plan_sets(3000, CONFIG)]
    rates = [part.mean() / 300 for part in np.split(times, sizes[:-1])]
    assert (np.diff(rates) < 0).all()
    last = plan_sets(3000, CONFIG)[-1]
    assert rates[-1] == pytest.approx(last.checks / last.size, rel=0.03)


def test_ties_are_broken_by_position_not_by_lot() -> None:
    lots = draw_lots(2000, 0)
    result = qualify(np.zeros(2000), lots, np.zeros(2000, np.int8), 100, CONFIG)
    assert result.ask.max() < result.ask_within < 2000


def test_the_first_question() -> None:
    config = CONFIG
    first = plan_sets(4000, config)[0]
    result = qualify(-np.arange(4000.0), draw_lots(4000, 1), np.zeros(4000, np.int8), 60, config)
    assert result.state == "ask"
    assert (len(result.ask), result.ask_within) == (first.checks, first.size)
    assert (len(result.accept), result.precision_low) == (0, None)
    assert result.may_be_wrong == config.allowed[0]
    assert f"need {first.checks} more verdicts" in result.reason


def test_after_a_failure_the_next_stage_asks_for_more() -> None:
    scores, lots, verdicts = -np.arange(9000.0), draw_lots(9000, 1), np.zeros(9000, np.int8)
    first = qualify(scores, lots, verdicts, 60, CONFIG)
    verdicts[first.ask] = 1
    verdicts[first.ask[:2]] = -1
    result = qualify(scores, lots, verdicts, 60, CONFIG)
    later = plan_sets(9000, CONFIG, 2)[0]
    assert (result.state, result.stage) == ("ask", 2)
    assert result.ask_within == later.size
    assert len(result.ask) + np.sum(verdicts[: later.size] != 0) >= later.checks
    assert result.may_be_wrong <= CONFIG.allowed[1]


def test_an_accepted_set_stays_when_a_later_stage_fails() -> None:
    scores, lots, verdicts = -np.arange(9000.0), draw_lots(9000, 1), np.zeros(9000, np.int8)
    first = qualify(scores, lots, verdicts, 60, CONFIG)
    verdicts[first.ask] = 1
    accepted = len(qualify(scores, lots, verdicts, 60, CONFIG).accept)
    verdicts[first.ask_within :] = -1  # all below is wrong
    result = qualify(scores, lots, verdicts, 60, CONFIG)
    while result.state == "ask":
        verdicts[result.ask] = 1
        result = qualify(scores, lots, verdicts, 60, CONFIG)
    assert result.state == "failed"
    assert 0 < len(result.accept) <= accepted


def test_decisions_outside_the_audit_are_noticed() -> None:
    scores, lots, verdicts = -np.arange(4000.0), draw_lots(4000, 1), np.zeros(4000, np.int8)
    first = qualify(scores, lots, verdicts, 60, CONFIG)
    verdicts[first.ask] = 1
    assert len(qualify(scores, lots, verdicts, 60, CONFIG).accept) > 0
    verdicts[: first.ask_within // 2] = 1
    assert len(qualify(scores, lots, verdicts, 60, CONFIG).accept) == 0
    verdicts[:3000] = 1
    verdicts[3000:] = -1
    assert qualify(scores, lots, verdicts, 60, CONFIG).state == "stale"


@pytest.mark.parametrize(
    ("count", "positives", "words"),
    [(499, 1000, "too few"), (5000, 49, "Rare category"), (500, 1000, "review them all")],
)
def test_rare_categories_are_left_to_people(count: int, positives: int, words: str) -> None:
    verdicts = np.zeros(count, np.int8)
    result = qualify(np.zeros(count), draw_lots(count, 0), verdicts, positives, CONFIG)
    assert result.state == "excluded"
    assert words in result.reason
    assert len(result.ask) == len(result.accept) == 0


def test_minimum_counts_are_configured() -> None:
    config = replace(CONFIG, min_proposals=300, min_positives=0, target=0.9)
    result = qualify(np.zeros(300), draw_lots(300, 0), np.zeros(300, np.int8), 0, config)
    assert result.state == "ask"


def test_a_higher_target_needs_more_checks() -> None:
    few, more = (plan_sets(5000, replace(CONFIG, target=t))[-1].checks for t in (0.95, 0.98))
    assert few < more


def test_sets_grow_to_the_whole() -> None:
    sizes = [step.size for step in plan_sets(50_000, CONFIG)]
    assert sizes[-1] == 50_000
    assert sizes[0] >= CONFIG.min_proposals
    np.testing.assert_allclose(np.divide(sizes[1:], sizes[:-1]), CONFIG.growth, rtol=0.01)


def test_the_same_audit_gives_the_same_answer() -> None:
    wrong = np.random.default_rng(0).random(4000) < 0.01
    one, other = answer(wrong, 3, CONFIG)[0], answer(wrong, 3, CONFIG)[0]
    np.testing.assert_array_equal(one.accept, other.accept)
    assert one.reason == other.reason


def test_what_cannot_be_audited_is_refused() -> None:
    with pytest.raises(InputError, match="one length"):
        qualify(np.zeros(3), np.zeros(2), np.zeros(3, np.int8), 100, CONFIG)
    with pytest.raises(InputError, match="finite"):
        qualify(np.array([np.nan]), np.zeros(1), np.zeros(1, np.int8), 100, CONFIG)
    with pytest.raises(InputError, match="stages"):
        plan_sets(1000, CONFIG, stage=9)
