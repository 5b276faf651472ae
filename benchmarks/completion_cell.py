"""One cell of the completion table: one method ordering one draw's queue, in its own process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.baselines import NotApplicable, Question, make_method
from benchmarks.baselines.ours import Ours
from benchmarks.oracle import answer, verdicts_until
from benchmarks.regimes import Regime, keep, recall
from benchmarks.runs import answer_parent, peak_memory, say
from benchmarks.tokens import load, subset

__all__ = ["SHARES", "run"]

SHARES = (0.5, 0.8, 0.9, 0.95)


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Let the method that a request describes order the queue.

    Args:
        request: ``train``, ``text``, ``method``, ``regime``, ``known``, ``seed``, ``every``,
            ``trainings`` and ``folder`` (for masks, or null).
    """
    collection = load(Path(request["train"]), request["text"])
    labels = keep(collection.truth, Regime(request["regime"]), request["known"], request["seed"])
    if request["folder"]:
        name = f"{request['regime']}-{request['known']:g}-{request['seed']}.npz"
        recall(Path(request["folder"]) / "masks" / name, labels)
    method = make_method(request["method"])
    if isinstance(method, Ours):
        method.warm = True
    nothing = subset(collection.features, np.zeros(0, np.int64))

    def score(known: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        question = Question(
            collection.features, known, nothing, collection.categories, request["seed"]
        )
        return method.fit_predict(question).train

    began = time.perf_counter()
    try:
        trace = answer(
            collection.truth,
            labels,
            score,
            every=request["every"],
            trainings=request["trainings"],
            until=max(SHARES),
            told=lambda shown, found: say(f"    {shown} verdicts, {found} found"),
            follow=method.follow if isinstance(method, Ours) and method.instant else None,
        )
    except NotApplicable as error:
        return {"not_applicable": str(error)}
    return {
        "verdicts": {f"{share:g}": count for share, count in verdicts_until(trace, SHARES)},
        "pairs": trace.pairs,
        "missing": trace.missing,
        "trainings": trace.trainings,
        "points": trace.points(),
        "places": trace.places.tolist(),
        "seconds": time.perf_counter() - began,
        "peak_bytes": peak_memory(),
    }


if __name__ == "__main__":
    answer_parent(run)
