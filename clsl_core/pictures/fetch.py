"""Fetching one file from elsewhere: within limits, and never from inside the private network.

``http`` and ``https`` go through the standard library, since the address that is really connected
to must be looked at before anything is sent, for each redirect anew; a name that means another
address a moment later gains nothing. Object stores go through fsspec, which reaches only their
own endpoints. Their drivers have time-outs of their own, some of them none: each try runs in a
thread that is left behind when its time is over.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from queue import Empty, Queue
from threading import Thread
from typing import IO
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from clsl_core.errors import ImageError

__all__ = ["STORES", "FetchLimits", "fetch", "is_url"]

STORES = ("s3", "gs", "gcs", "az", "abfs", "memory")
"""Schemes that fsspec is asked for; none of them opens local files or arbitrary hosts."""
WEB = ("http", "https")
REDIRECTS = 5
PIECE = 1 << 16
NAT64 = ipaddress.ip_network("64:ff9b::/96")
NOT_PUBLIC = (ipaddress.ip_network("64:ff9b:1::/48"), ipaddress.ip_network("::/96"))
"""Local translation to IPv4, and addresses that are IPv4's in disguise."""
REDIRECT = frozenset({301, 302, 303, 307, 308})
HEADERS = {"Accept": "image/*,*/*", "User-Agent": "clsl"}
_SAFE = "/%:@!$&'()*+,;=~"
"""What stays as it is in the path of a request; with % what is encoded already."""
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
    parts = _parts(text)
    if parts is None or not parts.netloc:
        return False
    chained = "::" in text  # by which fsspec goes on to another file system
    return parts.scheme.lower() in WEB or (parts.scheme.lower() in STORES and not chained)


def _parts(text: str) -> SplitResult | None:
    """A URL's parts; None where it has none, as with a bracket that is not closed."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


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
    if not is_url(url):
        known = ", ".join(f"{scheme}://" for scheme in (*WEB, *STORES))
        raise ImageError(f"{_shown(url)} is none of the kinds that are fetched: {known}", "missing")
    take = _from_web if urlsplit(url).scheme.lower() in WEB else _from_store
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
            with closing(_connect(url, limits, end)) as connection, _cut_off(connection, end):
                connection.request("GET", _target(url), headers=HEADERS)
                with closing(connection.getresponse()) as answer:
                    if answer.status not in REDIRECT:
                        return _content(answer, url, limits, end)
                    url = _redirected(url, answer.headers.get("Location", ""))
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > end:
                raise _took_long(limits) from error
            raise _TryAgain(str(error) or type(error).__name__) from error
        except ValueError as error:
            raise ImageError(f"{_shown(url)} is no web address: {error}", "missing") from error
        if not is_url(url) or urlsplit(url).scheme.lower() not in WEB:
            raise ImageError(f"{_shown(url)}: redirected to no web address", "unsafe-path")
    raise ImageError(f"{_shown(url)}: more than {REDIRECTS} redirects", "unreachable")


def _redirected(url: str, location: str) -> str:
    """Where an answer points to; headers come as Latin-1, and are mostly meant as UTF-8."""
    with suppress(ValueError):
        return urljoin(url, quote(location.encode("latin-1"), safe=_SAFE + "#[]"))
    return location


def _target(url: str) -> str:
    """What the server is asked for: other letters than ASCII's as UTF-8, percent-encoded."""
    parts = urlsplit(url)
    path = quote(parts.path, safe=_SAFE, errors="surrogatepass") or "/"
    query = quote(parts.query, safe=_SAFE + "?", errors="surrogatepass")
    return f"{path}?{query}" if query else path


def _content(answer: http.client.HTTPResponse, url: str, limits: FetchLimits, end: float) -> bytes:
    if time.monotonic() > end:
        raise _took_long(limits)
    _check_status(url, answer.status)
    stated = answer.headers.get("Content-Length", "")
    length = int(stated[:18]) if stated.isdecimal() else None
    if length is not None and length > limits.megabytes * 1_000_000:
        raise _too_large(url, limits)
    content = _read(answer, url, limits, end)
    if not content or (length is not None and len(content) < length):
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


