"""Finding the weights of an open_clip model: a file, the cache, or the hub, without long waits."""

from __future__ import annotations

import difflib
import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from safetensors import SafetensorError, safe_open

from clsl_core.errors import BackboneError

__all__ = ["DEFAULT_MODEL", "DEFAULT_WEIGHTS", "METADATA_KEY", "Weights", "find_weights"]

DEFAULT_MODEL = "ViT-B-16"
DEFAULT_WEIGHTS = "laion2b_s34b_b88k"

METADATA_KEY = "clsl"
"""Under this key a fine-tuned checkpoint keeps its settings as JSON, in its safetensors header."""

_REACHABLE_WITHIN = 3.0  # seconds
_FILE_ENDINGS = (".pt", ".pth", ".bin", ".safetensors")
_ADVICE = (
    "Give the path of a checkpoint file, connect to the network once, point HF_HUB_CACHE to a "
    "folder that holds the weights, or use the backbone 'builtin'."
)


@dataclass(frozen=True)
class Weights:
    """Where a model's weights are.

    Attributes:
        source: Hub tag or path: what the features' spec records.
        path: The checkpoint file on this machine.
        settings: What open_clip records about a tag (``quick_gelu``, ``mean`` …), or what a
            fine-tuned file says about itself; empty for other files.
    """

    source: str
    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)


def find_weights(model: str, pretrained: str | None) -> Weights:
    """Find or fetch a checkpoint.

    Args:
        model: Name of an open_clip model.
        pretrained: A tag of that model, the path of a checkpoint, or None for the usual tag.

    Returns:
        A checkpoint file that exists.

    Raises:
        BackboneError: For an unknown model or tag, a missing file, or weights that are neither
            in the cache nor within reach; within a few seconds, and with what to do.
    """
    import open_clip

    models = open_clip.list_models()
    if model not in models:
        near = ", ".join(difflib.get_close_matches(model, models, 4, 0.4)) or "none is similar"
        raise BackboneError(f"open_clip has no model {model!r}; similar names: {near}.")
    if pretrained is not None and Path(pretrained).expanduser().is_file():
        path = Path(pretrained).expanduser().resolve()
        return Weights(str(path), path, _recorded(model, path))
    tag = _known_tag(model, pretrained, open_clip.list_pretrained_tags_by_model(model))
    settings = open_clip.get_pretrained_cfg(model, tag)
    path = _cached(settings) or _fetched(f"{model} ({tag})", settings)
    return Weights(tag, path, settings)


def _recorded(model: str, path: Path) -> Mapping[str, Any]:
    """What a fine-tuned checkpoint says about itself; empty for any other file.

    Raises:
        BackboneError: It was made from another model.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            settings = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}  # loading it will say what is wrong
    made_of = settings.get("model", model)
    if made_of != model:
        raise BackboneError(f"{path} is a fine-tuned {made_of}, not a {model}: choose {made_of}.")
    return dict(settings)


def _known_tag(model: str, pretrained: str | None, tags: list[str]) -> str:
    if pretrained in tags:
        return str(pretrained)
    known = ", ".join(tags) or "none; give the path of a checkpoint file"
    if pretrained is None:
        if model == DEFAULT_MODEL:
            return DEFAULT_WEIGHTS
        if len(tags) == 1:
            return tags[0]
        raise BackboneError(f"{model} needs weights to be chosen; its tags: {known}.")
    if pretrained.endswith(_FILE_ENDINGS) or os.sep in pretrained:
        raise BackboneError(f"there is no checkpoint file {pretrained!r}.")
    raise BackboneError(f"{model} has no weights {pretrained!r}; its tags: {known}.")


def _hub_files(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Repository and file names under which the hub may have a tag's weights, best first."""
    place = settings.get("hf_hub") or ""
    if not place:
        return
    repository, name = place.rsplit("/", 1)
    if name:
        yield repository, str(Path(name).with_suffix(".safetensors"))
        yield repository, name
    else:
        yield repository, "open_clip_model.safetensors"
        yield repository, "open_clip_pytorch_model.bin"


def _cached(settings: Mapping[str, Any]) -> Path | None:
    """The checkpoint in a cache of this machine; never touches the network."""
    from huggingface_hub import try_to_load_from_cache

    for repository, name in _hub_files(settings):
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str) and Path(found).is_file():
            return Path(found)
    return None


def _fetched(what: str, settings: Mapping[str, Any]) -> Path:
    """Fetch a checkpoint from the hub.

    Raises:
        BackboneError: When the hub is switched off, out of reach or does not give the file.
    """
    from huggingface_hub import constants, hf_hub_download

    places = f"looked in {constants.HF_HUB_CACHE}"
    if constants.HF_HUB_OFFLINE:
        raise BackboneError(f"The weights of {what} are not here ({places}; offline). {_ADVICE}")
    host = urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT
    if not _reachable(constants.ENDPOINT):
        places += f"; {host} cannot be reached"
        raise BackboneError(f"The weights of {what} are not here ({places}). {_ADVICE}")
    reason: Exception | None = None
    for repository, name in _hub_files(settings):
        try:
            return Path(hf_hub_download(repository, name, etag_timeout=5))
        except Exception as error:  # the hub's client raises many unrelated kinds
            reason = reason or error
    told = f"{host} said: {reason}" if reason else "they are not on the hub"
    raise BackboneError(f"The weights of {what} cannot be fetched ({told}). {_ADVICE}")


def _reachable(address: str) -> bool:
    """Whether a connection can be made within seconds, through a proxy where one is set.

    Looking up a name has no time-out of its own, hence the thread.
    """
    target = urlsplit(address)
    proxy = urllib.request.getproxies().get(target.scheme)
    if proxy and not urllib.request.proxy_bypass(target.hostname or ""):
        target = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    port = target.port or (443 if target.scheme == "https" else 80)
    connected = threading.Event()

    def connect() -> None:
        try:
            with socket.create_connection((target.hostname, port), _REACHABLE_WITHIN):
                connected.set()
        except OSError:
            pass

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_REACHABLE_WITHIN)
    return connected.is_set()
