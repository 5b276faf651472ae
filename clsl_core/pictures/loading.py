"""Pictures by file name: found only inside their folder, decoded only when that is safe.

A loader gives upright RGB. Every failure is an ImageError with a short reason, so that one bad
file never stops a collection.
"""

from __future__ import annotations

import errno
import hashlib
import io
import ntpath
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from PIL import Image

from clsl_core.errors import ImageError, UnsafePathError
from clsl_core.pictures.colours import to_rgb
from clsl_core.pictures.decoding import MAX_PIXELS, Header, decode, read_header

__all__ = ["ImageLoader", "LocalImages", "MemoryImages", "refuse_unsafe", "thumbnail"]


class ImageLoader(Protocol):
    """Gives pictures by the file name their annotation file uses."""

    def load(self, file_name: str, at_least: int | None = None) -> Image.Image:
        """The picture as RGB, upright, fully decoded.

        Args:
            file_name: As the annotation file has it.
            at_least: The picture may come smaller, but with no side below so many pixels that the
                file has more of, unless it is very long and narrow. None for its full size.

        Raises:
            ImageError: With the reason; UnsafePathError for a name that leaves the folder.
        """

    def fingerprint(self, file_name: str) -> str:
        """A cheap text that changes when the file does.

        Raises:
            ImageError: When there is no such file.
        """

    def check(self, file_name: str) -> tuple[int, int]:
        """Decode the picture completely; its upright (width, height) in pixels.

        Raises:
            ImageError: With the reason.
        """

    def header(self, file_name: str) -> Header:
        """The picture's size as it is stored, and how it is to be turned; nothing is decoded.

        Raises:
            ImageError: With the reason.
        """


class LocalImages:
    """Pictures in a folder and below it.

    Args:
        root: The folder; nothing outside it is ever opened, through links neither.
        max_pixels: Larger pictures are refused before they are decoded.
    """

    def __init__(self, root: Path, max_pixels: int = MAX_PIXELS) -> None:
        self._root = root.resolve()
        self._max_pixels = max_pixels

    def resolve(self, file_name: str) -> Path:
        """The real path of a regular file inside the root.

        Backslashes separate folders where no file of the literal name exists.

        Raises:
            UnsafePathError: For an empty or absolute name, ``..``, NUL, or a link that leads out.
            ImageError: When there is no regular file of that name.
        """
        refuse_unsafe(file_name)
        try:
            path = self._inside(file_name, file_name)
            if not path.exists() and "\\" in file_name:
                path = self._inside(file_name.replace("\\", "/"), file_name)
            mode = path.stat().st_mode
        except (OSError, RuntimeError, UnicodeError) as error:
            raise _cannot_open(file_name, error) from error
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise ImageError(f"{file_name!r} is {kind}, expected a picture", "not-an-image")
        return path

    def _inside(self, relative: str, file_name: str) -> Path:
        path = (self._root / relative).resolve()
        if not path.is_relative_to(self._root):
            raise UnsafePathError(f"{file_name!r} leads out of the image folder; not opened")
        return path

    def load(self, file_name: str, at_least: int | None = None) -> Image.Image:
        """See ImageLoader."""
        with self._open(file_name) as stream:
            return decode(stream, file_name, self._max_pixels, at_least)

    def check(self, file_name: str) -> tuple[int, int]:
        """See ImageLoader."""
        return self.load(file_name).size

    def header(self, file_name: str) -> Header:
        """See ImageLoader."""
        with self._open(file_name) as stream:
            return read_header(stream, file_name, self._max_pixels)

    def fingerprint(self, file_name: str) -> str:
        """Size in bytes and time of change in nanoseconds, ``size-mtime``; see ImageLoader."""
        path = self.resolve(file_name)
        try:
            with self._folder_of(path) as folder:
                name = path if folder is None else path.name
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            raise _cannot_open(file_name, error) from error
        return f"{status.st_size}-{status.st_mtime_ns}"

    def _open(self, file_name: str) -> BinaryIO:
        """Open without ever waiting (pipes) and without following a link swapped in since."""
        path = self.resolve(file_name)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
        try:
            with self._folder_of(path) as folder:
                name = path if folder is None else path.name
                handle = os.open(name, flags | getattr(os, "O_BINARY", 0), dir_fd=folder)
        except OSError as error:
            raise _cannot_open(file_name, error) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise ImageError(f"{file_name!r} is no regular file", "not-an-image")
        return os.fdopen(handle, "rb")

    @contextmanager
    def _folder_of(self, path: Path) -> Iterator[int | None]:
        """A descriptor of a resolved file's folder, reached from the root without any link.

        A folder that was swapped for a link since the path was resolved is not gone through. None
        on systems that cannot open so.
        """
        if not _BY_DESCRIPTOR:
            yield None
            return
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        folder = os.open(self._root, flags)
        try:
            for part in path.relative_to(self._root).parts[:-1]:
                outer = folder
                folder = os.open(part, flags, dir_fd=outer)
                os.close(outer)
            yield folder
        finally:
            os.close(folder)


