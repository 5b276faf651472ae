"""The format is found, with the reason; what is unknown is told with the formats there are."""

from pathlib import Path

import pytest

from clsl_core.errors import FormatError
from clsl_core.formats import FORMATS, get_format
from clsl_core.formats.coco import coco
from clsl_core.formats.detect import detect
from tests.formats.test_json_formats import CASES

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("name", "expected", "words"),
    [
        ("small.json", "coco", '"images"'),
        ("small_with_labels.json", "coco", '"images"'),
        ("lvis_v1.json", "lvis", "neg_category_ids"),
        ("wide.csv", "csv-wide", "every cell"),
        ("wide_semicolon.csv", "csv-wide", "every cell"),
        ("long.csv", "csv-long", "file, category, state"),
        ("open_images.csv", "open-images", "ImageID"),
        ("voc", "voc", "Annotations"),
        ("voc/Annotations", "voc", "XML"),
    ],
)
def test_golden_files(name: str, expected: str, words: str) -> None:
    found = detect(GOLDEN / name)
    assert found.format == expected
    assert words in found.reason


@pytest.mark.parametrize("name", CASES)
def test_json_formats(tmp_path: Path, name: str) -> None:
    text, file = CASES[name]
    (tmp_path / file).write_text(text)
    assert detect(tmp_path / file).format == name
    if name in ("fiftyone", "imagefolder"):
        assert detect(tmp_path).format == name


@pytest.mark.parametrize("name", FORMATS)
def test_every_export_is_found_again(tmp_path: Path, name: str) -> None:
    content, _ = coco.read(GOLDEN / "small_with_labels.json")
    own = get_format(name)
    own.write(content, [], tmp_path / f"out{own.suffix}", summary={})
    assert detect(tmp_path / f"out{own.suffix}").format == name


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("x.json", b"{}"),
        ("x.json", b"[]"),
        ("x.json", b""),
        ("x.csv", b"a,b\n1,red\n"),
        ("x.csv", b"just text\n"),
        ("x.csv", b'file,a\n"x,1\n'),
        ("x.bin", bytes(range(256)) * 8),
        ("x.csv", b"\xff\xfe\x00"),
    ],
)
def test_what_is_unknown_names_the_formats(tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(FormatError, match="name one of: coco") as caught:
        detect(tmp_path / name)
    assert all(known in str(caught.value) for known in FORMATS)


def test_nothing_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no file or folder"):
        detect(tmp_path / "no")
    with pytest.raises(FormatError, match="no known format"):
        detect(tmp_path)
