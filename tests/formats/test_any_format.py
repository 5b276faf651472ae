"""Reading and writing by one call, whatever the format; tables of others come back as they were."""

import csv
import doctest
import io
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clsl_core.formats
from clsl_core.errors import FormatError, NotFoundError
from clsl_core.formats import FORMATS, get_format, read, write
from clsl_core.formats.conversion import pixels_of
from clsl_core.formats.tables import csv_wide
from clsl_core.types import AnnotationSet, CategoryRecord, ImageRecord, LabelRecord, LabelState
from tests.formats.test_capabilities import everything

GOLDEN = Path(__file__).parent / "golden"


def test_the_examples_of_the_documentation_work() -> None:
    assert doctest.testmod(clsl_core.formats).failed == 0
    assert doctest.testmod(clsl_core.formats).attempted > 5


def test_the_format_can_be_named() -> None:
    with pytest.raises(FormatError, match="no column for the file"):
        read(GOLDEN / "open_images.csv", "csv-long")
    with pytest.raises(NotFoundError, match="tfrecord"):
        read(GOLDEN / "wide.csv", "tfrecord")
    content, _ = read(GOLDEN / "wide.csv", absent="negative")
    assert len(content.labels) == 9


@pytest.mark.parametrize("name", FORMATS)
def test_what_becomes_coco_loads_in_pycocotools(name: str, tmp_path: Path) -> None:
    reference = pytest.importorskip("pycocotools.coco").COCO
    own = get_format(name)
    own.write(everything(name), [], tmp_path / f"o{own.suffix}", summary={})
    content, _ = read(tmp_path / f"o{own.suffix}", name)
    write(content, tmp_path / "coco.json", format_name="coco")
    loaded = reference(str(tmp_path / "coco.json"))
    assert len(loaded.imgs) == len(content.images)
    assert len(loaded.cats) == len(content.categories)
    images = {image.source_id: image for image in content.images}
    in_pixels = [pixels_of(x.record, images[x.image_id]) for x in content.annotations]
    assert len(loaded.anns) == sum(box is not None for box in in_pixels)


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_or_file_called_dot_is_no_accident(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (Path(), Path("no\0name"), Path("x" * 5000), Path("/dev/null")):
        assert not get_format(name).validate(place).ok


words = st.text(string.ascii_letters + " ,;\"'\n-=é1", min_size=1, max_size=5).map(
    lambda word: f"x{word}x"
)
cells = st.sampled_from(["", "0", "1", "-1", " 1 ", "1.0"])


@st.composite
def tables(draw: st.DrawFn) -> str:
    """A wide table as another tool would write it."""
    names = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    rows = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    text = io.StringIO()
    sign = draw(st.sampled_from(",;\t|"))
    writer = csv.writer(text, delimiter=sign, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerow(["file", *names, "width"])
    for row in rows:
        writer.writerow([row, *(draw(cells) for _ in names), draw(st.sampled_from(["", "40"]))])
    return text.getvalue()


@settings(max_examples=150)
@given(text=tables())
def test_any_table_comes_back_cell_for_cell(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("table")
    sign = text[4]
    (folder / "in.csv").write_bytes(text.encode())
    content, report = csv_wide.read(folder / "in.csv", delimiter=sign)
    assert report.ok
    csv_wide.write(content, [], folder / "out.csv", summary={})
    rows = [
        list(csv.reader(io.StringIO(raw, newline=""), delimiter=sign))
        for raw in (text, (folder / "out.csv").read_bytes().decode())
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("name", FORMATS)
def test_images_and_categories_with_alike_names_stay_apart(name: str, tmp_path: Path) -> None:
    files = ["a/1.jpg", "a_1.jpg", "a 1.jpg", "A/1.png", "?.jpg", "!.jpg", "a_1_2.jpg", "a/1.png"]
    images = [ImageRecord(i, file, None, None, {"id": i}) for i, file in enumerate(files)]
    titles = ["cat", "cat", "cat (1)", "Split", "file_name", "a_b", "b"]
    categories = [CategoryRecord(i, title, None, {}) for i, title in enumerate(titles)]
    labels = [
        LabelRecord(i, (i + k) % len(titles), LabelState.PRESENT, "human")
        for i in range(len(files))
        for k in (0, 2)
    ]
    content = AnnotationSet("made", {}, images, categories, [], labels)
    write(content, tmp_path / f"o{FORMATS[name].suffix}", format_name=name)
    again, report = read(tmp_path / f"o{FORMATS[name].suffix}", name)
    assert report.ok
    assert len({image.source_id for image in again.images}) == len(files)
    assert sorted(image.file_name for image in again.images) == sorted(files)
    assert len(again.categories) == len(titles)
    assert len(again.labels) == len(labels)


@pytest.mark.parametrize("came_as", FORMATS)
def test_what_came_in_any_format_goes_out_in_any_other(came_as: str, tmp_path: Path) -> None:
    images = [
        ImageRecord(number, f"{number % 2}/{number}.jpg", 64, 48, {"id": number})
        for number in range(1, 5)
    ]
    categories = [
        CategoryRecord(number, name, None, {"id": number, "name": name})
        for number, name in ((1, "red"), (2, "green"))
    ]
    present = [LabelRecord(n, 1 + n % 2, LabelState.PRESENT) for n in range(1, 5)]
    drawn = AnnotationSet("drawn", {}, images, categories, [], present)
    source = tmp_path / f"in{FORMATS[came_as].suffix}"
    FORMATS[came_as].write(drawn, [], source, summary={})
    content, _ = read(source, came_as)
    for name, wanted in FORMATS.items():
        output = tmp_path / f"{name}{wanted.suffix}"
        wanted.write(content, [], output, summary={})
        again, _ = read(output, name)
        files = {image.source_id: Path(image.file_name).name for image in again.images}
        names = {category.source_id: category.name for category in again.categories}
        found = {
            (files[label.image_id], names[label.category_id])
            for label in again.labels
            if label.state is LabelState.PRESENT
        }
        assert found == {(f"{n}.jpg", ("red", "green")[n % 2]) for n in range(1, 5)}, name
