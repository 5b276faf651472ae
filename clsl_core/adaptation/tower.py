"""The image tower of an open_clip model made trainable, and written as a backbone of its own.

``lora`` keeps the tower frozen and adds low-rank updates to the attention and the feed-forward
layers (arXiv 2106.09685), through peft; they are merged into the weights before writing. ``full``
trains the whole tower. The text tower stays as it is in both. The tower is trained through a small
head that is thrown away afterwards.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from safetensors.torch import save
from torch import Tensor, nn

from clsl_core.arrays import Floats
from clsl_core.backbones.open_clip import DEFAULT_MODEL, OpenClipBackbone, patch_and_pooled
from clsl_core.backbones.spec import AUTO, BUILTIN
from clsl_core.backbones.split_attention import join_attention, split_attention
from clsl_core.backbones.weights import METADATA_KEY, find_weights
from clsl_core.errors import BackboneError
from clsl_core.files import atomic_file
from clsl_core.types import Finetune

__all__ = ["Tower", "TowerHead"]

_ADAPTED = r".*resblocks\.\d+\.(attn\.(query|key|value|out)|mlp\.(c_fc|c_proj))"


class Tower:
    """An image tower in training.

    Args:
        backbone: Loaded for the size of the pictures; its model is changed in place.
        settings: What its checkpoint has to say about itself.
    """

    def __init__(self, backbone: OpenClipBackbone, settings: dict[str, Any]) -> None:
        self.backbone, self.settings = backbone, settings
        self._adapted: Any = None

    @classmethod
    def load(
        cls, name: str, pretrained: str | None, image_size: int, device: str | None = None
    ) -> Tower:
        """Load a model for another picture size.

        Raises:
            BackboneError: There are no weights, or the image tower is none that can be trained.
        """
        if name == BUILTIN:
            raise BackboneError(
                "the built-in descriptors have no weights to fine-tune: choose an open_clip model "
                "with `clsl embed NAME --backbone ViT-B-16` first."
            )
        model = DEFAULT_MODEL if name == AUTO else name
        found = find_weights(model, pretrained)
        backbone = OpenClipBackbone.load(model, pretrained, device, image_size)
        visual = backbone.model.visual
        if not isinstance(visual, VisionTransformer):
            raise BackboneError(
                f"{model} cannot be fine-tuned: its image tower is a {type(visual).__name__}; "
                "choose a ViT (ViT-B-32, ViT-B-16, ViT-L-14 …)."
            )
        patch = visual.conv1.kernel_size[0]
        if image_size % patch:
            raise BackboneError(
                f"pictures of {image_size} pixels cannot be cut into patches of {patch}: choose "
                f"a multiple of {patch}."
            )
        kept = {key: found.settings[key] for key in ("mean", "std") if key in found.settings}
        settings = {
            **kept,
            "model": model,
            "image_size": image_size,
            "quick_gelu": bool(found.settings.get("quick_gelu", False)),
            "made_from": Path(found.source).name,
        }
        return cls(backbone, settings)

    def unfreeze(self, mode: Finetune, rank: int, alpha: float, seed: int) -> None:
        """Make the tower learn.

        Args:
            mode: LORA or FULL.
            rank: Of the low-rank updates.
            alpha: Their scale is ``alpha / rank``.
            seed: Of their first values.

        Raises:
            BackboneError: peft is not installed.
        """
        if mode is Finetune.LORA:
            split_attention(self.visual)
            torch.manual_seed(seed)
            self._adapted = _adapt(self.visual, rank, alpha)
        else:
            self.visual.requires_grad_(True)

    @property
    def visual(self) -> Any:
        """The tower itself."""
        return self.backbone.model.visual

    @property
    def device(self) -> torch.device:
        """Where it is."""
        place: torch.device = self.visual.conv1.weight.device
        return place

    def parameters(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""
        return {n: p for n, p in self.visual.named_parameters() if p.requires_grad}

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, 3, side, side) uint8 -> unit tokens (B, P, d) and unit vectors (B, d)."""
        settings = self.visual.preprocess_cfg
        mean, std = (pixels.new_tensor(settings[key], dtype=torch.float32) for key in _SCALE)
        scaled = (pixels.float() / 255.0 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        tokens, pooled = patch_and_pooled(self.visual, scaled)
        unit = nn.functional.normalize
        return unit(tokens.float(), dim=-1), unit(pooled.float(), dim=-1)

    def merge(self) -> None:
        """End the training: put the updates into the weights, and freeze them."""
        if self._adapted is not None:
            self._adapted.merge_and_unload()
            join_attention(self.visual)
            self._adapted = None
        self.backbone.model.requires_grad_(False)

    def save(self, folder: Path) -> Path:
        """Write the merged model under a name made of its content; open_clip can load it."""
        state = {k: v.detach().cpu().contiguous() for k, v in self._state().items()}
        record = json.dumps(self.settings, sort_keys=True)
        content = save(state, metadata={METADATA_KEY: record})
        digest = hashlib.sha256(content).hexdigest()[:12]
        path = (
            folder / f"{self.settings['model']}-{self.settings['image_size']}-{digest}.safetensors"
        )
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(content)
        return path

    def _state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.backbone.model.state_dict()
        return state


_SCALE = ("mean", "std")


def _adapt(visual: nn.Module, rank: int, alpha: float) -> Any:
    """Wrap the layers with low-rank updates; all else is frozen.

    Raises:
        BackboneError: peft is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise BackboneError(
            "`--finetune lora` needs the package peft: install the extra 'finetune' with "
            "`pip install 'clsl[finetune]'`, or use `--finetune full`."
        ) from error
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=_ADAPTED, lora_dropout=0.0)
    return peft.get_peft_model(visual, config)


class TowerHead(nn.Module):
    """Scores categories from tokens and the pooled embedding.

    Args:
        vectors: (C, d) where the category vectors start.
        priors: (C,) share of positives the bias starts from, in (0, 1).
    """

    def __init__(self, vectors: Floats, priors: Floats) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.from_numpy(vectors.copy()))
        self.scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.b = nn.Parameter(torch.logit(torch.from_numpy(priors)))

    def forward(self, tokens: Tensor, pooled: Tensor) -> Tensor:
        """Unit tokens (B, P, d) and vectors (B, d) -> logits (B, C)."""
        V = nn.functional.normalize(self.vectors, dim=-1)  # (C, d)
        r = self.scale.exp() * (tokens @ V.T)  # (B, P, C)
        patches = (r.softmax(1) * r).sum(1)  # (B, C)
        return 0.5 * (patches + self.scale.exp() * (pooled @ V.T)) + self.b
