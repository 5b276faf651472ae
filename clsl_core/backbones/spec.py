"""Frozen backbones: pictures in, patch tokens and one pooled vector out; and one for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from clsl_core.arrays import Floats

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "AUTO",
    "BUILTIN",
    "Backbone",
    "BackboneSpec",
    "FakeBackbone",
    "ImageFeatures",
    "normalised",
]

AUTO = "auto"
BUILTIN = "builtin"


@dataclass(frozen=True)
class BackboneSpec:
    """What features depend on; features of two specs never mix.

    Attributes:
        name: ``builtin`` or the name of an open_clip model.
        pretrained: Hub tag or path of a local checkpoint; None for ``builtin``.
        image_size: Side of the square the picture is brought to, in pixels.
        grid: Rows and columns of patches.
        dim: Width d of tokens and pooled vectors.
        has_text: Whether category names can be encoded into the same space.
        revision: Changes with the weights or with the way tokens are computed.
    """

    name: str
    pretrained: str | None
    image_size: int
    grid: tuple[int, int]
    dim: int
    has_text: bool
    revision: str

    @property
    def key(self) -> str:
        """Sixteen hex digits that name this spec."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def describe(self) -> str:
        """One plain sentence for the screen."""
        rows, columns = self.grid
        patches = f"{rows} × {columns} patches of {self.dim} numbers"
        if self.name == BUILTIN:
            return (
                f"Built-in colour and texture descriptors, {patches}; "
                "recognises looks, not things, and does not read category names."
            )
        names = "reads category names" if self.has_text else "does not read category names"
        weights = f" ({self.pretrained})" if self.pretrained else ""
        return f"{self.name}{weights}, {patches}; {names}."

    def to_json(self) -> dict[str, Any]:
        """The spec as a JSON object."""
        return {**asdict(self), "grid": list(self.grid)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BackboneSpec:
        """Undo ``to_json``."""
        rows, columns = value["grid"]
        return cls(**{**value, "grid": (int(rows), int(columns))})


@dataclass(frozen=True)
class ImageFeatures:
    """Features of B pictures.

    Attributes:
        tokens: (B, P, d) float16, each patch of unit length, row by row.
        pooled: (B, d) float16, unit length.
    """

    tokens: npt.NDArray[np.float16]
    pooled: npt.NDArray[np.float16]


class Backbone(Protocol):
    """A frozen encoder. The same picture gives the same features in any batch."""

    @property
    def spec(self) -> BackboneSpec:
        """What the features depend on."""

    def encode_images(self, images: Sequence[Image.Image]) -> ImageFeatures:
        """Features of RGB pictures of any size."""

    def encode_categories(self, names: Sequence[str]) -> Floats | None:
        """(C, d) unit vectors in the space of the tokens; None without a text tower."""

    def encode_texts(self, texts: Sequence[str]) -> Floats | None:
        """(n, d) unit vectors of whole sentences; None without a text tower."""


def normalised(vectors: Floats) -> Floats:
    """Vectors of unit length along the last axis; zero vectors stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Floats = vectors / np.maximum(length, 1e-12)
    return unit


class FakeBackbone:
    """Mean colours of a 2 × 3 grid, and made-up text vectors: fast and deterministic, for tests.

    Args:
        has_text: Whether to offer ``encode_categories``.
    """

    def __init__(self, *, has_text: bool = True) -> None:
        self.spec = BackboneSpec("fake", None, 6, (2, 3), 4, has_text, "1")

    def encode_images(self, images: Sequence[Image.Image]) -> ImageFeatures:
        """See Backbone."""
        pixels = [np.asarray(image.convert("RGB").resize((3, 2))) for image in images]
        colours = np.asarray(pixels, np.float32).reshape(len(images), 6, 3) / 255.0
        tokens = normalised(np.pad(colours, ((0, 0), (0, 0), (0, 1)), constant_values=0.1))
        pooled = normalised(tokens.mean(axis=1))
        return ImageFeatures(tokens.astype(np.float16), pooled.astype(np.float16))

    def encode_categories(self, names: Sequence[str]) -> Floats | None:
        """See Backbone."""
        if not self.spec.has_text:
            return None
        digests = [hashlib.sha256(name.encode("utf-8", "replace")).digest() for name in names]
        numbers = [[float(byte) for byte in digest[:4]] for digest in digests]
        return normalised(np.array(numbers, np.float32).reshape(len(names), 4) - 127.5)

    def encode_texts(self, texts: Sequence[str]) -> Floats | None:
        """See Backbone."""
        return self.encode_categories(texts)
