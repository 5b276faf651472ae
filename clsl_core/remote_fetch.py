"""Fetching one file from elsewhere: within limits, and never from inside the private network.

``http`` and ``https`` go through the standard library, since the address that is really connected
to must be looked at before anything is sent, for each redirect anew; a name that means another
address a moment later gains nothing. Object stores go through fsspec, which reaches only their
own endpoints.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO
from urllib.parse import urljoin, urlsplit

from clsl_core.errors import ImageError

__all__ = ["STORES", "FetchLimits", "fetch", "is_url"]

STORES = ("s3", "gs", "gcs", "az", "abfs", "memory")
"""Schemes that fsspec is asked for; none of them opens local files or arbitrary hosts."""
WEB = ("http", "https")
REDIRECTS = 5
PIECE = 1 << 16
REDIRECT = frozenset({301, 302, 303, 307, 308})
HEADERS = {"Accept": "image/*,*/*", "User-Agent": "clsl"}
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP states after which another try may help."""


@dataclass(frozen=True)
class FetchLimits:
    """What a fetch may cost.

    Attributes:
        seconds: For one try, from the connection to the last byte.
        tries: How often it is tried.
        pause: Seconds before the second try; doubled for each further one.
        megabytes: Larger files are refused.
        allow_private: Whether addresses that are not public may be connected to.
    """

    seconds: float = 20.0
    tries: int = 3
    pause: float = 0.5
    megabytes: int = 100
    allow_private: bool = False


class _TryAgain(Exception):  # noqa: N818 - no fault yet
    """This try failed, the next one may not."""


def is_url(text: str) -> bool:
    """Whether a text names something that ``fetch`` could fetch."""
    return urlsplit(text).scheme.lower() in (*WEB, *STORES)


def fetch(url: str, limits: FetchLimits, sleep: Callable[[float], None] = time.sleep) -> bytes:
    """The content of a file.

    Args:
        url: ``http(s)://…`` or an object store's.
        limits: What it may cost.
        sleep: Waits between two tries.

    Raises:
        ImageError: ``missing`` when there is no such file, ``unsafe-path`` for an address that
            must not be asked, ``too-large``, else ``unreachable``.
    """
    scheme = urlsplit(url).scheme.lower()
    if scheme not in (*WEB, *STORES):
        known = ", ".join((*WEB, *STORES))
        raise ImageError(f"{_shown(url)} is none of the kinds that are fetched: {known}", "missing")
    take = _from_web if scheme in WEB else _from_store
    pause = limits.pause
    for attempt in range(1, limits.tries + 1):
        try:
            return take(url, limits)
        except _TryAgain as reason:
            if attempt == limits.tries:
                message = f"{_shown(url)} could not be fetched in {attempt} tries: {reason}"
                raise ImageError(message, "unreachable") from reason
        sleep(pause)
        pause *= 2
    raise AssertionError("limits.tries is at least 1")


def _from_web(url: str, limits: FetchLimits) -> bytes:
    end = time.monotonic() + limits.seconds
    for _ in range(REDIRECTS + 1):
        try:
            with closing(_connect(url, limits)) as connection:
                connection.request("GET", _target(url), headers=HEADERS)
                with closing(connection.getresponse()) as answer:
                    if answer.status not in REDIRECT:
                        return _content(answer, url, limits, end)
                    url = urljoin(url, answer.headers.get("Location", ""))
        except (OSError, http.client.HTTPException) as error:
            raise _TryAgain(str(error) or type(error).__name__) from error
        if urlsplit(url).scheme.lower() not in WEB:
            raise ImageError(f"{_shown(url)}: redirected to no web address", "unsafe-path")
    raise ImageError(f"{_shown(url)}: more than {REDIRECTS} redirects", "unreachable")


