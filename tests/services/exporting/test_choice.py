"""What goes into an export is chosen, told before, and is what the file then holds."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app import worker
from app.services.exporting import export
from app.services.exporting.part import GIVEN_HERE, ExportChoice
from app.services.jobs.table import JobKind
from app.services.reviewing import verdict_file, verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from clsl_core.formats import read
from clsl_core.types import LabelSource
from db.models import Category, Decision, Image, Label
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

NOBODY = ExportChoice(())


@pytest.fixture
def answered(workspace: Workspace) -> dict[str, Any]:
    """Image 10: red was present in the file, a person says absent; 11: red absent, in bulk."""
    document = coco_document()
    document["categories"][0]["name"] = "=red"
    dataset_id = make_dataset(workspace, document=document).dataset_id
    grant = make_grant(workspace, dataset_id)
    with workspace.database.read() as session:
        images = list(session.scalars(select(Image.id).order_by(Image.position)))
        red = session.scalars(select(Category.id).order_by(Category.position)).first()
    assert red is not None
    answers = [Answer(f"an-answer-{i}", images[i], red, "absent") for i in (0, 1)]
    verdicts.decide(workspace, grant, answers)
    with workspace.database.write() as session:
        session.get_one(Label, (images[1], red)).source = LabelSource.MODEL_AUDITED
    return document


def added(output: Path) -> list[tuple[int, int, str, str]]:
    labels = json.loads(output.read_text()).get("labels", [])
    return [(x["image_id"], x["category_id"], x["state"], x["source"]) for x in labels]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (None, [(10, 1, "absent", "human"), (11, 1, "absent", "model, audited")]),
        (["human"], [(10, 1, "absent", "human")]),
        (["model, audited"], [(11, 1, "absent", "model, audited")]),
        ([], []),
    ],
)
def test_only_what_was_chosen_is_added(
    workspace: Workspace, tmp_path: Path, answered: dict, sources: list | None, expected: list
) -> None:
    choice = ExportChoice.of(sources)
    output = tmp_path / "out.json"
    told = export.preview(workspace, "set", choice)
    summary = export.export_dataset(workspace, "set", output, choice=choice)
    assert added(output) == expected
    assert sum(told.labels_added.values()) == len(expected)
    assert told.labels_added == summary.labels_added
    newest = export.newest_labels(workspace, "set", choice)
    assert len(newest) == len(expected)
    assert [row[3] for row in reversed(newest)] == [label[3] for label in expected]
    document = json.loads(output.read_text())
    assert all(document[key] == answered[key] for key in answered)


def test_another_format_leaves_out_the_same(
    workspace: Workspace, tmp_path: Path, answered: dict
) -> None:
    output = tmp_path / "out.csv"
    states = {}
    for choice in (ExportChoice(), NOBODY):
        export.export_dataset(workspace, "set", output, "csv-long", choice=choice)
        content, _ = read(output, "csv-long")
        states[choice] = {
            (x.image_id, x.category_id): x.state.word
            for x in content.labels
            if x.category_id == "=red"
        }
    assert states[ExportChoice()] == {
        ("000.jpg", "=red"): "absent",
        ("001.jpg", "=red"): "absent",
        ("003.jpg", "=red"): "present",
    }
    # Without people's verdicts the annotation of the source file speaks again.
    assert states[NOBODY] == {("000.jpg", "=red"): "present", ("003.jpg", "=red"): "present"}


def test_proposals_go_along_in_a_table_of_their_own(
    workspace: Workspace, tmp_path: Path, answered: dict
) -> None:
    with workspace.database.read() as session:
        dataset_id = session.scalars(select(Decision.dataset_id)).first()
    assert dataset_id is not None
    make_proposals(workspace, dataset_id)
    choice = ExportChoice(proposals=True)
    told = export.preview(workspace, "set", choice)
    job = workspace.jobs.run_here(
        JobKind.EXPORT,
        dataset_id,
        {"format": "coco", **choice.to_json()},
        worker.handlers(workspace),
        lambda done, total, what: None,
    )
    assert job.result is not None
    with zipfile.ZipFile(workspace.data_dir / "exports" / job.result["file"]) as pack:
        assert sorted(pack.namelist()) == ["completed.json", "completed.proposals.csv"]
        text = pack.read("completed.proposals.csv").decode()
        (tmp_path / "out.json").write_bytes(pack.read("completed.json"))
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == told.proposals == job.result["proposals"] > 0
    assert len(added(tmp_path / "out.json")) == 2, "a proposal is no label"
    assert export.preview(workspace, "set").proposals == 0


def test_names_like_formulas_are_guarded_and_found_again(
    workspace: Workspace, tmp_path: Path
) -> None:
    document = coco_document()
    document["categories"][0]["name"] = '=HYPERLINK("http://x")'
    make_proposals(workspace, make_dataset(workspace, document=document).dataset_id)
    output = tmp_path / "proposals.csv"
    export.write_proposals(workspace, "set", output)
    with output.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["category"] for row in rows} >= {'\'=HYPERLINK("http://x")'}
    table = tmp_path / "verdicts.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", "category", "verdict"])
        writer.writerows([row["file_name"], row["category"], "present"] for row in rows)
    report = verdict_file.decide_file(workspace, "set", table, "ada")
    assert report.saved == len(rows)


def test_a_source_that_is_none_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'import'; there are 'human', 'model, audited'"):
        ExportChoice.of(["import"])
    assert ExportChoice.of(None) == ExportChoice(GIVEN_HERE, False)


def test_what_a_format_drops_is_told_for_the_choice(workspace: Workspace, answered: dict) -> None:
    told = export.left_behind(workspace, "set", "csv-wide", NOBODY)
    assert told == ["4 boxes", "4 image sizes", "3 supercategories"]
