"""Frozen open_clip models: patch tokens and category names in one space.

Patch tokens take the *value path* through the last attention block (Zhou et al., "Extract free
dense labels from CLIP", MaskCLIP, ECCV 2022): every patch keeps its own value instead of the
attention's mixture, and goes on through the output projection, the last norm and the projection
into the joint space. So a token can be compared with a category name, and says what is *there*.

Supported image towers: open_clip's VisionTransformer (ViT-B-32, ViT-B-16, ViT-L-14 …) and
ModifiedResNet (RN50 …). Towers from timm and attention-pooled ones (SigLIP, ConvNeXt, CoCa) have
no such path here and are refused.

Pictures are squeezed to the model's square, not cropped: what stands at the edge counts too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import normalize

from clsl_core.backbones.spec import BackboneSpec, ImageFeatures
from clsl_core.backbones.split_attention import SplitAttention
from clsl_core.backbones.weights import DEFAULT_MODEL, Weights, find_weights
from clsl_core.errors import BackboneError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["DEFAULT_MODEL", "TEMPLATES", "OpenClipBackbone", "patch_and_pooled"]

TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of many {}.",
    "a picture of a {}.",
    "a {} in a scene.",
    "there is a {} in the picture.",
    "{}",
)
"""Neutral sentences; a category's vector is the mean over them."""

_METHOD = "value-path-1"
_NAMES_AT_ONCE = 64


