"""A training that starts from an earlier model's head, its categories matched to today's."""

from __future__ import annotations

import numpy as np

from clsl_core.arrays import Ids
from clsl_core.recovery.head.clsl import CLSLHead
from clsl_core.recovery.model import Recovery

__all__ = ["inherit"]

_BY_CATEGORY = (
    "a",
    "b",
    "vectors",
    "patch_out.weight",
    "patch_out.bias",
    "auxiliary.weight",
    "auxiliary.bias",
)


def inherit(head: CLSLHead, earlier: Recovery) -> bool:
    """Copy an earlier head's weights where they fit; per-category rows go to their categories."""
    old, new = earlier.start, head.state_dict()
    pairs = _matches(earlier.head, head)
    fixed = ("given", "graph.", "text.")
    for name, value in new.items():
        source = old.get(name)
        if source is None or name.startswith(fixed) or (name == "vectors" and bool(head.given)):
            continue
        source = source.to(value.device)
        if name in _BY_CATEGORY and source.shape[1:] == value.shape[1:]:
            value[pairs[:, 1]] = source[pairs[:, 0]]
        elif source.shape == value.shape:
            value.copy_(source)
        elif name in ("patch_in.weight", "token_in.weight"):
            return False
    return True


def _matches(old: CLSLHead, new: CLSLHead) -> Ids:
    """(K, 2) pairs of category numbers, old and new, that are the same category."""
    if bool(old.given) and bool(new.given) and old.vectors.shape[1] == new.vectors.shape[1]:
        places = {row.tobytes(): i for i, row in enumerate(old.vectors.cpu().numpy())}
        found = [
            (places.get(row.tobytes(), -1), i) for i, row in enumerate(new.vectors.cpu().numpy())
        ]
        return np.array([pair for pair in found if pair[0] >= 0], np.int64).reshape(-1, 2)
    both = np.arange(min(len(old.b), len(new.b)))
    return np.stack([both, both], 1)
