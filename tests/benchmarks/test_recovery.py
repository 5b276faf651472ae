"""The recovery program: same masks for all, resumable, and the figures are those of the scores."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import cell as cell_module
from benchmarks import recovery
from benchmarks.cell import Cell
from benchmarks.problem import Inputs, Problem
from benchmarks.regimes import Regime, keep
from benchmarks.runs import Sheet, facts, peak_memory, run_child, run_here
from clsl_core.errors import InputError, NotFoundError
from tests.benchmarks.drawn import NAMES, write_tokens


def request(inputs: Inputs, method: str = "knn", folder: Path | None = None) -> dict[str, Any]:
    return {
        "inputs": inputs.to_json(),
        "method": method,
        "regime": "mixed",
        "known": 0.5,
        "seed": 0,
        "min_positives": 1,
        "folder": str(folder) if folder else None,
    }


def test_folds_test_every_image_once_and_never_train_on_it(tmp_path: Path) -> None:
    problem = Problem.load(Inputs(write_tokens(tmp_path / "a.npz"), folds=4))
    labels = problem.labels(Regime.MIXED, 0.5, 0, None)
    folds = list(problem.folds(labels))
    tested = np.concatenate([fold.rows for fold in folds])
    assert np.array_equal(np.sort(tested), np.arange(60))
    pooled = problem.train.features.pooled()
    for fold in folds:
        assert np.array_equal(fold.test.features.pooled(), pooled[fold.rows])
        assert np.array_equal(fold.labels, np.delete(labels, fold.rows, 0))
        assert len(fold.train.features) + len(fold.rows) == 60


def test_categories_left_out_of_means_are_named(tmp_path: Path) -> None:
    truth = np.zeros((60, 4), np.int8)
    truth[:, 0], truth[:3, 1], truth[:2, 2] = 1, 1, 1
    problem = Problem.load(Inputs(write_tokens(tmp_path / "a.npz", labels=truth)))
    assert problem.left_out(3) == ["kite", "lamp"]
    assert problem.left_out(0) == ["lamp"]
    half = Problem.load(Inputs(problem.inputs.train, test_share=0.5))
    (fold,) = half.folds(half.train.truth)
    counts = (fold.test.truth > 0).sum(0)
    expected = [name for name, n in zip(NAMES, counts, strict=True) if n < 2]
    assert half.left_out(2) == expected


def test_a_test_file_is_tested_on_whole(tmp_path: Path) -> None:
    train = write_tokens(tmp_path / "a.npz")
    test = write_tokens(tmp_path / "b.npz", images=30)
    problem = Problem.load(Inputs(train, test))
    (fold,) = problem.folds(problem.labels(Regime.MIXED, 0.5, 0, None))
    assert (len(fold.train.features), len(fold.test.features)) == (60, 30)
    assert Inputs.from_json(json.loads(json.dumps(problem.inputs.to_json()))) == problem.inputs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "1 folds of 60 images"),
        ({"folds": 61}, "61 folds of 60 images"),
        ({"test_share": 0.0}, "not between 0 and 1"),
        ({"test_share": 1.0}, "not between 0 and 1"),
    ],
)
def test_splits_that_make_no_sense_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Problem.load(Inputs(write_tokens(tmp_path / "a.npz"), **options))


def test_a_test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    train = write_tokens(tmp_path / "a.npz")
    names = write_tokens(tmp_path / "b.npz", categories=np.array(["a", "b", "c", "d"]))
    with pytest.raises(InputError, match="other categories"):
        Problem.load(Inputs(train, names))
    narrow = np.ones((60, 9, 6), np.float32)
    other = write_tokens(tmp_path / "c.npz", tokens=narrow)
    with pytest.raises(InputError, match="6 numbers"):
        Problem.load(Inputs(train, other))


def test_a_cell_measures_what_its_saved_scores_say(tmp_path: Path) -> None:
    inputs = Inputs(write_tokens(tmp_path / "a.npz", images=90), test_share=0.4)
    answer = cell_module.run(request(inputs, folder=tmp_path / "out"))
    problem = Problem.load(inputs)
    labels = keep(problem.train.truth, Regime.MIXED, 0.5, 0)
    with np.load(tmp_path / "out/masks/mixed-0.5-0.npz") as saved:
        assert np.array_equal(saved["labels"], labels)
    (fold,) = problem.folds(labels)
    with np.load(tmp_path / "out/scores/mixed-0.5-seed0-knn-fold0.npz") as saved:
        found = recovery_map(fold.train.truth, saved["train"], fold.labels == 0)
        assert answer["recovery"]["map"] == pytest.approx(found)
        everything = np.ones(fold.test.truth.shape, bool)
        tested = recovery_map(fold.test.truth, saved["test"], everything)
        assert answer["test"]["map"] == pytest.approx(tested)
    assert answer["known_present"] == int((labels > 0).sum())
    assert answer["peak_bytes"] >= answer["bytes_before"] > 0


def recovery_map(truth: np.ndarray, scores: np.ndarray, judged: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return float(
        np.mean(
            [
                average_precision_score(truth[judged[:, c], c] > 0, scores[judged[:, c], c])
                for c in range(truth.shape[1])
                if (truth[judged[:, c], c] > 0).any()
            ]
        )
    )


def test_the_blend_takes_up_what_its_parts_scored(tmp_path: Path) -> None:
    inputs = Inputs(write_tokens(tmp_path / "a.npz"), test_share=0.4)
    out = tmp_path / "out"
    for method in ("knn", "logistic-known"):
        cell_module.run(request(inputs, method, out))
    question_rows = 36
    fake = np.linspace(0, 1, question_rows * 4, dtype=np.float32).reshape(question_rows, 4)
    file = out / "scores/mixed-0.5-seed0-released-fold0.npz"
    np.savez(file, train=fake, test=fake[:24], seconds=np.float64(1000))
    answer = cell_module.run(request(inputs, "rank-blend", out))
    assert answer["seconds"] > 1000  # what the parts took is not forgotten
    with np.load(out / "scores/mixed-0.5-seed0-rank-blend-fold0.npz") as saved:
        assert saved["train"].shape == (36, 4)


def test_what_cannot_be_done_is_said_not_scored(tmp_path: Path) -> None:
    inputs = Inputs(write_tokens(tmp_path / "a.npz"), test_share=0.4, text=False)
    answer = cell_module.run(request(inputs, "zero-shot-patch"))
    assert "no text" in answer["not_applicable"]


def test_cells_are_in_order_and_the_single_regime_has_one_share() -> None:
    found = recovery.cells(["random", "knn"], ["mixed", "single"], [0.1, 0.5], 2)
    assert len(found) == 2 * 2 * 2 + 2 * 2
    assert found[0] == Cell("random", Regime.MIXED, 0.1, 0)
    assert len({cell.key for cell in found}) == len(found)
    with pytest.raises(NotFoundError):
        recovery.cells(["nothing"], ["mixed"], [0.1], 1)


def test_the_program_runs_is_resumed_and_draws(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train, out = write_tokens(tmp_path / "a.npz"), tmp_path / "out.json"
    options = ["--train", str(train), "--folds", "2", "--known", "0.5", "--seeds", "2",
               "--min-positives", "1", "--json", str(out)]  # fmt: skip
    assert recovery.main([*options, "--methods", "random"], run_here) == 0
    first = json.loads(out.read_text())
    assert [cell["seed"] for cell in first["cells"]] == [0, 1]
    assert first["about"]["python"]
    assert first["about"]["inputs"]["folds"] == 2
    assert recovery.main([*options, "--methods", "random"], run_here) == 1  # would overwrite
    assert "--resume" in capfd.readouterr().err
    methods = ["random", "frequency", "logistic-weak"]
    assert recovery.main([*options, "--resume", "--methods", *methods], run_here) == 0
    whole = json.loads(out.read_text())
    assert whole["cells"][:2] == first["cells"]  # not measured again
    assert len(whole["cells"]) == 6
    row = next(row for row in whole["summary"] if row["method"] == "random")
    values = [cell["test"]["map"] for cell in first["cells"]]
    assert row["test_map"] == pytest.approx([np.mean(values), np.std(values, ddof=1)])
    assert "| logistic-weak " in capfd.readouterr().out
    drawn = ElementTree.parse(out.with_suffix(".svg")).getroot()
    titles = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}title")}
    assert titles == set(methods)


def test_results_of_other_inputs_are_not_mixed_in(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    sheet = Sheet.open(file, {"a": 1}, resume=False)
    sheet.add({"key": "x", "value": float("nan")}, [])
    sheet.add({"key": "y", "failed": "took too long"}, [])
    assert Sheet.open(file, {"a": 1}, resume=True).cells == [{"key": "x", "value": None}]
    with pytest.raises(InputError, match="other inputs"):
        Sheet.open(file, {"a": 2}, resume=True)
    file.write_text("[]")
    with pytest.raises(InputError, match="holds no results"):
        Sheet.open(file, {"a": 1}, resume=True)


def test_a_cell_that_dies_or_takes_too_long_costs_itself_only(tmp_path: Path) -> None:
    assert "no answer" in run_child("benchmarks.no_such_module", {}, 60)["failed"]
    assert "longer than" in run_child("benchmarks.cell", {}, 0.01)["failed"]
    missing = request(Inputs(tmp_path / "missing.npz"))
    assert "there is no file" in run_child("benchmarks.cell", missing, 120)["failed"]


def test_the_facts_say_where_and_with_what() -> None:
    found = facts()
    assert found["cores"] >= 1
    assert found["cpu"]
    assert {"numpy", "torch"} <= set(found["packages"])
    assert peak_memory() > 10_000_000
