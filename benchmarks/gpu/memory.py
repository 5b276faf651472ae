"""Memory that runs out on a real card: work goes on in halves, and comes to the same."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.agreement import relative_error
from benchmarks.gpu.finetuning import Drawn
from benchmarks.gpu.section import Row, Setup, measured
from benchmarks.gpu.towers import TINY, drawn_pictures, random_backbone
from clsl_core.adaptation.config import FinetuneConfig
from clsl_core.adaptation.finetune import finetune
from clsl_core.adaptation.tower import Tower
from clsl_core.compute import Pieces
from clsl_core.features import FeatureView
from clsl_core.recovery.patch_linear import PatchConfig, PatchModels, patch_logits
from clsl_core.types import Finetune

__all__ = ["memory"]

_ROUNDING = 1e-5  # other sizes take other kernels, which sum in another order
_LOSS = 0.02  # of a fine-tuning in bfloat16


def memory(setup: Setup) -> Iterator[Row]:
    """Pieces themselves, scores of patch models through them, and a step of fine-tuning."""
    yield measured("pieces of a product", partial(_product, setup))
    yield measured("scores of patch models", partial(_patches, setup))
    yield measured("steps of fine-tuning", partial(_tower, setup))


@contextmanager
def _capped(setup: Setup, share: float, whole: int, rest: int) -> Iterator[None]:
    """Leave a share of what the work took besides what rests there; nothing happens off a card."""
    if not setup.cuda:
        yield
        return
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(setup.device).total_memory
    allowed = rest + share * max(whole - rest, 0)
    torch.cuda.set_per_process_memory_fraction(allowed / total, setup.device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, setup.device)


def _peak_of(setup: Setup, work: Callable[[], Any]) -> tuple[Any, int, int]:
    """What the work gives, the memory reserved at its height, and what rests there before."""
    if not setup.cuda:
        return work(), 0, 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_reserved()
    return work(), torch.cuda.max_memory_reserved(), before


def _times_out_of_memory(setup: Setup) -> int:
    return int(torch.cuda.memory_stats().get("num_ooms", 0)) if setup.cuda else 0


def _halved(setup: Setup, work: Callable[[], Any], share: float) -> tuple[Any, Any, int]:
    """The work with all memory, with a share of what it took, and how often memory ran out."""
    whole, peak, rest = _peak_of(setup, work)
    before = _times_out_of_memory(setup)
    with _capped(setup, share, peak, rest):
        part = work()
    return whole, part, _times_out_of_memory(setup) - before


def _verdict(setup: Setup, error: float, allowed: float, times: int) -> dict[str, Any]:
    """Right where the results agree and, on a card, memory did run out."""
    sound = error <= allowed and (times > 0 or not setup.cuda)
    return {"ran out": times, "difference": error, "allowed": f"{allowed:g}", "sound": sound}


def _product(setup: Setup) -> dict[str, Any]:
    """Rows of a product of matrices, as large a part at once as fits."""
    rows, width = setup.choose(65_536, 64), setup.choose(2048, 8)
    draw = torch.Generator().manual_seed(0)
    left = torch.randn(rows, width, generator=draw)
    right = torch.randn(width, width, generator=draw).to(setup.device)
    sizes: list[int] = []

    def work() -> np.ndarray[Any, Any]:
        out = np.empty((rows, width), np.float32)
        pieces = Pieces(rows, "multiplying", "row")

        def multiply(part: slice) -> None:
            out[part] = torch.tanh(left[part].to(setup.device) @ right).cpu().numpy()

        pieces.run(rows, multiply)
        sizes.append(pieces.size)
        return out

    whole, part, times = _halved(setup, work, 0.4)
    told = {"at once before": sizes[0], "at once after": sizes[1]}
    return {**told, **_verdict(setup, relative_error(part, whole), _ROUNDING, times)}


def _patches(setup: Setup) -> dict[str, Any]:
    N, P, d, C = (setup.choose(*s) for s in ((64, 4), (1024, 9), (1024, 8), (5, 2)))
    rng = np.random.default_rng(0)
    features = FeatureView.from_arrays(rng.normal(size=(N, P, d)).astype(np.float16))
    weights = rng.normal(size=(1, d, C)).astype(np.float32) / d**0.5
    models = PatchModels(weights, np.zeros((1, C), np.float32))
    centre, scale = np.zeros(d, np.float32), np.ones(d, np.float32)

    def work() -> np.ndarray[Any, Any]:
        return patch_logits(
            models, features, np.arange(N), centre, scale, PatchConfig(), device=str(setup.device)
        )

    whole, part, times = _halved(setup, work, 0.5)
    return _verdict(setup, relative_error(part, whole), _ROUNDING, times)


def _tower(setup: Setup) -> dict[str, Any]:
    """Whole towers; the gradient of a batch is the same sum, in parts."""
    batch, side = setup.choose(64, 4), setup.choose(224, 32)
    drawn = Drawn(drawn_pictures(2 * batch, 320, 240))
    config = FinetuneConfig(
        mode=Finetune.FULL, image_size=side, epochs=1, batch_size=batch,
        operations=0, cutout=0.0, held_out=0.0,
    )  # fmt: skip
    parts: list[int] = []

    def work() -> float:
        tower = Tower(random_backbone(TINY if setup.tiny else "ViT-B-16", setup.device, side), {})
        vectors = drawn.vectors(tower.backbone.spec.dim)
        found = finetune(tower, drawn, drawn.labels(), vectors, config)
        parts.append(found.part)
        return found.curves[0]["loss"]

    whole, part, times = _halved(setup, work, 0.6)
    told = {"at once before": parts[0], "at once after": parts[1]}
    return {**told, **_verdict(setup, abs(part - whole) / abs(whole), _LOSS, times)}
