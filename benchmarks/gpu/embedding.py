"""Pictures a second through a backbone, beside a plain loop and beside decoding alone."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import open_clip
import torch
from PIL import Image
from torch import Tensor

from benchmarks.gpu.section import Row, Setup, measured
from benchmarks.gpu.timing import median_seconds
from benchmarks.gpu.towers import TINY, drawn_jpegs, random_backbone
from clsl_core.backbones.open_clip import OpenClipBackbone, patch_and_pooled
from clsl_core.pictures.decoding import decode

__all__ = ["embedding"]

_THREADS = 8


def embedding(setup: Setup) -> Iterator[Row]:
    """Decoding alone; then for each model whole loops from pictures, and the tower alone."""
    files = drawn_jpegs(setup.choose(256, 4), 640, 480)
    yield measured("decoding, one thread", partial(_decoding, files, 1))
    yield measured(f"decoding, {_THREADS} threads", partial(_decoding, files, _THREADS))
    pictures = [decode(io.BytesIO(file), "drawn.jpg") for file in files]
    for name in [TINY] if setup.tiny else ["ViT-B-16", "ViT-L-14"]:
        backbone = random_backbone(name, setup.device)
        yield measured(f"{name}, ours from pictures", partial(_ours, backbone, pictures))
        yield measured(f"{name}, plain loop from pictures", partial(_plain, backbone, pictures))
        for narrow in (False, True):
            for ours in (True, False):
                kind = "bfloat16" if narrow else "float32"
                what = f"{name}, {'ours' if ours else 'encode_image'}, tower alone, {kind}"
                yield measured(what, partial(_tower, setup, backbone, ours, narrow))
        del backbone


def _decoding(files: Sequence[bytes], threads: int) -> dict[str, Any]:
    def one(file: bytes) -> Image.Image:
        return decode(io.BytesIO(file), "drawn.jpg")

    with ThreadPoolExecutor(threads) as pool:
        return _rate(lambda: list(pool.map(one, files)), len(files))


def _ours(backbone: OpenClipBackbone, pictures: Sequence[Image.Image]) -> dict[str, Any]:
    """As the program embeds: batches of 32."""
    backbone.encode_images(pictures[:32])

    def embed() -> None:
        for start in range(0, len(pictures), 32):
            backbone.encode_images(pictures[start : start + 32])

    return _rate(embed, len(pictures))


@torch.inference_mode()
def _plain(backbone: OpenClipBackbone, pictures: Sequence[Image.Image]) -> dict[str, Any]:
    """What a script does: open_clip's own transform of each picture, then ``encode_image``."""
    model, device = backbone.model, _device(backbone)
    transform = open_clip.image_transform(backbone.spec.image_size, is_train=False)

    def embed(chosen: Sequence[Image.Image]) -> None:
        for start in range(0, len(chosen), 32):
            pixels = torch.stack([transform(picture) for picture in chosen[start : start + 32]])
            model.encode_image(pixels.to(device), normalize=True).cpu()

    embed(pictures[:32])
    return _rate(partial(embed, pictures), len(pictures))


@torch.inference_mode()
def _tower(setup: Setup, backbone: OpenClipBackbone, ours: bool, narrow: bool) -> dict[str, Any]:
    """Pixels that are on the device already, and how near the pooled vectors are to float32's."""
    batch, side = setup.choose(64, 2), backbone.spec.image_size
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randn(batch, 3, side, side, generator=draw).to(setup.device)
    exact = backbone.model.encode_image(pixels).float()
    pooled = exact

    def embed() -> None:
        nonlocal pooled
        with torch.autocast(setup.device.type, torch.bfloat16, enabled=narrow):
            pooled = _pooled(backbone, pixels, ours)

    seconds = median_seconds(embed, setup.device, setup.choose(10, 1), warm_up=2)
    cosine = torch.nn.functional.cosine_similarity(pooled.float(), exact).min()
    return {"pictures/s": batch / seconds, "least cosine": float(cosine)}


def _pooled(backbone: OpenClipBackbone, pixels: Tensor, ours: bool) -> Tensor:
    if ours:
        return patch_and_pooled(backbone.model.visual, pixels)[1]
    pooled: Tensor = backbone.model.encode_image(pixels)
    return pooled


def _device(backbone: OpenClipBackbone) -> torch.device:
    place: torch.device = next(backbone.model.parameters()).device
    return place


def _rate(work: Callable[[], object], count: int) -> dict[str, Any]:
    """Pictures a second of work that ends with its results in main memory."""
    began = time.perf_counter()
    work()
    return {"pictures/s": count / (time.perf_counter() - began)}
