"""Pictures from elsewhere: within limits, kept for a while, and never from the inside."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clsl_core.errors import ImageError, UnsafePathError
from clsl_core.pictures import fetch as remote_fetch
from clsl_core.pictures.fetch import FetchLimits, fetch, is_url
from clsl_core.pictures.loading import MemoryImages
from clsl_core.pictures.remote import FirstOf, RemoteImages, below

LOCAL = FetchLimits(seconds=2.0, pause=0.0, megabytes=1, allow_private=True)

Answer = Callable[[BaseHTTPRequestHandler], None]


def png(colour: str = "red", side: int = 8) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(stream, "PNG")
    return stream.getvalue()


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, content: bytes, status: int = 200, **more: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **more}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def test_a_file_comes_with_its_query_and_escaped_name() -> None:
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        send(handler, b"content")

    with serving(answer) as address:
        assert fetch(below(f"{address}/a/")("über all\\1.jpg"), LOCAL) == b"content"
        assert fetch(f"{address}/b?key=1", LOCAL) == b"content"
    assert asked == ["/a/%C3%BCber%20all/1.jpg", "/b?key=1"]


def test_letters_of_any_alphabet_are_asked_for() -> None:
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        send(handler, b"content")

    with serving(answer) as address:
        for url in ("Müller %41.jpg?größe=1&a=b", "a b.jpg", "M%C3%BCller.jpg", "写真.jpg"):
            assert fetch(f"{address}/{url}", LOCAL) == b"content"
    assert asked == [
        "/M%C3%BCller%20%41.jpg?gr%C3%B6%C3%9Fe=1&a=b",
        "/a%20b.jpg",
        "/M%C3%BCller.jpg",
        "/%E5%86%99%E7%9C%9F.jpg",
    ]


def test_a_redirect_may_have_them_too() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/M%C3%BCller.jpg":
            send(handler, b"content")
            return
        handler.wfile.write(b"HTTP/1.0 302 Found\r\nLocation: /M\xc3\xbcller.jpg\r\n\r\n")

    with serving(answer) as address:
        assert fetch(f"{address}/a.jpg", LOCAL) == b"content"


HOSTS = st.sampled_from(
    [
        "127.0.0.1:9",
        "[::1]:9",
        "[x",
        "x]",
        "127.0.0.1:99999",
        "127.0.0.1:x",
        "a@127.0.0.1",
        "",
        "[]",
    ]
)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
ODD_URLS = st.one_of(
    ANY_TEXT,
    st.builds(
        "{}://{}/{}".format, st.sampled_from(["http", "https", "memory", "s3x"]), HOSTS, ANY_TEXT
    ),
    st.builds("http://127.0.0.1:9{}".format, ANY_TEXT),
)


@given(ODD_URLS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_url_whatever_ends_in_anything_but_an_image_error(url: str) -> None:
    limits = replace(LOCAL, tries=1, seconds=0.5)
    pictures = RemoteImages({"a": url}.get, partial(fetch, limits=limits), Kept())
    for ask in (pictures.load, pictures.check, pictures.fingerprint):
        with suppress(ImageError):
            ask("a")
    with suppress(ImageError):
        below("http://127.0.0.1:9")(url)


@given(ODD_URLS)
@settings(deadline=None, max_examples=40)
def test_no_redirect_either(url: str) -> None:
    content = (
        b"HTTP/1.0 302 Found\r\nLocation: " + url.encode("utf-8", "surrogatepass") + b"\r\n\r\n"
    )

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(content)

    with serving(answer) as address, suppress(ImageError):
        fetch(address, replace(LOCAL, tries=1, seconds=0.5))


def test_what_fails_for_a_while_is_tried_again() -> None:
    states, waits = [503, 429, 200], []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(handler, b"x", states.pop(0))

    limits = FetchLimits(seconds=2.0, pause=0.5, allow_private=True)
    with serving(answer) as address:
        assert fetch(address, limits, waits.append) == b"x"
    assert waits == [0.5, 1.0]


def test_what_fails_for_long_is_given_up_and_keys_are_not_told() -> None:
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        send(handler, b"", 500)

    with serving(answer) as address, pytest.raises(ImageError, match="in 3 tries") as told:
        fetch(f"{address}/p.jpg?signature=secret", LOCAL)
    assert len(asked) == 3
    assert told.value.reason == "unreachable"
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "missing"), (410, "missing"), (403, "unreachable")]
)
def test_what_is_not_there_is_asked_for_once(status: int, reason: str) -> None:
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        send(handler, b"", status)

    with serving(answer) as address, pytest.raises(ImageError, match=str(status)) as told:
        fetch(address, LOCAL)
    assert (told.value.reason, len(asked)) == (reason, 1)


def test_a_slow_server_does_not_hold_anybody_up() -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(50):
            handler.wfile.write(b"x" * remote_fetch.PIECE)
            time.sleep(0.1)

    limits = FetchLimits(seconds=0.3, tries=2, pause=0.0, allow_private=True)
    began = time.monotonic()
    with serving(drip) as address, pytest.raises(ImageError, match=r"longer than 0.3 s"):
        fetch(address, limits)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("where", ["headers", "stated", "chunked", "open"])
def test_a_server_that_drips_bytes_does_not_hold_anybody_up(where: str) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        start = {
            "headers": b"X-Slow: ",
            "stated": b"Content-Length: 100\r\n\r\n",
            "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
            "open": b"\r\n",
        }
        handler.wfile.write(start[where])
        for _ in range(60):
            handler.wfile.write(b"1\r\nx\r\n" if where == "chunked" else b"x")
            handler.wfile.flush()
            time.sleep(0.1)

    limits = FetchLimits(seconds=0.5, tries=1, allow_private=True)
    began = time.monotonic()
    with serving(drip) as address:
        with pytest.raises(ImageError, match=r"longer than 0.5 s"):
            fetch(address, limits)
        assert time.monotonic() - began < 3


def test_an_empty_answer_is_no_file() -> None:
    with (
        serving(lambda handler: send(handler, b"")) as address,
        pytest.raises(ImageError, match="in 3 tries"),
    ):
        fetch(address, LOCAL)


def test_an_address_that_does_not_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda handler: send(handler, b"x")) as address:
        port = int(address.rsplit(":", 1)[1])
        both = [(2, 1, 6, "", (one, port)) for one in ("127.0.0.3", "127.0.0.1")]
        monkeypatch.setattr(remote_fetch.socket, "getaddrinfo", lambda *_, **__: both)
        real = remote_fetch.socket.create_connection

        def connect(place: tuple[str, int], timeout: float) -> object:
            if place[0] == "127.0.0.3":
                raise OSError("no answer")
            return real(place, timeout=timeout)

        monkeypatch.setattr(remote_fetch.socket, "create_connection", connect)
        assert fetch(f"http://two.example:{port}/", LOCAL) == b"x"


@pytest.mark.parametrize(
    "address",
    [
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "::7f00:1",
        "fec0::1",
        "2002:7f00:1::",
        "::ffff:10.0.0.1",
    ],
)
def test_addresses_in_disguise_are_not_public(address: str) -> None:
    assert not remote_fetch._is_public(address)
    assert remote_fetch._is_public("64:ff9b::808:808")
    assert remote_fetch._is_public("2606:4700::1111")


def test_a_silent_server_does_not_hold_anybody_up() -> None:
    over = threading.Event()
    limits = FetchLimits(seconds=0.3, tries=2, pause=0.0, allow_private=True)
    with serving(lambda _: over.wait(5)) as address, pytest.raises(ImageError, match="tries"):  # type: ignore[arg-type,return-value]
        fetch(address, limits)
    over.set()


@pytest.mark.parametrize("stated", [True, False])
def test_a_huge_file_is_refused(stated: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if stated:
            handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        with pytest.MonkeyPatch.context():
            try:
                for _ in range(100):
                    handler.wfile.write(b"x" * 100_000)
            except OSError:
                pass

    with serving(answer) as address, pytest.raises(ImageError, match="larger than 1 MB") as told:
        fetch(address, LOCAL)
    assert told.value.reason == "too-large"


def test_a_file_cut_short_is_not_taken_for_whole() -> None:
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"half")

    with serving(answer) as address, pytest.raises(ImageError, match="in 3 tries"):
        fetch(address, LOCAL)
    assert len(asked) == 3


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://100.64.0.1/",
        "http://224.0.0.1/",
    ],
)
def test_addresses_of_the_inside_are_not_asked(url: str) -> None:
    with pytest.raises(ImageError, match=r"not a public address|not known") as told:
        fetch(url, FetchLimits(seconds=0.5, tries=1))
    assert told.value.reason in ("unsafe-path", "unreachable")


def test_a_name_that_leads_inside_is_not_asked_and_looked_up_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up: list[str] = []

    def find(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        looked_up.append(host)
        address = "93.184.216.34" if len(looked_up) == 1 else "127.0.0.1"
        return [(2, 1, 6, "", (address, port))]

    connected: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], **_: object) -> object:
        connected.append(address)
        raise OSError("refused")

    monkeypatch.setattr(remote_fetch.socket, "getaddrinfo", find)
    monkeypatch.setattr(remote_fetch.socket, "create_connection", connect)
    with pytest.raises(ImageError):
        fetch("http://rebinding.example/p.jpg", FetchLimits(tries=2, pause=0.0))
    # The address that was looked at is the one connected to; the second look is refused.
    assert connected == [("93.184.216.34", 80)]
    assert len(looked_up) == 2


def test_a_redirect_is_looked_at_like_any_address(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        reached.append(handler.path)
        port = handler.server.server_address[1]
        if handler.path == "/start":
            send(handler, b"", 302, Location=f"http://127.0.0.2:{port}/inside")
        else:
            send(handler, b"secret")

    with serving(answer) as address:
        assert fetch(f"{address}/start", LOCAL) == b"secret"
        reached.clear()
        monkeypatch.setattr(remote_fetch, "_is_public", lambda address: address == "127.0.0.1")
        with pytest.raises(ImageError, match=r"127\.0\.0\.2, which is not a public"):
            fetch(f"{address}/start", FetchLimits(seconds=2.0, tries=1))
    assert reached == ["/start"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/x", "gopher://x"])
def test_a_redirect_to_something_else_is_refused(target: str) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(handler, b"", 301, Location=target)

    with serving(answer) as address, pytest.raises(ImageError, match="no web address"):
        fetch(address, LOCAL)


def test_redirects_without_end_end() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(handler, b"", 302, Location="/again")

    with serving(answer) as address, pytest.raises(ImageError, match="more than 5 redirects"):
        fetch(address, LOCAL)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "/etc/passwd", "http://", "http://user:word@host/x", "http://h:99999/"],
)
def test_what_is_not_fetched(url: str) -> None:
    with pytest.raises(ImageError):
        fetch(url, FetchLimits(tries=1, seconds=0.5))
    assert is_url("HTTPS://host/x")
    assert not is_url("C:/pictures")
    for odd in ("file:///x", "s3:x", "memory:/x", "memory://x::http://127.0.0.1/", "http:x"):
        assert not is_url(odd)


def test_object_stores_through_fsspec() -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/a b.png", png())
    loader = RemoteImages(below("memory://bucket"), lambda url: fetch(url, LOCAL), Kept())
    with pytest.raises(ImageError, match="there is no file") as told:
        loader.load("other.png")
    assert told.value.reason == "missing"
    files.pipe("/bucket/large.png", b"x" * 1_000_001)
    with pytest.raises(ImageError, match="larger than 1 MB"):
        loader.load("large.png")


@pytest.mark.parametrize("slow", ["open", "read"])
def test_an_object_store_that_never_answers_is_given_up(
    slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drivers of stores may wait for ever."""
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/slow.png", png())
    over = threading.Event()
    real = type(files).open

    def opened(self: object, *given: object, **options: object) -> object:
        if slow == "open":
            over.wait(30)
        stream = real(self, *given, **options)
        monkeypatch.setattr(stream, "read", lambda _size: over.wait(30) and b"")
        return stream

    monkeypatch.setattr(type(files), "open", opened)
    began = time.monotonic()
    limits = replace(LOCAL, seconds=0.3, tries=2)
    with pytest.raises(ImageError, match=r"in 2 tries: no answer within 0\.3 s"):
        fetch("memory://bucket/slow.png", limits)
    assert time.monotonic() - began < 5
    over.set()


