"""Which names an uploaded archive may give its files: none that leads, hides or collides."""

from __future__ import annotations

import ntpath
import re
import unicodedata

from clsl_core.errors import InputError

__all__ = ["TakenNames", "checked_name", "is_litter"]

LONGEST_PART = 255
"""Bytes of a folder's or a file's name on most systems."""
LONGEST = 1_000
DEEPEST = 30

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that turn the direction of reading, so that ``gpj.exe`` is shown as ``exe.jpg``."""

_LITTER = ("__MACOSX",)
_LITTER_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")


def checked_name(name: str) -> str:
    """The relative path of a member, with ``/`` between the folders.

    Raises:
        InputError: The name leads out of the archive's folder, or cannot be shown or stored.
    """
    shown = f"{name[:120]!a}"
    if _CONTROL.search(name):
        raise InputError(f"the archive's file {shown} has control characters in its name: rename")
    if _DIRECTION.search(name):
        raise InputError(
            f"the archive's file {shown} hides its true name behind marks that turn the direction "
            "of reading: rename it"
        )
    plain = name.replace("\\", "/")
    if plain.startswith("/") or ntpath.splitdrive(name)[0]:
        raise InputError(f"the archive's file {shown} has an absolute path: pack relative paths")
    parts = plain.rstrip("/").split("/")
    if ".." in parts:
        raise InputError(f"the archive's file {shown} leads out of its folder ('..'): pack it anew")
    parts = [part for part in parts if part != "."]
    if not parts or not all(part.strip() for part in parts):
        raise InputError(f"the archive's file {shown} has an empty name: rename it")
    if len(parts) > DEEPEST:
        raise InputError(f"the archive's file {shown} lies deeper than {DEEPEST} folders")
    if len(plain) > LONGEST or any(len(part.encode()) > LONGEST_PART for part in parts):
        raise InputError(
            f"the archive's file {shown} has a name that is too long: at most {LONGEST_PART} bytes "
            f"between two slashes, {LONGEST:,} characters in all"
        )
    return "/".join(parts)


def is_litter(name: str) -> bool:
    """Whether a system left a file there of which nobody knows."""
    parts = name.split("/")
    return parts[0] in _LITTER or parts[-1] in _LITTER_FILES or parts[-1].startswith("._")


class TakenNames:
    """The names so far, as systems see them that tell neither case nor spelling apart."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def take(self, name: str) -> None:
        """Note one more file.

        Raises:
            InputError: There is a file of that name, or of one that many systems hold to be the
                same, or a folder.
        """
        parts = name.split("/")
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            key = _key(folder)
            if key in self._files:
                raise _collision(name, self._files[key])
            if self._folders.setdefault(key, folder) != folder:
                raise _collision(folder, self._folders[key])
        key = _key(name)
        other = self._files.get(key) or self._folders.get(key)
        if other is not None:
            raise _collision(name, other)
        self._files[key] = name


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _collision(name: str, other: str) -> InputError:
    if name == other:
        return InputError(f"the archive has two files called {name[:120]!a}: keep one of them")
    return InputError(
        f"the archive's {name[:120]!a} and {other[:120]!a} are the same name on many systems: "
        "rename one"
    )