class OpenClipBackbone:
    """An open_clip model with its tokenizer.

    Args:
        spec: What its features depend on.
        model: In evaluation mode, on ``device``.
        tokenizer: Texts to (n, length) int64.
        device: Where to compute.
    """

    def __init__(self, spec: BackboneSpec, model: Any, tokenizer: Any, device: torch.device):
        self.spec = spec
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        settings = model.visual.preprocess_cfg
        self._mean = torch.tensor(settings["mean"], device=device).view(3, 1, 1)
        self._std = torch.tensor(settings["std"], device=device).view(3, 1, 1)

    @classmethod
    def load(
        cls,
        name: str = DEFAULT_MODEL,
        pretrained: str | None = None,
        device: str | None = None,
        image_size: int | None = None,
    ) -> OpenClipBackbone:
        """Load a model and its weights.

        Args:
            name: Name of an open_clip model.
            pretrained: Hub tag or checkpoint path; None for the usual tag.
            device: Torch device; None picks a GPU when there is one.
            image_size: Side of the pictures in pixels, the position embedding being interpolated;
                None for the size the weights were made for.

        Raises:
            BackboneError: When there are no weights, they do not fit the model, or the model's
                image tower is not supported.
        """
        weights = find_weights(name, pretrained)
        try:
            place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            model = _model(name, weights, image_size).to(place)
            tokenizer = open_clip.get_tokenizer(name)
        except Exception as error:  # open_clip, torch and pickle raise many unrelated kinds
            told = f"{type(error).__name__}: {error}"[:300]
            message = f"{name} cannot be loaded from {weights.path} ({told})"
            raise BackboneError(f"{message}; is it a checkpoint of this model?") from error
        return cls(_spec(name, weights, model), model, tokenizer, place)

    @property
    def model(self) -> Any:
        """The open_clip model itself."""
        return self._model

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer: texts to (n, length) int64."""
        return self._tokenizer

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image]) -> ImageFeatures:
        """See Backbone. The pooled vector is the model's own image embedding."""
        rows, columns = self.spec.grid
        if not images:
            empty = np.zeros((0, rows * columns, self.spec.dim), np.float16)
            return ImageFeatures(empty, empty[:, 0])
        tokens, pooled = patch_and_pooled(self._model.visual, self._pixels(images))
        return ImageFeatures(_unit(tokens).astype(np.float16), _unit(pooled).astype(np.float16))

    @torch.inference_mode()
    def encode_categories(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """See Backbone. The mean over TEMPLATES; underscores are read as blanks."""
        words = [name.encode("utf-8", "replace").decode().replace("_", " ") for name in names]
        vectors = [np.zeros((0, self.spec.dim), np.float32)]
        for start in range(0, len(words), _NAMES_AT_ONCE):
            part = words[start : start + _NAMES_AT_ONCE]
            total = torch.zeros(len(part), self.spec.dim, device=self._device)
            for template in TEMPLATES:
                texts = self._tokenizer([template.format(word) for word in part])
                encoded = self._model.encode_text(texts.to(self._device))
                total += normalize(encoded.float(), dim=-1)
            vectors.append(_unit(total))
        return np.concatenate(vectors)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See Backbone. What is longer than the model's context is cut off."""
        sound = [text.encode("utf-8", "replace").decode() for text in texts]
        vectors = [np.zeros((0, self.spec.dim), np.float32)]
        for start in range(0, len(sound), _NAMES_AT_ONCE):
            tokens = self._tokenizer(sound[start : start + _NAMES_AT_ONCE])
            vectors.append(_unit(self._model.encode_text(tokens.to(self._device))))
        return np.concatenate(vectors)

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """(B, 3, side, side) in the scale the model was trained with."""
        from PIL import Image as Pillow

        side = (self.spec.image_size, self.spec.image_size)
        squeezed = [
            np.asarray(image.convert("RGB").resize(side, Pillow.Resampling.BICUBIC))
            for image in images
        ]
        pixels = torch.from_numpy(np.stack(squeezed)).to(self._device)
        scaled: Tensor = (pixels.permute(0, 3, 1, 2) / 255.0 - self._mean) / self._std
        return scaled


def patch_and_pooled(visual: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """One pass through an image tower.

    Args:
        visual: A VisionTransformer without attention pooling, or a ModifiedResNet.
        pixels: (B, 3, side, side).

    Returns:
        Patch tokens (B, P, d) by the value path, and the pooled embedding (B, d), neither
        normalised.
    """
    if isinstance(visual, ModifiedResNet):
        return _resnet(visual, pixels)
    x = visual._embeds(pixels)  # [B, 1+P, w]
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        x = block(x)
    patches = visual.ln_post(_values(last, x))[:, 1:] @ visual.proj  # [B, P, d]
    pooled = visual._pool(last(x))[0] @ visual.proj  # [B, d]
    return patches, pooled


def _values(block: Any, x: Tensor) -> Tensor:
    """What an attention block adds when every token attends to itself only, (B, 1+P, w)."""
    attention, normed = block.attn, block.ln_1(x)
    if isinstance(attention, SplitAttention):  # a tower in training
        return attention.values(normed)
    width = x.shape[-1]
    bias = attention.in_proj_bias
    value_bias = None if bias is None else bias[2 * width :]
    values = torch.nn.functional.linear(normed, attention.in_proj_weight[2 * width :], value_bias)
    projected: Tensor = attention.out_proj(values)
    return projected


def _resnet(visual: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """As patch_and_pooled, through the attention pool of a ResNet."""
    x = visual.stem(pixels)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)  # [B, w, rows, columns]
    pool = visual.attnpool
    cells = x.flatten(2).transpose(1, 2) + pool.positional_embedding[1:]  # [B, P, w]
    return pool.c_proj(pool.v_proj(cells)), pool(x)


def _model(name: str, weights: Weights, image_size: int | None) -> Any:
    """Build the model from a checkpoint; pickles are never executed."""
    size = image_size or weights.settings.get("image_size")
    scale = {key: weights.settings[key] for key in ("mean", "std") if key in weights.settings}
    model = open_clip.create_model(
        name,
        pretrained=str(weights.path),
        force_quick_gelu=bool(weights.settings.get("quick_gelu", False)),
        force_preprocess_cfg=scale,
        force_image_size=size,
        weights_only=True,
    )
    return model.eval().requires_grad_(False)


def _spec(name: str, weights: Weights, model: Any) -> BackboneSpec:
    """The model's spec, which also checks that the image tower is a supported one."""
    height, width = _pair(model.visual.image_size)
    grid = _grid(name, model.visual, height, width)
    return BackboneSpec(
        name=name,
        pretrained=weights.source,
        image_size=height,
        grid=grid,
        dim=int(model.visual.output_dim),
        has_text=True,
        revision=f"{_METHOD}-{_digest(model.state_dict())}",
    )


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _grid(name: str, visual: Any, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches.

    Raises:
        BackboneError: When the tower has no value path.
    """
    if height == width and isinstance(visual, ModifiedResNet):
        return height // 32, width // 32
    if height == width and isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        last = visual.transformer.resblocks[-1]
        if isinstance(last.attn, torch.nn.MultiheadAttention):
            return _pair(visual.grid_size)
    raise BackboneError(
        f"{name} has an image tower of another kind ({type(visual).__name__}); supported are "
        "square VisionTransformer (ViT-B-32, ViT-B-16, ViT-L-14 …) and ModifiedResNet (RN50 …)."
    )


def _digest(state: Mapping[str, Tensor]) -> str:
    """Twelve hex digits of all weights."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _unit(vectors: Tensor) -> npt.NDArray[np.float32]:
    unit: npt.NDArray[np.float32] = normalize(vectors.float(), dim=-1).cpu().numpy()
    return unit
