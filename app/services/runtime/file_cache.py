"""Files kept on disk, found again by their name, the least used thrown out when full."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.services.runtime.one_at_a_time import OneAtATime
from clsl_core.errors import InputError
from clsl_core.files import atomic_file

SWEEP_AFTER = 0.05
"""Share of the limit that is written between two looks at the whole folder."""
KEEP = 0.9
"""Share of the limit that is left after a sweep, so that not every file causes one."""


@dataclass(frozen=True, slots=True)
class _Kept:
    used: float
    size: int
    path: str


class FileCache:
    """Files below one folder, together not much larger than a limit.

    A file's modification time is the time of its last use. Several processes may share the
    folder: each counts what it wrote itself and looks at everything before it deletes.

    Args:
        folder: Where the files are; made when first needed.
        limit: Bytes. 0 keeps nothing.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._written = limit  # the first file of a process looks at what earlier ones left
        self._lock = threading.Lock()
        self._making = OneAtATime()

    def get(self, name: str) -> bytes | None:
        """The bytes kept under a name (``dataset/file.webp``); None when there are none."""
        path = self.folder / name
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if not content:  # the power went before it reached the disk
            return None
        with suppress(OSError):
            os.utime(path)
        return content

    def put(self, name: str, content: bytes) -> None:
        """Keep bytes under a name. A full or read-only disk costs the file, nothing else."""
        if not self.limit:
            return
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path, durable=False) as file:
                file.write(content)
        except (OSError, InputError):
            return
        with self._lock:
            self._written += len(content)
            if self._written < SWEEP_AFTER * self.limit:
                return
            self._written = 0
        self._sweep()

    def get_or_make(self, name: str, thing: Hashable, make: Callable[[], bytes]) -> bytes:
        """What is kept under a name, made and kept where nothing is.

        Args:
            name: As for ``get``.
            thing: Of what it is made: of the threads that make something of the same thing, one is
                at work and the others wait.
            make: Makes it.
        """
        content = self.get(name)
        if content is not None:
            return content
        with self._making.take(thing):
            content = self.get(name)
            if content is None:
                content = make()
                self.put(name, content)
        return content

    def _sweep(self) -> None:
        """Delete the least recently used files until KEEP of the limit is left."""
        kept = sorted(self._all(), key=lambda file: file.used, reverse=True)
        total = sum(file.size for file in kept)
        if total <= self.limit:
            return
        while kept and total > KEEP * self.limit:
            oldest = kept.pop()
            total -= oldest.size
            Path(oldest.path).unlink(missing_ok=True)

    def _all(self) -> list[_Kept]:
        found = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - a hundred thousand of them
                with suppress(FileNotFoundError):  # another process deleted it
                    status = os.stat(path)  # noqa: PTH116
                    found.append(_Kept(status.st_mtime, status.st_size, path))
        return found
