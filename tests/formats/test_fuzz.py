"""Damaged files: a result, or an error with a place; never another exception, a hang or 1 GB.

``CLSL_FUZZ=5000`` mutates that many files for each reader.
"""

import json
import os
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from clsl_core.errors import ClslError, FormatError
from clsl_core.formats import FORMATS, get_format
from clsl_core.formats.coco import coco
from clsl_core.formats.detect import detect
from clsl_core.types import (
    AnnotationSet,
    LabelRecord,
    LabelState,
    Problem,
    Severity,
    ValidationReport,
)
from tests.formats.test_json_formats import CASES

GOLDEN = Path(__file__).parent / "golden"
COUNT = int(os.environ.get("CLSL_FUZZ", "200"))
SPICE = [
    b"", b"\x00", b"\xff", b"\n", b"\r", b'"', b"'", b",", b";", b"[", b"]", b"{", b"}", b"<", b">",
    b"&", b"&x;", b"=", b"-1", b"0", b"1", b"2", b"1e999", b"NaN", b"null", b"true", b"[]", b"{}",
    b"[[[", b"../", b"\\", b"9" * 40, b"9" * 5000, b"\xed\xa0\x80", b"\\ud800", b"\xef\xbb\xbf",
    b"<!DOCTYPE x>", b"<![CDATA[", b"%00", b"%2F", b"\xff\xfe", b"present", b" ",
]  # fmt: skip

SECONDS = 20
"""For one file of a few kilobytes, on a busy machine."""
MEGABYTES = 1_000

Files = dict[str, bytes]


def files_of(folder: Path) -> Files:
    """Every file below a folder by its relative path."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def originals(name: str, folder: Path) -> Iterator[tuple[str, Files]]:
    """What to damage: the path to read, and the files there are. Ours, and other tools'."""
    content, _ = coco.read(GOLDEN / "small_with_labels.json")
    label = LabelRecord(9, 0, LabelState.ABSENT, "human", "4", 0.5, "ada", "2025-01-02T03:04:05Z")
    own = get_format(name)
    own.write(content, [label], folder / f"out{own.suffix}", summary={})
    yield f"out{own.suffix}", files_of(folder)
    if name in CASES:
        text, file = CASES[name]
        yield file, {file: text.encode()}
    golden = {"voc": "voc", "lvis": "lvis_v1.json", "csv-wide": "wide.csv", "csv-long": "long.csv"}
    golden["open-images"] = "open_images.csv"
    if name in golden:
        stem = golden[name].split(".", maxsplit=1)[0]
        every = files_of(GOLDEN)
        yield golden[name], {key: raw for key, raw in every.items() if key.startswith(stem)}


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """A few cuts, repeats, flips and insertions."""
    data = bytearray(raw)
    for _ in range(chance.choice([1, 1, 2, 4])):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice([0, 1, 2, 8, 40]))
        match chance.randrange(4):
            case 0:
                data[start:end] = b""
            case 1:
                data[start:start] = data[start:end] * chance.choice([1, 3])
            case 2:
                data[start:end] = bytes(chance.randrange(256) for _ in range(end - start))
            case _:
                data[start:end] = chance.choice(SPICE)
    return bytes(data)


def values_changed(raw: bytes, chance: random.Random) -> bytes:
    """One value of a JSON text exchanged for another of any kind; the text as it was if none."""
    try:
        document = json.loads(raw)
    except ValueError:
        return damaged(raw, chance)
    places: list[tuple[dict[str, object] | list[object], str | int]] = []
    level: list[object] = [document]
    while level:
        item = level.pop()
        if isinstance(item, dict):
            places += [(item, key) for key in item]
            level += item.values()
        elif isinstance(item, list):
            places += [(item, index) for index in range(len(item))]
            level += item
    if places:
        holder, key = chance.choice(places)
        new = [
            None,
            True,
            0,
            -1,
            10**400,
            0.5,
            "",
            "x",
            "\ud800",
            "\0",
            [],
            {},
            [[]],
            [None],
            {"": 0},
        ]
        holder[key] = chance.choice(new)  # type: ignore[index]
    return json.dumps(document).encode()


@contextmanager
def no_hang() -> Iterator[None]:
    """Fail when something takes too long."""

    def stop(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak() -> float:
    """Most memory that this process ever held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("window", [False, True], ids=["whole", "windowed"])
def test_a_damaged_coco_file_gives_a_result_or_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: bool
) -> None:
    """Also when it is read through a window, as long files are."""
    if window:
        monkeypatch.setattr(coco, "STREAM_FROM", 0)
    damage_many("coco", tmp_path)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "coco"])
def test_a_damaged_file_gives_a_result_or_a_place(name: str, tmp_path: Path) -> None:
    damage_many(name, tmp_path)


def damage_many(name: str, tmp_path: Path) -> None:
    before = peak()
    own, chance = get_format(name), random.Random(name)
    (tmp_path / "made").mkdir()
    cases = list(originals(name, tmp_path / "made"))
    outcomes = {"read": 0, "refused": 0}
    place = tmp_path / "in"
    for round_ in range(COUNT):
        target, files = chance.choice(cases)
        victim = chance.choice(list(files))
        change = values_changed if victim.endswith("json") and round_ % 2 else damaged
        for file, raw in files.items():
            path = place / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(change(raw, chance) if file == victim else raw)
        with no_hang():
            report = outcome(name, place / target, tmp_path / f"out{round_}{own.suffix}")
        outcomes["read" if report.ok else "refused"] += 1
        assert all(problem.where and problem.message for problem in report.problems)
        with suppress(ClslError):
            detect(place / target)
    assert min(outcomes.values()) > 0, outcomes
    assert peak() - before < MEGABYTES


def outcome(name: str, source: Path, output: Path) -> ValidationReport:
    """The report; what could be read is written too, and then says the same."""
    own = get_format(name)
    try:
        content, report = own.read(source)
    except FormatError as error:
        return error.report or ValidationReport([Problem(Severity.ERROR, "", "", "")])
    own.write(content, [], output, summary={})
    again, _ = own.read(output)
    assert states(again) == states(content)
    return report


def states(content: AnnotationSet) -> dict[object, LabelState]:
    return {(label.image_id, label.category_id): label.state for label in content.labels}
