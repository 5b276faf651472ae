"""Before an import: what is told is what will be, and nothing is written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.services.access import rights
from app.services.access.rights import Actor, Role
from app.services.datasets import overview
from app.services.importing import ingest, preview
from app.services.importing.ingest import ImportRequest, import_file
from app.services.importing.preview import look
from app.services.importing.report import report_csv, report_json, report_lines
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from clsl_core.types import LabelSource
from db.models import Label
from tests.builders import coco_document, make_collection, make_grant


def request(folder: Path, document: dict[str, Any] | None = None, **more: Any) -> ImportRequest:
    file, root = make_collection(folder, document)
    return ImportRequest(str(file), str(root), "set", **more)


def test_what_a_file_holds(workspace: Workspace, tmp_path: Path) -> None:
    found = look(workspace, request(tmp_path, coco_document(images=7)))
    assert found.ok
    assert (found.format, found.reason) == ("coco", 'it is a JSON object with "images"')
    assert found.counts == {
        "images": 7,
        "categories": 3,
        "annotations": 7,
        "labels": 7,
        "labels present": 7,
        "labels absent": 0,
    }
    assert [(c.category, c.present, c.absent) for c in found.categories] == [
        ("red", 3, 0),
        ("green", 2, 0),
        ("blue", 2, 0),
    ]
    assert [sample.file_name for sample in found.samples] == [f"{i:03}.jpg" for i in range(7)]
    assert all(s.picture and s.picture.startswith(b"RIFF") for s in found.samples)
    assert [sample.present for sample in found.samples[:3]] == [("red",), ("green",), ("blue",)]
    assert overview.all_datasets(workspace) == []


def test_pictures_that_are_not_there_or_are_none(workspace: Workspace, tmp_path: Path) -> None:
    document = coco_document(images=4)
    wanted = request(tmp_path, document)
    root = Path(wanted.image_root)
    (root / "000.jpg").unlink()
    (root / "001.jpg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    document["images"][2]["file_name"] = "../x.jpg"
    Path(wanted.file).write_text(json.dumps(document))
    found = look(workspace, wanted)
    assert found.missing == {"missing": 1, "unsafe-path": 1}
    assert [name for name, _ in found.missing_examples] == ["000.jpg", "../x.jpg"]
    problems = {sample.file_name: sample.problem for sample in found.samples}
    assert "is not a readable picture" in (problems["001.jpg"] or "")
    assert problems["003.jpg"] is None


def test_problems_are_grouped_and_counted_beyond_what_is_listed(
    workspace: Workspace, tmp_path: Path
) -> None:
    document = coco_document(images=4)
    document["annotations"] += [
        {"id": 100 + i, "image_id": 999, "category_id": 1} for i in range(1_500)
    ]
    found = look(workspace, request(tmp_path, document))
    (group,) = [g for g in found.groups if g.count > 1]
    assert (group.severity.value, group.count, len(group.examples)) == ("warning", 1_500, 5)
    assert group.examples[0][0] == "annotations[4]"


def test_a_file_that_would_be_refused(workspace: Workspace, tmp_path: Path) -> None:
    document = coco_document()
    document["images"][1]["id"] = document["images"][0]["id"]
    found = look(workspace, request(tmp_path, document))
    assert not found.ok
    assert found.plan is None
    assert found.groups[0].code == "duplicate-image-id"
    assert "it would be refused" in "\n".join(report_lines(found))


def test_a_plan_names_what_people_decided(workspace: Workspace, tmp_path: Path) -> None:
    wanted = request(tmp_path)
    grant = make_grant(workspace, import_file(workspace, wanted).dataset_id)
    with workspace.database.read() as session:
        pairs = [(label.image_id, label.category_id) for label in session.scalars(select(Label))]
    verdicts.decide(workspace, grant, [Answer("client-id-1", *pairs[0], "absent")])
    plan = look(workspace, wanted).plan
    assert plan is not None
    assert not plan.new
    assert not plan.changes
    assert plan.kept == 1
    (kept,) = plan.kept_examples
    assert (kept.image, kept.category) == ("000.jpg", "red")
    assert (kept.in_file, kept.decided) == ("present", "absent")
    assert plan.unchanged == {"images": 4, "categories": 3, "annotations": 4, "labels": 3}


def test_what_was_accepted_in_bulk_is_kept_too(workspace: Workspace, tmp_path: Path) -> None:
    wanted = request(tmp_path)
    import_file(workspace, wanted)
    with workspace.database.write() as session:
        label = session.scalars(select(Label)).first()
        assert label is not None
        label.state, label.source = -label.state, LabelSource.MODEL_AUDITED
    plan = look(workspace, wanted).plan
    assert plan is not None
    assert plan.kept == 1
    assert import_file(workspace, wanted).kept_human == 1


documents = st.builds(coco_document, images=st.integers(1, 6), categories=st.integers(1, 5))


@given(first=documents, second=documents, area=st.sampled_from([125.0, 7.0]))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_plan_is_what_the_import_does(
    workspace: Workspace, tmp_path: Path, first: dict, second: dict, area: float
) -> None:
    name = f"set {len(overview.all_datasets(workspace))}"
    for document in (first, second):
        document["annotations"][0]["area"] = area if document is second else 125.0
        file, root = make_collection(tmp_path, document)
        wanted = ImportRequest(str(file), str(root), name)
        plan = look(workspace, wanted).plan
        done = import_file(workspace, wanted)
        assert plan is not None
        assert (plan.added, plan.kept) == (done.added, done.kept_human)
        assert {k: v for k, v in plan.updated.items() if v} == {
            k: v for k, v in done.updated.items() if v
        }
        for table in ("images", "categories", "annotations"):
            count = plan.added[table] + plan.updated[table] + plan.unchanged[table]
            assert count == len(document[table])


def test_another_folder_of_pictures_is_told(workspace: Workspace, tmp_path: Path) -> None:
    first = request(tmp_path / "one")
    import_file(workspace, first)
    assert look(workspace, first).moves_from is None
    found = look(workspace, request(tmp_path / "two"))
    assert found.moves_from == first.image_root
    assert f"not in {first.image_root}" in "\n".join(report_lines(found))
    assert first.image_root in report_csv(found)


def test_declarations_change_what_is_told(workspace: Workspace, tmp_path: Path) -> None:
    found = look(workspace, request(tmp_path, exhaustive=("red",)))
    assert [(c.category, c.absent) for c in found.categories if c.absent] == [("red", 2)]
    done = import_file(workspace, request(tmp_path, exhaustive=("red",)))
    assert done.added["labels"] == 6
    assert overview.dataset(workspace, "set").absent_labels == 2


def test_an_import_into_another_format_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    wanted = request(tmp_path)
    import_file(workspace, wanted)
    table = tmp_path / "wide.csv"
    table.write_text("file,red\n000.jpg,1\n")
    with pytest.raises(InputError, match="the dataset 'set' came as coco"):
        look(workspace, ImportRequest(str(table), wanted.image_root, "set"))


def test_only_those_who_may_import_may_look(workspace: Workspace, tmp_path: Path) -> None:
    with rights.acting(Actor("Vic", Role.VIEWER)), pytest.raises(rights.Forbidden):
        look(workspace, request(tmp_path))


def test_a_preview_without_name_or_folder(workspace: Workspace, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path)
    found = look(workspace, ImportRequest(str(file), "", ""))
    assert (found.plan, found.image_root, found.samples) == (None, None, ())
    within = look(workspace, ImportRequest(str(file), "", ""), within=tmp_path)
    assert within.image_root == str(root)
    assert len(within.samples) == 4


def test_reports_are_for_programs_and_spreadsheets(workspace: Workspace, tmp_path: Path) -> None:
    document = coco_document()
    document["categories"][0]["name"] = "=HYPERLINK(1)\u202e\x07"
    document["categories"][1]["name"] = "lone \ud800"
    found = look(workspace, request(tmp_path, document))
    assert json.loads(json.dumps(report_json(found)))["counts"]["images"] == 4
    text = report_csv(found)
    text.encode()
    rows = list(csv.reader(io.StringIO(text)))
    cells = [cell for row in rows for cell in row]
    assert "'=HYPERLINK(1)\ufffd\ufffd" in cells
    assert not [cell for cell in cells if cell.startswith("=")]
    assert {len(row) for row in rows} == {6}


def test_the_picture_limit_holds_for_samples(tmp_path: Path, workspace: Workspace) -> None:
    small = workspace.settings.model_copy(update={"max_pixels": 100})
    object.__setattr__(workspace, "settings", small)
    found = look(workspace, request(tmp_path))
    assert all("more than the 100 pixels" in (s.problem or "") for s in found.samples)


def test_progress_is_told_and_can_stop_it(workspace: Workspace, tmp_path: Path) -> None:
    class Enough(Exception):  # noqa: N818
        pass

    def stop(done: int, total: int, what: str) -> None:
        if what == "counting labels":
            raise Enough

    with pytest.raises(Enough):
        look(workspace, request(tmp_path), stop)
    assert preview.look(workspace, request(tmp_path)).ok
    assert ingest.recognise(tmp_path / "instances.json").format == "coco"
