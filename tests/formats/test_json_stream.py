"""Long files stay on the disk: the same content and the same findings as when read in one piece."""

import json
import random
from pathlib import Path

import pytest

from clsl_core.errors import FormatError
from clsl_core.formats.coco import coco
from clsl_core.formats.text import json_stream
from clsl_core.formats.text.record_store import RecordStore
from clsl_core.types import AnnotationSet, ValidationReport

GOLDEN = Path(__file__).parent / "golden"
SPICE = [
    b"", b"\x00", b"\xff", b"\n", b'"', b",", b"[", b"]", b"{", b"}", b"-1", b"1e999", b"1E+400",
    b"NaN", b"null", b"[]", b"{}", b"9" * 40, b"9" * 400 + b".5", b"9" * 5000, b"\\ud800", b"\\",
    b"\xef\xbb\xbf", b'"id": 1,', b'"x" : ":",', "é".encode(), b"[" * 70 + b"]" * 70, b" ", b":",
]  # fmt: skip


@pytest.fixture(params=[7, 64, 2**20])
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Also windows that cut every record."""
    monkeypatch.setattr(json_stream, "_CHUNK", request.param)
    return int(request.param)


def outcome(path: Path, monkeypatch: pytest.MonkeyPatch, stream_from: int) -> tuple[object, ...]:
    monkeypatch.setattr(coco, "STREAM_FROM", stream_from)
    try:
        content, report = coco.read(path)
    except FormatError as error:
        return ("refused", found(error.report or ValidationReport())[0])
    return ("read", content_as_lists(content), *found(report))


def found(report: ValidationReport) -> tuple[object, ...]:
    problems = sorted((p.severity, p.code, p.where, p.message) for p in report.problems)
    return problems, report.counts


def content_as_lists(content: AnnotationSet) -> str:
    """Everything, key order included."""
    lists = [list(content.images), list(content.categories), list(content.annotations)]
    labels = sorted(map(repr, content.labels))
    return repr((content.format, content.header, lists, labels))


def document() -> dict:
    return {
        "info": {"note": 'a "quoted" : text'},
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 2.50, 3e-1, 4]},
            {"id": 1, "image_id": 7, "category_id": 2, "segmentation": [[1.0] * 6] * 70},
            {"id": 3, "image_id": 99, "category_id": 2},
            {"id": "four", "image_id": 8, "category_id": 3, "note": "grüß \U0001f600 \ud800"},
            {"id": 5, "image_id": 8, "category_id": 3, "big": 10**30},
            {"id": 10**25, "image_id": 8, "category_id": 2},
            {"image_id": 8, "category_id": None},
        ],
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 4, "height": 3.0, "url": "http://x.org/é"},
            {"id": 8, "file_name": "../b.jpg", "width": "wide"},
            {"id": "8", "file_name": "a.jpg"},
        ],
        "categories": [{"id": 2, "name": "cat"}, {"id": 3, "name": "dog"}],
    }


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("indent", [None, 2])
def test_the_same_as_in_one_piece(
    window: int, escaped: bool, indent: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.json"
    data = document()
    if not escaped:
        data["annotations"][3]["note"] = "grüß \U0001f600"
    path.write_text(json.dumps(data, ensure_ascii=escaped, indent=indent), encoding="utf-8")
    whole = outcome(path, monkeypatch, 2**40)
    assert whole[0] == "read"
    assert outcome(path, monkeypatch, 0) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"images": [}',
        '{"images": [{"id": 1, "id": 1, "file_name": "a"}], "categories": []} x',
        '{"images": [{"id": 1, "file_name": "a", "x" : 1, "x": 1}], "categories": []}',
        '{"images": [{"id": 1, "file_name": "\\u003a", "x": 1, "x": 1}], "categories": []}',
        '{"images": [{"id": 1, "file_name": "a", "w": 1e400, "h": [NaN, -Infinity]}], '
        '"categories": []}',
        '{"images": [{"id": 1, "file_name": "a"}, 3], "annotations": [4, []], "categories": []}',
        '{"images": [{"id": 1, "file_name": "a"}], "images": [], "categories": []}',
    ],
)
def test_the_same_findings(
    window: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.json"
    path.write_text(text)
    assert outcome(path, monkeypatch, 0) == outcome(path, monkeypatch, 2**40)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_end_alike(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 50 if seed % 2 else 2**20)
    draw = random.Random(seed)
    good = json.dumps(document(), ensure_ascii=bool(seed % 2)).encode("utf-8", "replace")
    path = tmp_path / "set.json"
    ends = set()
    for _ in range(150):
        start = draw.randrange(len(good))
        damaged = good[:start] + draw.choice(SPICE) + good[start + draw.choice([0, 0, 1, 9]) :]
        path.write_bytes(damaged[: draw.choice([len(damaged)] * 4 + [start])])
        whole, streamed = (outcome(path, monkeypatch, size) for size in (2**40, 0))
        ends.add(whole[0])
        if whole[0] == streamed[0] == "refused":  # which fault comes first may differ
            assert streamed[1]
        else:
            assert streamed == whole, damaged
    assert ends == {"read", "refused"}


def test_an_endless_record_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 100)
    monkeypatch.setattr(json_stream, "MAX_RECORD", 1_000)
    path = tmp_path / "set.json"
    path.write_text('{"images": [{"id": 1, "file_name": "' + "a" * 5_000)
    _, problems, *_ = outcome(path, monkeypatch, 0)
    assert [(code, where) for _, code, where, _ in problems] == [("too-long", "images[0]")]


def test_a_file_deleted_after_reading_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.json"
    path.write_text(json.dumps(document()))
    monkeypatch.setattr(coco, "STREAM_FROM", 0)
    content, _ = coco.read(path)
    path.unlink()
    assert [a.record for a in content.annotations][4]["big"] == 10**30
    assert content.annotations[0] == next(iter(content.annotations))
    assert [image.file_name for image in content.images[:2]] == ["a.jpg", "../b.jpg"]


def test_a_file_written_over_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('[{"id": 1}, {"id": 2}]')
    store = RecordStore(path, ["id"])
    store.append({"id": 1}, 1, 9, as_it_stands=True)
    assert list(store) == [{"id": 1}]
    path.write_text('[{"id": 9}, {"id": 2}, 3]')
    with pytest.raises(FormatError, match="changed while it was read"):
        list(store)


def test_plain_records_are_read_at_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        {"id": i, "image_id": 0, "category_id": 1, "url": "http://é" if i % 7 else "x", "rle": {}}
        for i in range(3_000)
    ]
    records[1_500]["note"] = 'a "brace" }, { : in a text'
    plain = {"annotations": records, "images": [{"id": 0, "file_name": "a"}]}
    path = tmp_path / "set.json"
    text = json.dumps(plain | {"categories": [{"id": 1, "name": "cat"}]}, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    asked = []
    single = json_stream._StreamParser._value
    monkeypatch.setattr(
        json_stream._StreamParser, "_value", lambda *a: (asked.append(a[1]), single(*a))[1]
    )
    monkeypatch.setattr(json_stream, "_RUN", 2_000)
    streamed = outcome(path, monkeypatch, 0)
    assert "annotations[1500]" in asked
    assert len(asked) < 200
    assert streamed == outcome(path, monkeypatch, 2**40)
