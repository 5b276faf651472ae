"""open_clip models with random weights and drawn pictures, for what weights do not matter to."""

from __future__ import annotations

import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import open_clip
import torch
from PIL import Image

from clsl_core.backbones.open_clip import OpenClipBackbone
from clsl_core.backbones.spec import BackboneSpec

__all__ = ["TINY", "drawn_jpegs", "drawn_pictures", "random_backbone"]

TINY = "gpu-check-tiny"
_TINY = {
    "embed_dim": 12,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 16,
        "head_width": 8,
        "patch_size": 16,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 1,
    },
}


def random_backbone(
    name: str, device: torch.device, image_size: int | None = None
) -> OpenClipBackbone:
    """A backbone whose weights were drawn, the same ones at each call; nothing is fetched."""
    if name == TINY:
        _register_tiny()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model(name, force_image_size=image_size)
    model = model.to(device).eval().requires_grad_(False)
    visual = model.visual
    side = int(visual.image_size[0])
    rows, columns = visual.grid_size
    width = int(visual.output_dim)
    spec = BackboneSpec(name, "drawn", side, (rows, columns), width, True, "drawn")
    return OpenClipBackbone(spec, model, open_clip.get_tokenizer(name), device)


def drawn_pictures(count: int, width: int, height: int) -> list[Image.Image]:
    """Pictures of soft blots of colour: nearer to photographs than noise for JPEG and resizing."""
    rng = np.random.default_rng(0)
    blots = rng.integers(0, 256, (count, height // 16, width // 16, 3), dtype=np.uint8)
    return [
        Image.fromarray(blot).resize((width, height), Image.Resampling.BICUBIC) for blot in blots
    ]


def drawn_jpegs(count: int, width: int, height: int) -> list[bytes]:
    """The same as JPEG files."""
    files = []
    for picture in drawn_pictures(count, width, height):
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files


def _register_tiny() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{TINY}.json"
        path.write_text(json.dumps(_TINY))
        open_clip.add_model_config(path)
