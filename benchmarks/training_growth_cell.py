"""One training of the growth table, in its own process."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.runs import answer_parent, peak_memory
from benchmarks.training_speed import drawn
from clsl_core.recovery.train import TrainConfig, fit
from clsl_core.types import no_progress

__all__ = ["run"]


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Train once.

    Args:
        request: ``images``, ``patches`` and ``categories``.
    """
    features, labels = drawn(request["images"], request["patches"], request["categories"])
    before, began, worked = peak_memory(), time.perf_counter(), time.process_time()
    fit(
        features, labels, category_vectors=None, text=False, config=TrainConfig(),
        progress=no_progress,
    )  # fmt: skip
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - worked,
        "peak_bytes": peak_memory(),
        "bytes_before": before,
    }


if __name__ == "__main__":
    answer_parent(run)