def _target(url: str) -> str:
    """What the server is asked for."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _content(answer: http.client.HTTPResponse, url: str, limits: FetchLimits, end: float) -> bytes:
    _check_status(url, answer.status)
    stated = answer.headers.get("Content-Length", "")
    length = int(stated[:18]) if stated.isdecimal() else None
    if length is not None and length > limits.megabytes * 1_000_000:
        raise _too_large(url, limits)
    content = _read(answer, url, limits, end)
    if length is not None and len(content) < length:
        raise _TryAgain("the connection ended in the middle of the file")
    return content


def _check_status(url: str, status: int) -> None:
    if status == HTTPStatus.OK:
        return
    if status in AGAIN:
        raise _TryAgain(f"the server answered {status}")
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise ImageError(f"there is no file {_shown(url)}: the server answered {status}", "missing")
    raise ImageError(f"{_shown(url)}: the server answered {status}", "unreachable")


def _connect(url: str, limits: FetchLimits) -> http.client.HTTPConnection:
    """A connection to an address that may be asked."""
    parts = urlsplit(url)
    secure = parts.scheme.lower() == "https"
    try:
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    except ValueError as error:
        raise ImageError(f"{_shown(url)} is no web address: {error}", "missing") from error
    if not host or parts.username or parts.password:
        raise ImageError(f"{_shown(url)}: a host, and no name or password, is expected", "missing")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _TryAgain(f"the host {host!r} is not known: {error}") from error
    address = found[0][4]
    if not limits.allow_private and not all(_is_public(str(entry[4][0])) for entry in found):
        raise ImageError(
            f"{_shown(url)} leads to {address[0]}, which is not a public address: not fetched; set "
            "CLSL_ALLOW_PRIVATE_HOSTS=true where your own servers hold the pictures",
            "unsafe-path",
        )
    try:
        # To the very address that was looked at; the name is asked for only once.
        line = socket.create_connection((str(address[0]), port), timeout=limits.seconds)
    except OSError as error:
        raise _TryAgain(str(error)) from error
    if secure:
        try:
            line = ssl.create_default_context().wrap_socket(line, server_hostname=host)
        except OSError as error:
            line.close()
            raise _TryAgain(str(error)) from error
    connection = http.client.HTTPConnection(host, port, timeout=limits.seconds)
    connection.sock = line
    return connection


def _is_public(address: str) -> bool:
    """Whether an address is one of the open network: no loopback, link, private or other range."""
    found = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return found.is_global and not found.is_multicast and (inner is None or inner.is_global)


def _from_store(url: str, limits: FetchLimits) -> bytes:
    try:
        import fsspec
    except ImportError as error:
        raise ImageError(_needs("fsspec"), "unreachable") from error
    end = time.monotonic() + limits.seconds
    try:
        with fsspec.open(url, "rb") as stream:
            return _read(stream, url, limits, end)
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {_shown(url)}", "missing") from error
    except ImportError as error:
        raise ImageError(_needs(str(error)), "unreachable") from error
    except (ImageError, _TryAgain):
        raise
    except Exception as error:  # each store has errors of its own
        raise _TryAgain(f"{type(error).__name__}: {error}") from error


def _read(
    stream: IO[bytes] | http.client.HTTPResponse, url: str, limits: FetchLimits, end: float
) -> bytes:
    content = bytearray()
    while piece := stream.read(PIECE):
        content += piece
        if len(content) > limits.megabytes * 1_000_000:
            raise _too_large(url, limits)
        if time.monotonic() > end:
            raise _TryAgain(f"it took longer than {limits.seconds:g} s")
    return bytes(content)


def _too_large(url: str, limits: FetchLimits) -> ImageError:
    return ImageError(f"{_shown(url)} is larger than {limits.megabytes} MB", "too-large")


def _needs(what: str) -> str:
    return f"pictures of object stores need the extra `remote` (pip install 'clsl[remote]'): {what}"


def _shown(url: str) -> str:
    """A URL for a message: without query, which may hold a key, and not endless."""
    return repr(urlsplit(url)._replace(query="", fragment="").geturl()[:200])
