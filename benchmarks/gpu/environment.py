"""Which card, which versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.section import Row, Setup
from benchmarks.runs import facts

__all__ = ["card", "environment"]


def environment(setup: Setup) -> Iterator[Row]:
    """One row for each fact."""
    about = facts()
    found = card(setup.device) | {
        "processor": f"{about['cpu']}, {about['cores']} cores",
        "threads of torch": torch.get_num_threads(),
        "python": about["python"],
        "float32 products": torch.get_float32_matmul_precision(),
        **about["packages"],
    }
    for what, value in found.items():
        yield {"what": what, "value": value}


def card(device: torch.device) -> dict[str, Any]:
    """What torch says about a device."""
    if device.type != "cuda":
        return {"card": "none"}
    told = torch.cuda.get_device_properties(device)
    return {
        "card": told.name,
        "memory GB": told.total_memory / 1e9,
        "multiprocessors": told.multi_processor_count,
        "capability": f"{told.major}.{told.minor}",
        "cuda": torch.version.cuda,
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
    }
