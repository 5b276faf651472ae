"""Open Images: people verify, machines propose, and MIDs have names."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clsl_core.formats import FORMATS
from clsl_core.formats.tables import open_images
from clsl_core.types import AnnotationSet, LabelRecord, LabelState

GOLDEN = Path(__file__).parent / "golden" / "open_images.csv"
PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT
HEAD = "ImageID,Source,LabelName,Confidence\n"


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str], Path]:
    def put(text: str) -> Path:
        (tmp_path / "in.csv").write_text(text)
        return tmp_path / "in.csv"

    return put


def states(content: AnnotationSet) -> dict[Any, LabelState]:
    return {(label.image_id, label.category_id): label.state for label in content.labels}


def test_against_pandas() -> None:
    content, report = open_images.read(GOLDEN)
    assert report.problems == []
    table = pd.read_csv(GOLDEN)
    people = table[table.Source != "machine"]
    assert states(content) == {
        (row.ImageID, row.LabelName): PRESENT if row.Confidence else ABSENT
        for row in people.itertuples()
    }
    (proposal,) = content.proposals
    assert (proposal.category_id, proposal.score, proposal.source) == ("/m/01g317", 0.7, "machine")
    assert [category.name for category in content.categories] == [
        "Bull", "Person, any", "Never used",
    ]  # fmt: skip
    assert {label.source for label in content.labels} == {"verification",
                                                          "crowdsource-verification"}  # fmt: skip
    assert content.images[0].file_name == "000a1249af2bc5f0.jpg"


def test_rows_come_back_and_decisions_are_appended(tmp_path: Path) -> None:
    content, _ = open_images.read(GOLDEN)
    open_images.write(content, [], tmp_path / "same.csv", summary={})
    assert (tmp_path / "same.csv").read_bytes() == GOLDEN.read_bytes()
    label = LabelRecord("0001eeaf4aed83f9", "/m/01g317", ABSENT, "human", "3", 0.7, "ada", "now")
    open_images.write(content, [label], tmp_path / "o.csv", summary={})
    added = "0001eeaf4aed83f9,verification,/m/01g317,0\n"
    assert (tmp_path / "o.csv").read_text() == GOLDEN.read_text() + added
    again, report = open_images.read(tmp_path / "o.csv")
    assert label in again.labels
    assert again.proposals == content.proposals
    assert [c.name for c in again.categories] == [c.name for c in content.categories]
    assert report.problems == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", [("line 1", "missing-column")]),
        (HEAD + "x,verification,/m/1,2\n", [("line 2", "bad-confidence")]),
        (HEAD + "x,verification,/m/1,\n", [("line 2", "bad-confidence")]),
        (HEAD + "x,verification,/m/1,nan\n", [("line 2", "bad-confidence")]),
        (HEAD + "x,verification,/m/1,0.5\n", [("line 2", "unsure-label")]),
        (HEAD + ",verification,/m/1,1\n", [("line 2", "bad-name")]),
        (HEAD + "x,verification,,1\n", [("line 2", "bad-name")]),
        (HEAD + "x,verification,/m/1\n", [("line 2", "ragged-row")]),
        (HEAD + "x,verification,/m/1,1\nx,human,/m/1,0\n", [("line 3", "contradicting-labels")]),
        (HEAD + "../x,verification,/m/1,1\n", [("line 2", "unsafe-file-name")]),
        (HEAD + "x\0,verification,/m/1,1\n", [("line 2", "odd-text"), ("line 2", "bad-id")]),
    ],
)
def test_hazards_are_named_with_their_place(
    put: Callable[[str], Path], text: str, expected: list[tuple[str, str]]
) -> None:
    problems = [
        (p.where, p.code)
        for p in FORMATS["open-images"].validate(put(text)).problems
        if p.code != "no-class-descriptions"
    ]
    assert problems == expected


def test_a_label_without_a_description_is_called_by_its_mid(tmp_path: Path) -> None:
    shutil.copy(GOLDEN, tmp_path / "t.csv")
    _, report = open_images.read(tmp_path / "t.csv")
    assert report.by_code() == {"no-class-descriptions": 1}
    (tmp_path / "oidv7-class-descriptions.csv").write_text("LabelName,DisplayName\n/m/01g317,P\n")
    content, report = open_images.read(tmp_path / "t.csv")
    assert report.by_code() == {"no-class-description": 2}
    assert [c.name for c in content.categories] == ["P", "/m/0cnyhnx"]


def test_without_a_source_column_a_fraction_is_a_machines(put: Callable[[str], Path]) -> None:
    content, _ = open_images.read(put("ImageID,LabelName,Confidence\nx,a,0.4\nx,b,0\n"))
    assert states(content) == {("x", "b"): ABSENT}
    assert [proposal.score for proposal in content.proposals] == [0.4]
