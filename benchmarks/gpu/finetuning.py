"""Steps of fine-tuning a tower, low-rank and whole, in bfloat16 on a card."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu.section import Row, Setup, measured
from benchmarks.gpu.towers import TINY, drawn_pictures, random_backbone
from benchmarks.runs import peak_memory
from clsl_core.adaptation.config import FinetuneConfig
from clsl_core.adaptation.finetune import finetune
from clsl_core.adaptation.tower import Tower
from clsl_core.types import Finetune

__all__ = ["Drawn", "finetuning"]

_CATEGORIES = 20


@dataclass(frozen=True)
class Drawn:
    """Pictures in memory, with labels and category vectors that were drawn as well."""

    pictures: Sequence[Image.Image]

    @property
    def keys(self) -> Sequence[str]:
        """Their places."""
        return [str(index) for index in range(len(self.pictures))]

    def load(self, index: int) -> Image.Image:
        """One of them."""
        return self.pictures[index]

    def labels(self) -> np.ndarray[Any, np.dtype[np.int8]]:
        """(N, C), all known."""
        draw = np.random.default_rng(0).random((len(self.pictures), _CATEGORIES))
        return np.where(draw < 0.2, 1, -1).astype(np.int8)

    def vectors(self, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(C, width)."""
        drawn = np.random.default_rng(1).normal(size=(_CATEGORIES, width))
        return drawn.astype(np.float32)


def finetuning(setup: Setup) -> Iterator[Row]:
    """Both ways as they are configured, and without varying pictures, which the processor does."""
    drawn = Drawn(drawn_pictures(setup.choose(144, 10), 640, 480))
    for mode in (Finetune.LORA, Finetune.FULL):
        for varied in (True, False):
            told = "varied pictures" if varied else "pictures as they are"
            what = f"{mode.value}, {told}"
            yield measured(what, partial(_tuned, setup, drawn, mode, varied))


def _tuned(setup: Setup, drawn: Drawn, mode: Finetune, varied: bool) -> dict[str, Any]:
    """Seconds of a step between two calls of progress, each of which follows a finished step."""
    config = FinetuneConfig(
        mode=mode,
        image_size=setup.choose(448, 32),
        epochs=2,
        batch_size=setup.choose(32, 4),
    )
    if not varied:
        config = replace(config, operations=0, cutout=0.0)
    name = TINY if setup.tiny else "ViT-B-16"
    tower = Tower(random_backbone(name, setup.device, config.image_size), {})
    moments: list[float] = []

    def watch(done: int, total: int, what: str) -> None:
        if what.startswith("fine-tuning"):
            moments.append(time.perf_counter())

    if setup.cuda:
        torch.cuda.reset_peak_memory_stats()
    vectors = drawn.vectors(tower.backbone.spec.dim)
    found = finetune(tower, drawn, drawn.labels(), vectors, config, progress=watch)
    seconds = float(np.median(np.diff(moments)[1:]))
    peak = torch.cuda.max_memory_allocated() if setup.cuda else peak_memory()
    losses = [epoch["loss"] for epoch in found.curves]
    return {
        "ms a step": 1000 * seconds,
        "pictures/s": config.batch_size / seconds,
        "memory MB": peak / 1e6,
        "pictures at once": found.part,
        "loss of epoch 1": losses[0],
        "loss of epoch 2": losses[1],
        "sound": all(map(math.isfinite, losses)),
    }
