"""Files of pictures, looked at to tell whether two images of two files are one."""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from clsl_core.errors import ImageError
from clsl_core.pictures.fetch import is_url
from clsl_core.pictures.loading import LocalImages

__all__ = ["LocalPictures"]

COMPARED = 100
"""Pictures of one size that are compared by their content, too."""


class LocalPictures:
    """The pictures in folders of this machine; what lies at URLs is not seen.

    Args:
        now: The folders and URLs in which pictures are looked for from now on.
        before: Those in which they were looked for until now.
        stated: By the name of a file, the other name by which it was looked for.
    """

    def __init__(
        self,
        now: Sequence[str],
        before: Sequence[str] = (),
        stated: Mapping[str, str] | None = None,
    ) -> None:
        self._stated = stated or {}
        self._now = [LocalImages(Path(root)) for root in now if not is_url(root)]
        gone = [root for root in before if root not in now and not is_url(root)]
        self._before = [LocalImages(Path(root)) for root in gone]
        self._compared = 0
        self._digests: dict[Path, str | None] = {}

    def stated(self, file_name: str) -> str:
        """See PicturesThere."""
        return self._stated.get(file_name, file_name)

    def fingerprint(self, file_name: str) -> str | None:
        """See PicturesThere."""
        return _fingerprint(self._now, file_name)

    def same(self, one: str, other: str) -> bool | None:
        """See PicturesThere."""
        paths = [_found(self._now, name) for name in (one, other)]
        if paths[0] is None or paths[1] is None:
            return None
        try:
            return filecmp.cmp(paths[0], paths[1], shallow=False)
        except OSError:
            return None

    def digest(self, file_name: str) -> str | None:
        """See PicturesThere."""
        return self._digest(_found(self._now, file_name))

    def digest_before(self, file_name: str, sizes: Collection[str]) -> str | None:
        """See PicturesThere."""
        size = (_fingerprint(self._before, file_name) or "").partition("-")[0]
        if not size or size not in sizes:
            return None
        return self._digest(_found(self._before, file_name))

    def replaced(self, file_name: str) -> tuple[str, str] | None:
        """See PicturesThere: by their sizes, and the first ones by their content, too."""
        before = _found(self._before, file_name) if self._before else None
        now = None if before is None else _found(self._now, file_name)
        if before is None or now is None:
            return None
        try:
            differ = before.stat().st_size != now.stat().st_size
            if not differ and self._compared < COMPARED:
                self._compared += 1
                differ = not filecmp.cmp(before, now, shallow=False)
        except OSError:
            return None
        return (str(before), str(now)) if differ else None

    def _digest(self, path: Path | None) -> str | None:
        if path is None:
            return None
        if path not in self._digests:
            self._digests[path] = _digest(path)
        return self._digests[path]


def _fingerprint(folders: Sequence[LocalImages], file_name: str) -> str | None:
    for folder in folders:
        try:
            return folder.fingerprint(file_name)
        except ImageError:
            continue
    return None


def _found(folders: Sequence[LocalImages], file_name: str) -> Path | None:
    for folder in folders:
        try:
            return folder.resolve(file_name)
        except ImageError:
            continue
    return None


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