_BY_DESCRIPTOR = {os.open, os.stat} <= os.supports_dir_fd and hasattr(os, "O_DIRECTORY")


class MemoryImages:
    """Pictures held in memory, as pictures or as file contents: the fake for tests.

    Args:
        mapping: File name to picture or to the bytes of an image file.
        max_pixels: As in LocalImages; applies to bytes.
    """

    def __init__(
        self, mapping: Mapping[str, Image.Image | bytes], max_pixels: int = MAX_PIXELS
    ) -> None:
        self._pictures = dict(mapping)
        self._max_pixels = max_pixels

    def load(self, file_name: str, at_least: int | None = None) -> Image.Image:
        """See ImageLoader."""
        picture = self._get(file_name)
        if isinstance(picture, bytes):
            return decode(io.BytesIO(picture), file_name, self._max_pixels, at_least)
        return to_rgb(picture)

    def check(self, file_name: str) -> tuple[int, int]:
        """See ImageLoader."""
        return self.load(file_name).size

    def header(self, file_name: str) -> Header:
        """See ImageLoader."""
        picture = self._get(file_name)
        if isinstance(picture, bytes):
            return read_header(io.BytesIO(picture), file_name, self._max_pixels)
        return Header(*picture.size, 1)

    def fingerprint(self, file_name: str) -> str:
        """A hash of the content; see ImageLoader."""
        picture = self._get(file_name)
        content = picture if isinstance(picture, bytes) else picture.tobytes()
        return f"{len(content)}-{hashlib.sha256(content).hexdigest()[:16]}"

    def _get(self, file_name: str) -> Image.Image | bytes:
        refuse_unsafe(file_name)
        try:
            return self._pictures[file_name]
        except KeyError:
            raise ImageError(f"there is no picture {file_name!r}", "missing") from None


def thumbnail(image: Image.Image, longest: int) -> bytes:
    """A small copy as WebP; pictures are never enlarged.

    Args:
        image: An RGB picture.
        longest: Longest side in pixels, at least 1.

    Returns:
        The bytes of a WebP file.
    """
    small = image.copy()
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=82, method=1)
    return stream.getvalue()


def refuse_unsafe(file_name: str) -> None:
    """Refuse names that could leave the folder on any system.

    Raises:
        UnsafePathError: With what is wrong.
    """
    name = file_name.replace("\\", "/")
    if not name.strip():
        raise UnsafePathError("the file name is empty")
    if "\x00" in name:
        raise UnsafePathError(f"the file name {file_name!r} contains NUL")
    if name.startswith("/") or ntpath.splitdrive(file_name)[0]:
        raise UnsafePathError(f"{file_name!r} is an absolute path; expected one inside the folder")
    if ".." in name.split("/"):
        raise UnsafePathError(f"{file_name!r} contains '..'; expected a path inside the folder")


def _cannot_open(file_name: str, error: Exception) -> ImageError:
    """Say why the system does not give a file."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOENT, errno.ENOTDIR) or isinstance(error, UnicodeError):
        return ImageError(f"there is no file {file_name!r} in the image folder", "missing")
    if number == errno.ENAMETOOLONG:
        shown = f"{file_name[:60]!r}…"
        return ImageError(f"the file name {shown} is too long for this system", "unreadable")
    return ImageError(f"{file_name!r} cannot be opened: {error}", "unreadable")
