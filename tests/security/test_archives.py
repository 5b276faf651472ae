"""Archives that people upload: good ones arrive, bad ones are refused and leave nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from app.services.importing import archive
from app.services.importing.archive import Limits, clear_abandoned, unpack
from clsl_core.errors import InputError, JobCancelled
from tests.security import archives
from tests.security.archives import collection, packed, picture, renamed, special, with_flag

ROOT = Path(__file__).parents[2]
LIMITS = Limits(packed=20_000_000, unpacked=40_000_000, files=100, ratio=200)


def test_pictures_and_annotations_arrive(tmp_path: Path) -> None:
    files = collection("top/")
    made = unpack(packed(files), tmp_path, LIMITS)
    found = {p.relative_to(made.folder).as_posix(): p.read_bytes() for p in files_in(made.folder)}
    assert found == files
    assert (made.files, made.size) == (len(files), sum(map(len, files.values())))
    assert list(tmp_path.iterdir()) == [made.folder]


def test_what_an_import_does_not_use_is_left_out_and_said(tmp_path: Path) -> None:
    more = {
        "README.md": b"hello",
        "run.sh": b"#!/bin/sh",
        "images/x.jpg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "images/y.png": b"<!DOCTYPE html><script>alert(1)</script>",
        "table.csv": b"\x7fELF\0\0",
        "__MACOSX/._000.jpg": b"junk",
        ".DS_Store": b"junk",
    }
    made = unpack(packed({**collection(), **more}), tmp_path, LIMITS)
    names = {p.relative_to(made.folder).as_posix() for p in files_in(made.folder)}
    assert names == set(collection())
    assert made.left_out == 5
    said = "\n".join(made.examples)
    assert "x.jpg: it is called a picture, but its content is an SVG drawing" in said
    assert "y.png: it is called a picture, but its content is an HTML page" in said
    assert "table.csv: it is called an annotation file, but its content is a program" in said


def nested(name: str, content: bytes) -> io.BytesIO:
    return packed({**collection(), name: content})


def many_names(count: int) -> io.BytesIO:
    return packed({f"{i}.txt": b"" for i in range(count)}, zipfile.ZIP_STORED)


BAD: dict[str, tuple[Callable[[], io.BytesIO], str]] = {
    "slip": (lambda: packed({"../evil.json": b"{}"}), "leads out of its folder"),
    "slip within": (lambda: packed({"a/../../evil.json": b"{}"}), "leads out of its folder"),
    "slip by backslash": (lambda: packed({"..\\evil.json": b"{}"}), "leads out of its folder"),
    "absolute": (lambda: packed({"/etc/evil.json": b"{}"}), "absolute path"),
    "absolute on Windows": (lambda: packed({"C:\\evil.json": b"{}"}), "absolute path"),
    "drive without folder": (lambda: packed({"C:evil.json": b"{}"}), "absolute path"),
    "network path": (lambda: packed({"\\\\host\\share\\x.json": b"{}"}), "absolute path"),
    "link": (
        lambda: packed([(special("images", archives.SYMLINK), b"/etc"), ("x.json", b"{}")]),
        "is a link",
    ),
    "pipe": (lambda: packed([(special("a.json", archives.PIPE), b"")]), "no regular file"),
    "NUL": (lambda: renamed({"xAx.json": b"{}"}, "xAx.json", b"x\0x.json"), "control characters"),
    "line break": (lambda: packed({"a\nb.json": b"{}"}), "control characters"),
    "direction": (lambda: packed({"a\u202egpj.json": b"{}"}), "direction"),
    "empty part": (lambda: packed({"a// /b.json": b"{}"}), "empty name"),
    "long part": (lambda: packed({"a" * 300 + ".json": b"{}"}), "too long"),
    "deep": (lambda: packed({"a/" * 40 + "b.json": b"{}"}), "deeper than"),
    "same name": (lambda: twice("a.json", "a.json"), "two files called"),
    "case": (lambda: twice("A.json", "a.json"), "same name on many systems"),
    "folder's case": (lambda: twice("A/x.json", "a/y.json"), "same name on many systems"),
    "spelling": (lambda: twice("caf\u00e9.json", "cafe\u0301.json"), "same name on many systems"),
    "file and folder": (lambda: twice("a.json", "a.json/b.json"), "same name on many systems"),
    "encrypted": (lambda: with_flag(collection(), archive.ENCRYPTED), "encrypted"),
    "lzma": (lambda: packed(collection(), zipfile.ZIP_LZMA), "unusual method"),
    "nested zip": (lambda: nested("more.zip", packed(collection()).getvalue()), "archive itself"),
    "nested under another name": (
        lambda: nested("images/9.jpg", packed(collection()).getvalue()),
        "archive itself",
    ),
    "nested gzip": (lambda: nested("a.json", b"\x1f\x8b\x08" + b"\0" * 9), "a gzip archive"),
    "nested tar": (lambda: nested("a.csv", b"x" * 257 + b"ustar\0"), "a tar archive"),
    "many entries": (lambda: many_names(101), "more than the 100 files allowed"),
    "tight": (lambda: packed({"a.json": b" " * 5_000_000}), "would grow more than 200 times"),
    "large in sum": (
        lambda: packed({f"{i}.json": os.urandom(10) * 100_000 for i in range(41)}),
        "more than the 40 MB allowed",
    ),
    "large as it is": (
        lambda: io.BytesIO(b"PK\x03\x04" + b"x" * 20_000_001),
        "20 MB, more than the 20 MB allowed",
    ),
    "too long for its size": (lambda: archives.lying({"a.json": b"{} " * 50}, 9), "damaged"),
    "too short for its size": (lambda: archives.lying({"a.json": b"{} " * 50}, 900), "damaged"),
    "cut off": (lambda: io.BytesIO(packed(collection()).getvalue()[:-40]), "cut off"),
    "another content": (lambda: io.BytesIO(b"hello, I am no archive"), "begins as text"),
    "picture and archive": (
        lambda: io.BytesIO(picture() + packed(collection()).getvalue()),
        "begins as a picture",
    ),
    "page and archive": (
        lambda: io.BytesIO(b"<html>" + packed(collection()).getvalue()),
        "begins as an HTML page",
    ),
    "nothing of use": (lambda: packed({"notes.md": b"hello"}), "neither pictures nor annotation"),
    "empty": (lambda: packed({}), "neither pictures nor annotation"),
}


def twice(one: str, other: str) -> io.BytesIO:
    with pytest.warns(UserWarning, match="Duplicate") if one == other else nullcontext():
        return packed([(one, b"{}"), (other, b"{}")])


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_archive_is_refused_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    make, expected = BAD[kind]
    inside = tmp_path / "data" / "collections"
    inside.mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        unpack(make(), inside, LIMITS)
    assert expected in str(caught.value)
    assert str(caught.value).isprintable()
    assert [path for path in tmp_path.rglob("*") if path not in (inside, inside.parent)] == []


def test_many_entries_are_counted_before_they_become_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "ROOM", 10**6)
    raw = many_names(60_000)
    with traced() as peak, pytest.raises(InputError, match="more than the 100 files"):
        unpack(raw, tmp_path, LIMITS)
    assert peak[0] < 3_000_000, "the library's objects of so many take 20 MB"


def test_a_directory_of_long_comments_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as pack:
        for i in range(50):
            info = zipfile.ZipInfo(f"{i}.json")
            info.comment = b"x" * 60_000
            pack.writestr(info, b"{}")
    with pytest.raises(InputError, match="directory alone has 3 MB"):
        unpack(stream, tmp_path, LIMITS)


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    content = picture() + os.urandom(2**20) * 30
    raw = packed({"a.jpg": content}, zipfile.ZIP_STORED)
    with traced() as peak:
        made = unpack(raw, tmp_path, Limits(10**8, 10**8, 10, 200))
    assert made.size == len(content)
    assert peak[0] < 6 * 2**20


@contextmanager
def traced() -> Iterator[list[int]]:
    """Gives the most bytes that Python held in the block, once it is over."""
    peak = [0]
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak[0] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def test_a_cancel_takes_everything_back(tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if done > 2_000:
            raise JobCancelled("stopped")

    with pytest.raises(JobCancelled):
        unpack(packed(collection()), tmp_path, LIMITS, stop)
    assert list(tmp_path.iterdir()) == []


SLOW = """
import sys, time, io
from pathlib import Path
from app.services.importing.archive import Limits, unpack
raw = Path(sys.argv[1]).read_bytes()
def wait(done, total, what):
    if done > 500:
        print("in the middle", flush=True)
        time.sleep(60)
unpack(io.BytesIO(raw), Path(sys.argv[2]), Limits(10**8, 10**8, 100, 200), wait)
"""


def test_what_a_kill_leaves_is_cleared_by_the_next(tmp_path: Path) -> None:
    raw, inside = tmp_path / "x.zip", tmp_path / "collections"
    raw.write_bytes(packed(collection()).getvalue())
    inside.mkdir()
    command = [sys.executable, "-c", SLOW, str(raw), str(inside)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert b"middle" in process.stdout.readline()
    assert clear_abandoned(inside) == 0, "somebody is at work in it"
    assert len(list(inside.iterdir())) == 1
    process.kill()
    process.wait()
    process.stdout.close()
    made = unpack(packed(collection()), inside, LIMITS)
    assert list(inside.iterdir()) == [made.folder]


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    made: list[Path] = []

    def work() -> None:
        pause = lambda done, total, what: time.sleep(0.01)  # noqa: E731
        made.append(unpack(packed(collection()), tmp_path, LIMITS, pause).folder)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tmp_path.iterdir()) == sorted(made)
    assert len(made) == 4


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
