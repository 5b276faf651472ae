"""Names from files as they may stand before a person: what is invisible or misleads is marked."""

from __future__ import annotations

import re

__all__ = ["legible"]

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff]"
)


def legible(text: str, longest: int = 200) -> str:
    """Text without signs that are not seen, or that turn what stands around them.

    Each of them becomes U+FFFD. Markup is no business of this: pages show text as text.

    Args:
        text: From a file.
        longest: Characters that are shown.
    """
    shown = _HIDDEN.sub("\ufffd", text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
