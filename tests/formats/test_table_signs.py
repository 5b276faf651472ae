"""What the signs of a table mean is declared; what is no table of a known kind is explained."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.errors import FormatError
from clsl_core.formats import FORMATS
from clsl_core.formats.detect import detect
from clsl_core.formats.read_options import ReadOptions, read_with
from clsl_core.types import AnnotationSet, LabelRecord, LabelState

XRAYS = "Path,Cardiomegaly,Edema,Pneumonia\na.jpg,1.0,0.0,\nb.jpg,-1.0,,0.0\nc.jpg,0.0,1.0,-1.0\n"
UNCERTAIN = ReadOptions(minus_one="unknown")


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "in.csv") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def words(content: AnnotationSet) -> dict[tuple[object, object], str]:
    return {(x.image_id, x.category_id): x.state.word for x in content.labels}


def test_minus_one_is_uncertain_where_that_is_declared(put: Callable[..., Path]) -> None:
    file = put(XRAYS)
    assert detect(file).format == "csv-wide"
    content, report = read_with(file, "csv-wide", UNCERTAIN)
    assert words(content) == {
        ("a.jpg", "Cardiomegaly"): "present",
        ("a.jpg", "Edema"): "absent",
        ("b.jpg", "Pneumonia"): "absent",
        ("c.jpg", "Cardiomegaly"): "absent",
        ("c.jpg", "Edema"): "present",
    }
    told = [problem.message for problem in report.problems]
    assert [line.split(";")[0] for line in told] == ["0 is read as absent", "-1 is read as unknown"]
    plain, report = read_with(file, "csv-wide", ReadOptions())
    assert words(plain)["b.jpg", "Cardiomegaly"] == "absent"
    assert "-1 is read as absent" in report.problems[-1].message


def test_the_long_table_too(put: Callable[..., Path]) -> None:
    file = put("file,category,state\na.jpg,x,1\nb.jpg,x,-1\nc.jpg,x,0\n")
    content, _ = read_with(file, "csv-long", UNCERTAIN)
    assert words(content) == {("a.jpg", "x"): "present", ("c.jpg", "x"): "absent"}


@settings(deadline=None)
@given(
    cells=st.lists(st.sampled_from(["1", "0", "-1", "-1.0", "", "0.0"]), min_size=1, max_size=9),
    decided=st.dictionaries(
        st.integers(0, 8), st.sampled_from([LabelState.ABSENT, LabelState.PRESENT])
    ),
)
def test_what_was_uncertain_stays_so_unless_decided(
    cells: list[str], decided: dict[int, LabelState], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("signs")
    (folder / "in.csv").write_text(
        "file,x\n" + "".join(f"{i}.jpg,{c}\n" for i, c in enumerate(cells))
    )
    content, _ = read_with(folder / "in.csv", "csv-wide", UNCERTAIN)
    new = [LabelRecord(f"{i}.jpg", "x", s) for i, s in decided.items() if i < len(cells)]
    FORMATS["csv-wide"].write(content, new, folder / "out.csv", summary={})
    again, _ = read_with(folder / "out.csv", "csv-wide", UNCERTAIN)
    wanted = words(content) | {(x.image_id, x.category_id): x.state.word for x in new}
    assert words(again) == wanted


def test_columns_that_hold_something_else_are_told_and_kept(
    put: Callable[..., Path], tmp_path: Path
) -> None:
    text = "Path,Sex,Age,Edema\na.jpg,Female,68,1.0\nb.jpg,Male,70,0.0\n"
    file = put(text)
    assert detect(file).format == "csv-wide"
    content, report = read_with(file, "csv-wide", ReadOptions())
    assert [x.name for x in content.categories] == ["Edema"]
    assert report.by_code()["column-left-out"] == 2
    FORMATS["csv-wide"].write(content, [], tmp_path / "out.csv", summary={})
    assert (tmp_path / "out.csv").read_text() == text
    label = LabelRecord("b.jpg", "Edema", LabelState.PRESENT)
    FORMATS["csv-wide"].write(content, [label], tmp_path / "out.csv", summary={})
    assert (tmp_path / "out.csv").read_text() == text.replace("70,0.0", "70,1")


def test_a_column_can_be_declared_no_label(put: Callable[..., Path]) -> None:
    file = put("Path,Age,Edema\na.jpg,1,1\nb.jpg,0,0\n")
    content, report = read_with(file, "csv-wide", ReadOptions(not_labels=("Age",)))
    assert report.ok
    assert [x.name for x in content.categories] == ["Edema"]
    with pytest.raises(FormatError, match="no column 'Aeg'"):
        read_with(file, "csv-wide", ReadOptions(not_labels=("Aeg",)))


def test_a_few_odd_cells_are_errors_still(put: Callable[..., Path]) -> None:
    file = put("file,x,y\na.jpg,1,1\nb.jpg,1,red\nc.jpg,0,0\n")
    assert FORMATS["csv-wide"].validate(file).by_code()["bad-state"] == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image,label\nb.png,dog cat\na.png,'dog,cat'\n".replace("'", '"'), True),
        ("image,label\nb.png,traffic light\na.png,dog\n", False),
        ("image,label\nb.png,a|b\na.png,a\nc.png,b\n", True),
    ],
)
def test_cells_that_seem_to_name_several(put: Callable[..., Path], text: str, told: bool) -> None:
    assert ("several-labels" in FORMATS["csv-long"].validate(put(text)).by_code()) is told


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("excel.csv", "sep=;\nfile;dog;cat\nb.png;1;0\n", "'sep=;'"),
        ("pandas.csv", ",filename,dog,cat\n0,b.png,1,0\n", "index=False"),
        ("min.json", '[{"image": "b.png", "id": 1, "choice": "dog"}]', "JSON-MIN"),
        ("other.json", '[{"name": "b.png"}]', "objects with name"),
    ],
)
def test_why_a_file_is_of_no_known_format(
    put: Callable[..., Path], name: str, text: str, why: str
) -> None:
    with pytest.raises(FormatError, match=why) as caught:
        detect(put(text, name))
    assert caught.value.report is not None
