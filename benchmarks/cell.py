"""One cell of the recovery table: one method on all folds of one draw, in a process of its own.

Reads a request from its input and writes the measures as JSON; started by ``benchmarks.recovery``.
The scores are kept, so that other measures can be computed later without training, and so that
the rank blend need not train its parts a second time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines import BLENDED, NotApplicable, Predicted, Question, make_method
from benchmarks.baselines.blend import RankBlend
from benchmarks.baselines.method import weak_negatives
from benchmarks.evaluation import Judged, judge, ranks
from benchmarks.problem import Fold, Inputs, Problem
from benchmarks.regimes import Regime
from benchmarks.runs import answer_parent, peak_memory
from clsl_core.files import atomic_file

__all__ = ["Cell", "run"]


@dataclass(frozen=True)
class Cell:
    """What to measure.

    Attributes:
        method: A name in ``baselines.METHODS``.
        regime, known, seed: See ``regimes.keep``.
    """

    method: str
    regime: Regime
    known: float
    seed: int

    @property
    def key(self) -> str:
        """Names the cell in the results file and its scores on disk."""
        known = "" if self.regime is Regime.SINGLE else f"-{self.known:g}"
        return f"{self.regime.value}{known}-seed{self.seed}-{self.method.replace(':', '-')}"


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Measure the cell that a request describes.

    Args:
        request: ``inputs``, ``method``, ``regime``, ``known``, ``seed``, ``min_positives`` and
            ``folder`` (for masks and scores, or null).
    """
    folder = Path(request["folder"]) if request["folder"] else None
    cell = Cell(request["method"], Regime(request["regime"]), request["known"], request["seed"])
    problem = Problem.load(Inputs.from_json(request["inputs"]))
    masks = folder / "masks" if folder else None
    labels = problem.labels(cell.regime, cell.known, cell.seed, masks)
    folds = list(problem.folds(labels))
    before = peak_memory()
    try:
        results = [_solve(cell, number, fold, folder) for number, fold in enumerate(folds)]
    except NotApplicable as error:
        return {"not_applicable": str(error)}
    predicted = [result for result, _ in results]
    return {
        "test": asdict(_judge_test(problem, folds, predicted, request["min_positives"])),
        "recovery": _mean(
            [
                _judge_recovery(fold, result, request["min_positives"])
                for fold, result in zip(folds, predicted, strict=True)
            ]
        ),
        "seconds": sum(seconds for _, seconds in results) / len(folds),
        "peak_bytes": peak_memory(),
        "bytes_before": before,
        "known_present": int((labels > 0).sum()),
        "known_absent": int((labels < 0).sum()),
    }


def _solve(cell: Cell, number: int, fold: Fold, folder: Path | None) -> tuple[Predicted, float]:
    """Scores of one fold, and the seconds they took."""
    method = make_method(cell.method)
    if isinstance(method, RankBlend) and folder is not None:
        names = [replace(cell, method=name) for name in BLENDED]
        method = RankBlend([_Earlier(part, number, folder) for part in names])
    began = time.perf_counter()
    predicted = method.fit_predict(fold.question(cell.seed))
    spent = time.perf_counter() - began
    if isinstance(method, RankBlend):
        spent += sum(part.seconds for part in method.parts if isinstance(part, _Earlier))
    if folder is not None:
        _keep(_scores_file(folder, cell, number), predicted, spent)
    return predicted, spent


class _Earlier:
    """A part of the blend: what its own cell scored, or a training where that was not run.

    Attributes:
        seconds: What the earlier training took; 0 when it is done here.
    """

    def __init__(self, cell: Cell, fold: int, folder: Path) -> None:
        self.cell, self.fold, self.folder, self.seconds = cell, fold, folder, 0.0

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        name = self.cell.method
        if name == "logistic":
            name = "logistic-weak" if weak_negatives(question.labels) else "logistic-known"
        file = _scores_file(self.folder, replace(self.cell, method=name), self.fold)
        if not file.exists():
            return make_method(name).fit_predict(question)
        with np.load(file, allow_pickle=False) as saved:
            self.seconds = float(saved["seconds"])
            return Predicted(saved["train"], saved["test"])


def _scores_file(folder: Path, cell: Cell, fold: int) -> Path:
    return folder / "scores" / f"{cell.key}-fold{fold}.npz"


def _keep(file: Path, predicted: Predicted, seconds: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as stream:
        np.savez_compressed(
            stream, train=predicted.train, test=predicted.test, seconds=np.float64(seconds)
        )


def _judge_test(
    problem: Problem, folds: Sequence[Fold], predicted: Sequence[Predicted], least: int
) -> Judged:
    """All tested images together; with several folds a fold's scores count by their ranks."""
    truth = problem.tested_truth()
    scores, raw = np.zeros(truth.shape, np.float32), np.zeros(truth.shape, np.float32)
    judged = np.zeros(truth.shape, bool)
    for fold, result in zip(folds, predicted, strict=True):
        scores[fold.rows] = ranks(result.test) if len(folds) > 1 else result.test
        raw[fold.rows], judged[fold.rows] = result.test, True
    if problem.test is None and len(folds) == 1:
        rows = folds[0].rows
        return judge(truth[rows], scores[rows], judged[rows], least, raw[rows])
    return judge(truth, scores, judged, least, raw)


def _judge_recovery(fold: Fold, predicted: Predicted, least: int) -> dict[str, float]:
    """The unknown entries of the images learned from."""
    return asdict(judge(fold.train.truth, predicted.train, fold.labels == 0, least))


def _mean(records: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([record[name] for record in records])) for name in records[0]}


if __name__ == "__main__":
    answer_parent(run)
