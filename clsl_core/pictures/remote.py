"""Pictures from elsewhere, and from several places in turn."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar
from urllib.parse import quote

from PIL import Image

from clsl_core.errors import ImageError, UnsafePathError
from clsl_core.pictures.decoding import MAX_PIXELS, Header, decode, read_header
from clsl_core.pictures.fetch import is_url
from clsl_core.pictures.loading import ImageLoader, refuse_unsafe

__all__ = ["Cache", "FirstOf", "RemoteImages", "below"]


T = TypeVar("T")


class Cache(Protocol):
    """Keeps files under names, as long as there is room."""

    def get(self, name: str) -> bytes | None:
        """What was kept."""

    def put(self, name: str, content: bytes) -> None:
        """Keep something."""


def below(root: str) -> Callable[[str], str]:
    """From file names to the URLs below a root."""
    start = root.rstrip("/") + "/"

    def url_of(file_name: str) -> str:
        return start + quote(file_name.replace("\\", "/"), errors="surrogatepass")

    return url_of


class RemoteImages:
    """Pictures that are fetched when they are first looked at, and then kept for a while.

    What lies at a URL is taken to stay the same.

    Args:
        url_of: The URL of a picture by its file name, or None where it has none.
        fetch: Gives the content of a URL, within limits; see ``fetch.fetch``.
        cache: Keeps what was fetched.
        max_pixels: As in ``LocalImages``.
    """

    def __init__(
        self,
        url_of: Callable[[str], str | None],
        fetch: Callable[[str], bytes],
        cache: Cache,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._url_of, self._fetch, self._cache = url_of, fetch, cache
        self._max_pixels = max_pixels

    def load(self, file_name: str, at_least: int | None = None) -> Image.Image:
        """See ImageLoader; also raises what fetching raises."""
        return self._read(file_name, lambda s: decode(s, file_name, self._max_pixels, at_least))

    def check(self, file_name: str) -> tuple[int, int]:
        """See ImageLoader."""
        return self.load(file_name).size

    def header(self, file_name: str) -> Header:
        """See ImageLoader."""
        return self._read(file_name, lambda s: read_header(s, file_name, self._max_pixels))

    def fingerprint(self, file_name: str) -> str:
        """Of the URL alone: nothing is fetched; see ImageLoader."""
        return f"url-{_name(self._url(file_name))[3:19]}"

    def _read(self, file_name: str, read: Callable[[io.BytesIO], T]) -> T:
        url = self._url(file_name)
        name = _name(url)
        content = self._cache.get(name)
        if content is not None:
            return read(io.BytesIO(content))
        content = self._fetch(url)
        found = read(io.BytesIO(content))
        self._cache.put(name, content)  # only what is a picture
        return found

    def _url(self, file_name: str) -> str:
        refuse_unsafe(file_name)
        url = self._url_of(file_name)
        if not url:
            raise ImageError(f"{file_name!r} has no URL", "missing")
        if not is_url(url):
            raise ImageError(f"the URL of {file_name!r} is no address: {url[:200]!a}", "missing")
        return url


class FirstOf:
    """Pictures of several places: of each the first place that has it.

    A place that cannot give a picture for another reason than that it has none does not hide it
    in the next one; the first such reason is told when no place gives it.

    Args:
        loaders: In the order in which they are asked; at least one.
    """

    def __init__(self, loaders: Sequence[ImageLoader]) -> None:
        self._loaders = tuple(loaders)

    def load(self, file_name: str, at_least: int | None = None) -> Image.Image:
        """See ImageLoader."""
        return self._first(lambda loader: loader.load(file_name, at_least))

    def check(self, file_name: str) -> tuple[int, int]:
        """See ImageLoader."""
        return self._first(lambda loader: loader.check(file_name))

    def header(self, file_name: str) -> Header:
        """See ImageLoader."""
        return self._first(lambda loader: loader.header(file_name))

    def fingerprint(self, file_name: str) -> str:
        """See ImageLoader."""
        return self._first(lambda loader: loader.fingerprint(file_name))

    def _first(self, ask: Callable[[ImageLoader], T]) -> T:
        told: ImageError | None = None
        for loader in self._loaders:
            try:
                return ask(loader)
            except UnsafePathError:
                raise
            except ImageError as error:
                if told is None or (told.reason == "missing" and error.reason != "missing"):
                    told = error
        assert told is not None
        raise told


def _name(url: str) -> str:
    """Under which a URL's file is kept: two levels of folders."""
    digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest[:2]}/{digest[2:]}"
