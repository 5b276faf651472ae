"""Which backbone there is to work with; importing this module loads none.

Two ship: ``open_clip`` (any of its models; reads category names too) and ``builtin`` (classical
descriptors; no weights, no network, no names).
"""

from __future__ import annotations

from clsl_core.backbones.spec import AUTO, BUILTIN, Backbone
from clsl_core.errors import BackboneError

__all__ = [
    "BACKGROUND_WORDS",
    "choose_backbone",
    "load_backbone",
]

BACKGROUND_WORDS = (
    "sky", "cloud", "ground", "grass", "soil", "rock", "mountain", "tree", "plant", "water",
    "road", "pavement", "wall", "floor", "ceiling", "window", "building", "fence", "furniture",
    "fabric", "shadow", "light", "texture", "background",
)  # fmt: skip
"""What a patch may show besides the categories; such words compete with them for a patch."""


def load_backbone(
    name: str = AUTO, pretrained: str | None = None, device: str | None = None
) -> Backbone:
    """Load a backbone by name; as ``choose_backbone``, without the notice."""
    return choose_backbone(name, pretrained, device)[0]


def choose_backbone(
    name: str = AUTO, pretrained: str | None = None, device: str | None = None
) -> tuple[Backbone, str | None]:
    """Load a backbone and say so when it is not the best one.

    Args:
        name: ``auto`` (open_clip when its weights are in the cache or can be fetched, else
            ``builtin`` with a notice), ``builtin``, or the name of an open_clip model.
        pretrained: Hub tag or path of a local checkpoint; for open_clip only.
        device: Torch device such as ``cuda``; None picks a GPU when there is one.

    Returns:
        The backbone, and a sentence for the screen or None.

    Raises:
        BackboneError: When a named backbone cannot be loaded; never for ``auto`` alone.
    """
    if name == BUILTIN:
        return _builtin(), None
    if name == AUTO and pretrained is None:
        return _automatic(device)
    from clsl_core.backbones.open_clip import DEFAULT_MODEL, OpenClipBackbone

    model = DEFAULT_MODEL if name == AUTO else name
    return OpenClipBackbone.load(model, pretrained, device), None


def _automatic(device: str | None) -> tuple[Backbone, str | None]:
    try:
        from clsl_core.backbones.open_clip import DEFAULT_MODEL, OpenClipBackbone

        return OpenClipBackbone.load(DEFAULT_MODEL, None, device), None
    except (BackboneError, ImportError) as error:
        notice = (
            "Working with the built-in descriptors, which see colour and texture only: proposals "
            f"will be weaker and new categories start from nothing. The reason: {error}"
        )
        return _builtin(), notice


def _builtin() -> Backbone:
    from clsl_core.backbones.builtin import BuiltinBackbone

    return BuiltinBackbone()
