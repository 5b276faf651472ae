"""The thumbnail cache: kept once, thrown out in the order of use, never larger than its limit."""

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.runtime.file_cache import SWEEP_AFTER, FileCache
from clsl_core.files import PARTIAL

FILE = b"x" * 100


def put(cache: FileCache, number: int) -> None:
    """A file, used at the moment ``number``."""
    cache.put(f"1/{number}.webp", FILE)
    os.utime(cache.folder / f"1/{number}.webp", (number, number))


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_what_was_put_is_found_again_by_another_process(tmp_path: Path) -> None:
    FileCache(tmp_path, 1_000).put("1/a.webp", FILE)
    assert FileCache(tmp_path, 1_000).get("1/a.webp") == FILE
    assert FileCache(tmp_path, 1_000).get("2/a.webp") is None


def test_a_file_that_never_reached_the_disk_is_no_thumbnail(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 1_000)
    cache.put("1/a.webp", FILE)
    (tmp_path / "1/a.webp").write_bytes(b"")
    assert cache.get("1/a.webp") is None


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 1_000)
    for number in range(1, 11):
        put(cache, number)
    assert cache.get("1/1.webp") == FILE  # used now: the newest of all
    put(cache, 11)
    assert cache.get("1/1.webp") == FILE
    assert cache.get("1/2.webp") is None
    assert cache.get("1/3.webp") is None
    assert cache.get("1/4.webp") == FILE


def test_it_stays_within_its_limit(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 5_000)
    for number in range(1, 200):
        put(cache, number)
        assert size(tmp_path) <= 5_000 * 1.05 + len(FILE)
    assert size(tmp_path) >= 4_000


def test_what_an_earlier_process_left_counts(tmp_path: Path) -> None:
    for number in range(1, 100):
        put(FileCache(tmp_path, 100_000), number)
    put(FileCache(tmp_path, 1_000), 100)
    assert size(tmp_path) <= 1_000


def test_a_limit_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 0)
    cache.put("1/a.webp", FILE)
    assert cache.get("1/a.webp") is None
    assert size(tmp_path) == 0


def test_a_folder_that_cannot_be_written_costs_only_the_thumbnail(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    FileCache(blocked, 1_000).put("1/a.webp", FILE)


LIMIT = 1_000
HALF_WRITTEN = 400
"""What killed processes leave, at most; a sweep counts and removes it as any other file."""


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 1), st.integers(0, 8), st.integers(1, 1_500)),
            st.tuples(st.just("get"), st.integers(0, 1), st.integers(0, 8), st.just(0)),
            st.tuples(st.just("kill"), st.integers(0, 1), st.integers(0, 8), st.integers(0, 500)),
            st.tuples(st.just("clock"), st.just(0), st.integers(0, 8), st.integers(-9, 9)),
        ),
        max_size=40,
    )
)
def test_whatever_two_processes_do_it_stays_small_and_true(
    steps: list[tuple[str, int, int, int]],
) -> None:
    """Kills leave half-written files, clocks jump: nothing but what was put is ever given out."""
    with tempfile.TemporaryDirectory() as folder:
        caches = [FileCache(Path(folder), LIMIT), FileCache(Path(folder), LIMIT)]
        newest: dict[int, bytes] = {}
        for step, (what, who, number, size) in enumerate(steps):
            path = Path(folder) / f"{number}.webp"
            if what == "put":
                newest[number] = bytes([step % 256]) * size
                caches[who].put(path.name, newest[number])
                left = sum(one.stat().st_size for one in Path(folder).iterdir())
                assert left <= LIMIT * (1 + len(caches) * SWEEP_AFTER) + HALF_WRITTEN
            elif what == "get":
                assert caches[who].get(path.name) in (None, newest.get(number))
            elif what == "kill":  # in the middle of a put, and another process begins
                half = path.with_name(f".{step}{PARTIAL}")
                half.write_bytes(b"x" * min(size, HALF_WRITTEN // len(steps)))
                caches[who] = FileCache(Path(folder), LIMIT)
            elif path.exists():
                moment = path.stat().st_mtime + size * 86_400
                os.utime(path, (moment, moment))