class Kept(dict[str, bytes]):
    def put(self, name: str, content: bytes) -> None:
        self[name] = content


def test_a_picture_is_fetched_once_and_only_pictures_are_kept() -> None:
    asked: list[str] = []

    def get(url: str) -> bytes:
        asked.append(url)
        return png() if url.endswith(".png") else b"<html>"

    cache = Kept()
    loader = RemoteImages(below("https://host/set/"), get, cache)
    assert loader.load("1.png").size == loader.check("1.png") == (8, 8)
    assert asked == ["https://host/set/1.png"]
    with pytest.raises(ImageError) as told:
        loader.load("page.html")
    assert told.value.reason == "not-an-image"
    assert len(cache) == 1
    assert loader.fingerprint("1.png") != loader.fingerprint("2.png")
    assert len(asked) == 2  # a fingerprint fetches nothing
    for name in ("../1.png", "/etc/passwd", "", "a\0"):
        with pytest.raises(UnsafePathError):
            loader.load(name)


def test_places_are_asked_in_turn() -> None:
    one = MemoryImages({"a": png("red"), "broken": b"no picture"})
    other = MemoryImages({"a": png("blue"), "b": png("blue"), "broken": png("blue")})
    both = FirstOf([one, other])
    assert both.load("a").getpixel((0, 0)) == (255, 0, 0)
    assert both.load("b").getpixel((0, 0)) == (0, 0, 255)
    assert both.check("broken") == (8, 8)
    assert both.fingerprint("b") == other.fingerprint("b")
    with pytest.raises(ImageError) as told:
        FirstOf([other, one]).load("c")
    assert told.value.reason == "missing"
    with pytest.raises(ImageError) as told:
        FirstOf([MemoryImages({}), one]).load("broken")
    assert told.value.reason == "not-an-image"
