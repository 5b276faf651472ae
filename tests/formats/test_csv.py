"""CSV: three states, one convention for 0, no formula for a spreadsheet, rows as they were."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clsl_core.errors import FormatError, InputError
from clsl_core.formats import FORMATS, get_format, sidecar
from clsl_core.formats.tables import csv_long, csv_wide
from clsl_core.formats.text.table_source import plain_cell, safe_cell
from clsl_core.types import (
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    LabelRecord,
    LabelState,
    ValidationReport,
)

GOLDEN = Path(__file__).parent / "golden"
PRESENT, ABSENT, UNKNOWN = LabelState.PRESENT, LabelState.ABSENT, LabelState.UNKNOWN


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def put(content: str | bytes) -> Path:
        path = tmp_path / "in.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


def states(content: AnnotationSet) -> dict[Any, LabelState]:
    return {(label.image_id, label.category_id): label.state for label in content.labels}


def problems(report: ValidationReport) -> list[tuple[str, str]]:
    return [(p.where, p.code) for p in report.problems]


# Wide ----------------------------------------------------------------------------------------


def test_wide_against_pandas() -> None:
    source = GOLDEN / "wide.csv"
    content, report = csv_wide.read(source)
    table = pd.read_csv(source, dtype=str, keep_default_na=False)
    assert [c.name for c in content.categories] == list(table.columns[2:])
    assert [i.file_name for i in content.images] == list(table["image"])
    meaning = {"1": PRESENT, "-1": ABSENT, "0": UNKNOWN, "": UNKNOWN}
    read = states(content)
    for _, row in table.iterrows():
        for name in table.columns[2:]:
            assert read.get((row["image"], name), UNKNOWN) is meaning[row[name]]
    assert problems(report) == [("file", "zero-convention"), ("file", "minus-one-convention")]
    assert "0 is read as unknown" in report.problems[0].message
    assert [image.record.get("split") for image in content.images] == ["train", "train", None]


@pytest.mark.parametrize("name", ["wide.csv", "long.csv", "wide_semicolon.csv"])
def test_a_file_comes_back_byte_for_byte(name: str, tmp_path: Path) -> None:
    source = GOLDEN / name
    own = get_format("csv-long" if "long" in name else "csv-wide")
    content, _ = own.read(source)
    own.write(content, [], tmp_path / "o.csv", summary={})
    assert (tmp_path / "o.csv").read_bytes() == source.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["o.csv"]


@pytest.mark.parametrize(
    ("cells", "zero", "expected"),
    [
        ("1,0", "auto", [PRESENT, ABSENT]),
        ("-1,0", "auto", [ABSENT, None]),
        ("-1,0", "absent", [ABSENT, ABSENT]),
        ("1,0", "unknown", [PRESENT, None]),
        ("1.0,", "auto", [PRESENT, None]),
        ("present,Absent", "auto", [PRESENT, ABSENT]),
        ("nan,?", "auto", [None, None]),
    ],
)
def test_what_cells_mean(
    put: Callable[..., Path], cells: str, zero: Any, expected: list[LabelState | None]
) -> None:
    content, _ = csv_wide.read(put(f"file,a,b\nx.jpg,{cells}\n"), zero=zero)
    assert [states(content).get(("x.jpg", name)) for name in "ab"] == expected


def test_absence_is_written_the_way_the_file_does_it(
    put: Callable[..., Path], tmp_path: Path
) -> None:
    for cells, written in (("1,0", "0,0"), ("1,", "-1,"), ("1,-1", "-1,-1")):
        content, _ = csv_wide.read(put(f"file,a,b\nx.jpg,{cells}\n"))
        label = LabelRecord("x.jpg", "a", ABSENT, "human")
        csv_wide.write(content, [label], tmp_path / "o.csv", summary={})
        assert (tmp_path / "o.csv").read_text() == f"file,a,b\nx.jpg,{written}\n"
        assert csv_wide.read(tmp_path / "o.csv")[0].labels[0] == label


def test_zeros_stay_unknown_when_the_last_minus_one_goes(
    put: Callable[..., Path], tmp_path: Path
) -> None:
    content, _ = csv_wide.read(put("file,a,b\nx.jpg,-1,0\n"))
    label = LabelRecord("x.jpg", "a", PRESENT, "human")
    csv_wide.write(content, [label], tmp_path / "o.csv", summary={})
    assert states(csv_wide.read(tmp_path / "o.csv")[0]) == {("x.jpg", "a"): PRESENT}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x.jpg,1\n", [("line 1", "no-header-row")]),
        ("file,a,a\nx,1,1\n", [("line 1, column 3", "duplicate-category-name")]),
        ("file,a\nx.jpg,1\nx.jpg,1\n", [("line 3", "duplicate-image")]),
        ("file,a\nx.jpg,0.5\n", [("line 2, column 2", "bad-state")]),
        ("file,a\nx.jpg,1,1\n", [("line 2", "ragged-row")]),
        ("file,a,b\nx.jpg,1\n", [("line 2", "ragged-row")]),
        ("file,\nx.jpg,1\n", [("line 1, column 2", "bad-name")]),
        ("file,a\n,1\n", [("line 2", "bad-name")]),
        ('file,a\n"x,1\n', [("line 2", "not-a-table")]),
        ("", [("file", "empty-file")]),
        ("\n\n", [("file", "empty-file")]),
        ("file,a\n", [("file", "no-images")]),
        ("file\nx.jpg\n", [("file", "no-categories")]),
        ("file,a\n../x.jpg,1\n", [("line 2", "unsafe-file-name")]),
        ("file,a\nC:\\x.jpg,1\n", [("line 2", "unsafe-file-name")]),
        ("file,a\nx\x00.jpg,1\n", [("line 2", "odd-text")]),
        ("file,=a\n-x.jpg,1\n",
         [("line 1, column 2", "formula-cell"), ("line 2, column 1", "formula-cell")]),
        ("file,a\n" + "x" * 140_000 + ",1\n", [("line 2", "not-a-table")]),
        ("file" + "," * 50_000 + "\n", [("line 1", "too-many-columns")]),
    ],
)  # fmt: skip
def test_hazards_are_named_with_their_place(
    put: Callable[..., Path], text: str, expected: list[tuple[str, str]]
) -> None:
    assert problems(FORMATS["csv-wide"].validate(put(text))) == expected


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("file,größe\nx.jpg,1\n".encode("utf-8-sig"), "bom"),
        ("file,größe\nx.jpg,1\n".encode("utf-16"), "encoding"),
        ("file,größe\nx.jpg,1\n".encode("cp1252"), "encoding"),
    ],
)
def test_encodings(put: Callable[..., Path], raw: bytes, code: str) -> None:
    content, report = csv_wide.read(put(raw))
    assert content.categories[0].name == "größe"
    assert report.by_code() == {code: 1}
    assert problems(FORMATS["csv-wide"].validate(put(b"\xff\xfex"))) == [("file", "not-utf-8")]


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_delimiters_are_found(put: Callable[..., Path], sign: str) -> None:
    content, _ = csv_wide.read(put(f'file{sign}"a,;b"{sign}c\r\nx.jpg{sign}1{sign}\r\n'))
    assert [category.name for category in content.categories] == ["a,;b", "c"]


def test_no_such_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for place, code in ((tmp_path / "no.csv", "missing-file"), (tmp_path, "not-a-file")):
        assert problems(FORMATS["csv-wide"].validate(place)) == [("file", code)]


# No formulas ---------------------------------------------------------------------------------


@given(st.text(st.sampled_from("=+-@'\t\r1a ,\"\n"), max_size=6))
def test_a_safe_cell_is_no_formula_and_can_be_undone(text: str) -> None:
    cell = safe_cell(text)
    assert plain_cell(cell) == text
    assert cell[:1] not in {"=", "@", "\t", "\r"}
    if cell[:1] in {"+", "-"}:
        float(cell)


def test_formulas_are_disarmed_and_come_back(put: Callable[..., Path], tmp_path: Path) -> None:
    source = put('file,category,state\n=1+1.jpg,@a,1\n\'=b.jpg,"-c,d",1\n')
    content, _ = csv_long.read(source)
    label = LabelRecord("=1+1.jpg", "-c,d", ABSENT, "human", annotator="=cmd|x")
    csv_long.write(content, [label], tmp_path / "o.csv", summary={})
    for path in (tmp_path / "o.csv", sidecar.path_for(tmp_path / "o.csv")):
        for row in pd.read_csv(path, dtype=str, keep_default_na=False).to_numpy():
            assert all(cell[:1] not in "=@-+" or cell in ("", "-1") for cell in row)
    again, report = csv_long.read(tmp_path / "o.csv")
    assert report.problems == []
    assert label in again.labels
    assert states(again) == states(content) | {("=1+1.jpg", "-c,d"): ABSENT}


# Long ----------------------------------------------------------------------------------------


def test_long_against_pandas() -> None:
    source = GOLDEN / "long.csv"
    content, report = csv_long.read(source)
    table = pd.read_csv(source, dtype=str, keep_default_na=False)
    people = table[(table["source"] != "model") & (table["category"] != "")]
    expected = {
        (row["file"], row["category"]): LabelState.from_word(row["state"])
        for _, row in people.iterrows()
        if row["file"] and row["state"] != "unknown"
    }
    assert states(content) == expected
    assert [image.file_name for image in content.images] == list(
        dict.fromkeys(table["file"][table["file"] != ""])
    )
    (proposal,) = content.proposals
    assert (proposal.source, proposal.score, proposal.state) == ("model", 0.25, PRESENT)
    assert report.counts["proposals"] == 1
    human = [label for label in content.labels if label.source == "human"]
    assert [label.annotator for label in human] == ["Zoë"]
    assert [category.name for category in content.categories][-1] == "never used"


def test_decisions_become_rows_and_need_no_second_file(tmp_path: Path) -> None:
    content, _ = csv_long.read(GOLDEN / "long.csv")
    label = LabelRecord("a/1.jpg", "dog", PRESENT, "human", "3", 0.5, "ada", "2025-01-02T03:04:05Z")
    csv_long.write(content, [*content.labels, label], tmp_path / "o.csv", summary={"x": 1})
    text = (tmp_path / "o.csv").read_text()
    before = (GOLDEN / "long.csv").read_text()
    assert text == before + "a/1.jpg,dog,present,human,3,0.5,ada,2025-01-02T03:04:05Z\n"
    again, _ = csv_long.read(tmp_path / "o.csv")
    assert label in again.labels
    assert not sidecar.path_for(tmp_path / "o.csv").exists()


def test_a_table_without_states_says_present_and_leaves_absence_to_the_sidecar(
    put: Callable[..., Path], tmp_path: Path
) -> None:
    content, _ = csv_long.read(put("filename;label\nx.jpg;cat\ny.jpg;\n"))
    assert states(content) == {("x.jpg", "cat"): PRESENT}
    labels = [LabelRecord("y.jpg", "cat", ABSENT, "human", score=0.5)]
    csv_long.write(content, labels, tmp_path / "o.csv", summary={"labels": 1})
    assert (tmp_path / "o.csv").read_text() == "filename;label\nx.jpg;cat\ny.jpg;\n"
    again, _ = csv_long.read(tmp_path / "o.csv")
    assert again.labels[-1] == labels[0]
    csv_long.write(again, [], tmp_path / "p.csv", summary={})
    assert csv_long.read(tmp_path / "p.csv")[0].labels[-1] == labels[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", [("line 1", "missing-column")]),
        ("file,b\n1,2\n", [("line 1", "missing-column")]),
        ("file,category,state\nx,a,maybe\n", [("line 2", "bad-state")]),
        ("file,category,state\nx,a,1\nx,a,absent\n", [("line 3", "contradicting-labels")]),
        ("file,category,score\nx,a,much\n", [("line 2", "bad-score")]),
        ("file,category,score\nx,a,inf\n", [("line 2", "bad-score")]),
        ("file,category\nx,a,b\n", [("line 2", "ragged-row")]),
        ("file,category\nx\n", [("file", "no-categories")]),
        ("file,category\n,x\n", [("file", "no-images")]),
        ("file,category\n/etc/x,a\n", [("line 2", "unsafe-file-name")]),
    ],
)
def test_hazards_of_long_tables(
    put: Callable[..., Path], text: str, expected: list[tuple[str, str]]
) -> None:
    assert problems(FORMATS["csv-long"].validate(put(text))) == expected


# Provenance beside the file -------------------------------------------------------------------


def test_the_sidecar_of_a_wide_table(put: Callable[..., Path], tmp_path: Path) -> None:
    content, _ = csv_wide.read(put("file,a\nx.jpg,\n"))
    label = LabelRecord("x.jpg", "a", PRESENT, "human", "7", 0.125, "ada", "2025-01-02T03:04:05Z")
    csv_wide.write(content, [label], tmp_path / "o.csv", summary={"labels": 1})
    table = pd.read_csv(tmp_path / "o.csv.provenance.csv", dtype=str)
    assert table.to_dict("records") == [
        {"image": "x.jpg", "category": "a", "state": "present", "source": "human",
         "model_run": "7", "score": "0.125", "annotator": "ada",
         "decided_at": "2025-01-02T03:04:05Z"}
    ]  # fmt: skip
    assert "labels" in (tmp_path / "o.csv.export.json").read_text()
    again, _ = csv_wide.read(tmp_path / "o.csv")
    assert list(again.labels) == [label]
    csv_wide.write(content, [], tmp_path / "o.csv", summary={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "o.csv"]


def test_a_sidecar_that_does_not_fit_is_named(put: Callable[..., Path], tmp_path: Path) -> None:
    source = put("file,a\nx.jpg,1\n")
    beside = sidecar.path_for(source)
    beside.write_text("image,category,state\nx.jpg,b,present\nx.jpg,a,perhaps\n")
    report = FORMATS["csv-wide"].validate(source)
    assert report.by_code() == {"provenance-ignored": 2}
    assert report.problems[0].where == "in.csv.provenance.csv line 2"
    beside.write_text("image,state\n")
    with pytest.raises(FormatError, match="no column category"):
        csv_wide.read(source)


def test_images_that_share_a_name_are_refused(tmp_path: Path) -> None:
    content, _ = get_format("coco").read(GOLDEN / "small.json")
    twice = AnnotationSet("coco", {}, [content.images[0]] * 2, [], [], [])
    csv_wide.write(twice, [], tmp_path / "o.csv", summary={})
    other = AnnotationSet("coco", {}, [*content.images], [*content.categories], [], [])
    object.__setattr__(other.images[1], "file_name", content.images[0].file_name)
    with pytest.raises(InputError, match="share the file name"):
        csv_wide.write(other, [], tmp_path / "o.csv", summary={})


def test_a_stream_of_pandas_reads_what_is_written(tmp_path: Path) -> None:
    content, _ = get_format("coco").read(GOLDEN / "small_with_labels.json")
    csv_wide.write(content, [], tmp_path / "o.csv", summary={})
    table = pd.read_csv(io.StringIO((tmp_path / "o.csv").read_text()), index_col=0)
    known = {(i, c): int(v) for i, row in table.iterrows() for c, v in row.items() if pd.notna(v)}
    names = {image.source_id: image.file_name for image in content.images}
    titles = {category.source_id: category.name for category in content.categories}
    assert known == {
        (names[label.image_id], titles[label.category_id]): label.state.value
        for label in content.labels
    }


@pytest.mark.parametrize("name", [";;", "a|b|c", 'x"|;\n;;;', "Split", "file_name", "WIDTH"])
def test_any_category_name_finds_its_column_again(name: str, tmp_path: Path) -> None:
    category = CategoryRecord(1, name, None, {})
    image = ImageRecord(1, "a;b;c.jpg", None, None, {})
    content = AnnotationSet("coco", {}, [image], [category], [], [LabelRecord(1, 1, PRESENT)])
    csv_wide.write(content, [], tmp_path / "o.csv", summary={})
    again, report = csv_wide.read(tmp_path / "o.csv")
    assert report.problems == []
    assert [c.name.removesuffix(" (1)") for c in again.categories] == [name]
    assert len(again.labels) == 1