@contextmanager
def _cut_off(connection: http.client.HTTPConnection, end: float) -> Iterator[None]:
    """End a connection when the time is over, however slowly it drips."""
    line = connection.sock

    def shut() -> None:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, end - time.monotonic()), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _took_long(limits: FetchLimits) -> _TryAgain:
    return _TryAgain(f"it took longer than {limits.seconds:g} s")


def _connect(url: str, limits: FetchLimits, end: float) -> http.client.HTTPConnection:
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
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    inner = [] if limits.allow_private else [one for one in addresses if not _is_public(one)]
    if inner:
        raise ImageError(
            f"{_shown(url)} leads to {inner[0]}, which is not a public address: not fetched; set "
            "CLSL_ALLOW_PRIVATE_HOSTS=true where your own servers hold the pictures",
            "unsafe-path",
        )
    line = _line(addresses, port, end)
    if secure:
        try:
            line = ssl.create_default_context().wrap_socket(line, server_hostname=host)
        except OSError as error:
            line.close()
            raise _TryAgain(str(error)) from error
    connection = http.client.HTTPConnection(host, port, timeout=limits.seconds)
    connection.sock = line
    return connection


def _line(addresses: Sequence[str], port: int, end: float) -> socket.socket:
    """A line to one of the very addresses that were looked at; the name is asked for only once."""
    reason = "no address"
    for address in addresses:
        left = end - time.monotonic()
        if left <= 0:
            break
        try:
            return socket.create_connection((address, port), timeout=left)
        except OSError as error:
            reason = str(error)
    raise _TryAgain(reason)


def _is_public(address: str) -> bool:
    """Whether an address is one of the open network: no loopback, link, private or other range.

    Of an address that stands for another one, both must be.
    """
    found = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    if not found.is_global or found.is_multicast:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return True
    if found.is_site_local or any(found in network for network in NOT_PUBLIC):
        return False
    inner = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
    if found in NAT64:
        inner.append(ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF))
    return all(one is None or one.is_global for one in inner)


def _from_store(url: str, limits: FetchLimits) -> bytes:
    done: Queue[bytes | BaseException] = Queue()

    def run() -> None:
        try:
            done.put(_read_store(url, limits))
        except BaseException as error:
            done.put(error)

    Thread(target=run, name="object-store", daemon=True).start()
    try:
        found = done.get(timeout=limits.seconds)
    except Empty:
        raise _TryAgain(f"no answer within {limits.seconds:g} s") from None
    if isinstance(found, BaseException):
        raise found
    return found


def _read_store(url: str, limits: FetchLimits) -> bytes:
    try:
        import fsspec
    except ImportError as error:
        raise ImageError(_needs("fsspec"), "unreachable") from error
    end = time.monotonic() + limits.seconds
    try:
        # Asked for by its scheme, so that no odd URL means another file system.
        with fsspec.filesystem(urlsplit(url).scheme.lower()).open(url, "rb") as stream:
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
            raise _took_long(limits)
    if time.monotonic() > end:  # and what there is may be a part
        raise _took_long(limits)
    return bytes(content)


def _too_large(url: str, limits: FetchLimits) -> ImageError:
    return ImageError(f"{_shown(url)} is larger than {limits.megabytes} MB", "too-large")


def _needs(what: str) -> str:
    return f"pictures of object stores need the extra `remote` (pip install 'clsl[remote]'): {what}"


def _shown(url: str) -> str:
    """A URL for a message: without query, which may hold a key, and not endless."""
    parts = _parts(url)
    shown = (
        url.partition("?")[0] if parts is None else parts._replace(query="", fragment="").geturl()
    )
    return ascii(shown[:200]) if not shown.isprintable() else repr(shown[:200])
