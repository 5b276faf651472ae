"""The oracle loop: counts verdicts, learns on the way, stops where it should."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import completion, completion_cell
from benchmarks.baselines import Question
from benchmarks.baselines.ours import Ours, shorter
from benchmarks.oracle import Trace, answer, round_sizes, verdicts_until
from benchmarks.regimes import Regime, keep
from benchmarks.runs import run_here
from benchmarks.tokens import load, subset
from tests.benchmarks.drawn import write_tokens

TRUTH = np.where(np.random.default_rng(1).random((60, 5)) < 0.2, 1, -1).astype(np.int8)
KNOWN = keep(TRUTH, Regime.POSITIVES, 0.5, 0)
MISSING = int(((KNOWN == 0) & (TRUTH > 0)).sum())


def test_a_perfect_order_needs_one_verdict_for_each_positive() -> None:
    trace = answer(
        TRUTH, KNOWN, lambda known: TRUTH.astype(np.float32), every=7, trainings=99, until=1.0
    )
    assert trace.missing == MISSING
    assert trace.pairs == int((KNOWN == 0).sum())
    assert np.array_equal(trace.places, np.arange(1, MISSING + 1))
    assert dict(verdicts_until(trace, (0.5, 1.0))) == {0.5: -(-MISSING // 2), 1.0: MISSING}
    assert trace.points()[0] == (0.0, 0.0)
    assert trace.points()[-1] == pytest.approx((MISSING / trace.pairs, 1.0))


def test_the_worst_order_needs_them_all() -> None:
    trace = answer(
        TRUTH, KNOWN, lambda known: -TRUTH.astype(np.float32), every=10, trainings=5, until=1.0
    )
    assert trace.places[0] == trace.pairs - MISSING + 1
    assert trace.places[-1] == trace.pairs


def test_verdicts_are_known_at_the_next_training() -> None:
    seen: list[np.ndarray] = []

    def score(known: np.ndarray) -> np.ndarray:
        seen.append(known.copy())
        return np.zeros(known.shape, np.float32)

    told: list[tuple[int, int]] = []
    answer(
        TRUTH, KNOWN, score, every=20, trainings=99, until=1.0,
        told=lambda shown, found: told.append((shown, found)),
    )  # fmt: skip
    counts = [int((known != 0).sum()) for known in seen]
    assert np.diff(counts).tolist() == [20] * (len(seen) - 1)
    for known in seen:
        assert np.array_equal(known[known != 0], TRUTH[known != 0])
    assert [shown for shown, _ in told[:-1]] == list(range(20, 20 * len(told), 20))
    assert told[-1][1] == MISSING


def test_scores_follow_the_verdicts_within_a_round() -> None:
    trained: list[int] = []
    followed: list[int] = []

    def score(known: np.ndarray) -> np.ndarray:
        trained.append(int((known != 0).sum()))
        return -TRUTH.astype(np.float32)

    def follow(known: np.ndarray) -> np.ndarray:
        followed.append(int((known != 0).sum()))
        return TRUTH.astype(np.float32)

    trace = answer(TRUTH, KNOWN, score, every=60, trainings=9, until=1.0, follow=follow)
    start = trained[0]
    assert followed[:2] == [start + 20, start + 40]
    assert trained == [start, start + 60][: len(trained)]
    # The training is wrong each time, the following is right: of 60 verdicts 40 find something.
    assert trace.places[:3].tolist() == [21, 22, 23]


def test_ours_follows_verdicts_without_training(tmp_path: Path) -> None:
    inputs = load(write_tokens(tmp_path / "tokens.npz"), None)
    labels = keep(inputs.truth, Regime.POSITIVES, 0.3, 0)
    nothing = subset(inputs.features, np.zeros(0, np.int64))
    ours = Ours(shorter)
    before = ours.fit_predict(
        Question(inputs.features, labels, nothing, inputs.categories, 0)
    ).train
    np.testing.assert_allclose(ours.follow(labels), before, atol=1e-4)
    told = labels.copy()
    hidden = np.flatnonzero((labels[:, 1] == 0) & (inputs.truth[:, 1] > 0))
    told[hidden[before[hidden, 1].argmin()], 1] = 1  # a surprise: what is expected teaches little
    moved = np.abs(ours.follow(told) - before)
    assert moved[:, 1].max() > 0.01
    assert np.delete(moved, 1, 1).max() < 1e-4


def test_pairs_without_truth_are_never_shown() -> None:
    truth = TRUTH.copy()
    truth[:, 0] = 0
    known = np.where(truth == 0, np.int8(0), KNOWN)
    trace = answer(truth, known, lambda k: np.ones(k.shape, np.float32), every=5, trainings=3,
                   until=1.0)  # fmt: skip
    assert trace.pairs == int((known[:, 1:] == 0).sum())


def test_a_share_that_was_not_reached_has_no_count() -> None:
    trace = Trace(np.array([3, 9]), missing=4, pairs=20, trainings=1)
    assert dict(verdicts_until(trace, (0.25, 0.5, 0.75))) == {0.25: 3, 0.5: 9, 0.75: None}


@given(st.integers(1, 50_000), st.integers(1, 500), st.integers(1, 60))
@settings(max_examples=80, deadline=None)
def test_rounds_fill_the_queue_within_the_trainings(pairs: int, every: int, most: int) -> None:
    sizes = round_sizes(pairs, every, most)
    assert sum(sizes) == pairs
    assert 0 < len(sizes) <= most
    assert min(sizes) > 0
    if pairs <= every * most:
        assert set(sizes[:-1]) <= {every}
    elif most > 1:
        assert abs(sizes[0] - every) <= 1


def test_a_cell_finds_more_than_chance(tmp_path: Path) -> None:
    request = {
        "train": str(write_tokens(tmp_path / "a.npz", images=120)), "text": False,
        "regime": "positives", "known": 0.5, "seed": 0, "every": 40, "trainings": 10,
        "folder": str(tmp_path / "out"),
    }  # fmt: skip
    knn, chance = (completion_cell.run({**request, "method": name}) for name in ("knn", "random"))
    assert knn["missing"] == chance["missing"]
    assert knn["verdicts"]["0.5"] < 0.6 * chance["verdicts"]["0.5"]
    assert (tmp_path / "out/masks/positives-0.5-0.npz").exists()
    text = completion_cell.run({**request, "method": "zero-shot-patch"})
    assert "no text" in text["not_applicable"]


def test_the_program_counts_and_is_resumed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    options = ["--train", str(write_tokens(tmp_path / "a.npz")), "--seeds", "2", "--every", "50",
               "--json", str(out), "--resume", "--methods"]  # fmt: skip
    assert completion.main([*options, "random"], run_here) == 0
    first = json.loads(out.read_text())["cells"]
    assert completion.main([*options, "random", "frequency"], run_here) == 0
    whole = json.loads(out.read_text())
    assert whole["cells"][:2] == first
    row = whole["summary"][0]
    counts = [cell["verdicts"]["0.9"] for cell in first]
    assert row["verdicts_0.9"] == pytest.approx([np.mean(counts), np.std(counts, ddof=1)])
    shares = [cell["verdicts"]["0.9"] / cell["pairs"] for cell in first]
    assert row["shown_0.9"][0] == pytest.approx(np.mean(shares))
    assert "| frequency " in capfd.readouterr().out
    assert out.with_suffix(".svg").read_bytes().count(b"<polyline") == 2
    assert completion.main([*options[:-1], "--every", "0"]) == 1
    assert "--every" in capfd.readouterr().err
