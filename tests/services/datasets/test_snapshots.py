"""Snapshots never change; their differences are what was decided in between."""

import csv
import random
from pathlib import Path

import pytest
from sqlalchemy import update

from app.services.access import rights
from app.services.datasets import snapshots
from app.services.datasets.snapshots import Diff
from app.services.importing import ingest
from app.services.reviewing import undo, verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, DatabaseError, InputError, NotFoundError
from clsl_core.types import LabelState
from db.models import Snapshot
from db.queries import labels
from tests.builders import coco_document, make_collection, make_dataset, make_grant

pytestmark = pytest.mark.both_databases


def pairs(diff: Diff) -> dict[tuple[str, str], tuple[str, str]]:
    return {(one.file_name, one.category): (one.before, one.after) for one in diff.changes}


def test_changes_name_who_and_when(workspace: Workspace) -> None:
    dataset = make_dataset(workspace)
    first = snapshots.take(workspace, "set", "first")
    assert (first.present, first.absent, first.decisions) == (4, 0, 0)
    grant = make_grant(workspace, dataset.dataset_id)
    verdicts.decide(workspace, grant, [Answer("snapshot-1", 1, 2, "absent")])
    verdicts.decide(workspace, grant, [Answer("snapshot-2", 1, 2, "present")])
    verdicts.decide(workspace, grant, [Answer("snapshot-3", 2, 1, "skip")])
    since = snapshots.diff(workspace, "set", "first")
    (only,) = since.changes
    assert (only.before, only.after, only.by) == ("unknown", "present", "ada")
    assert only.at is not None
    assert since.counts == {"unknown → present": 1}
    second = snapshots.take(workspace, "set", "second")
    assert second.present == 5
    assert snapshots.diff(workspace, "set", "first", "second").changes == since.changes
    (back,) = snapshots.diff(workspace, "set", "second", "first").changes
    assert (back.before, back.after, back.by) == ("present", "unknown", "ada")
    assert [one.name for one in snapshots.all_snapshots(workspace, "set")] == ["second", "first"]


@pytest.mark.parametrize("seed", range(3))
def test_they_equal_an_independent_count_after_any_decisions(
    workspace: Workspace, seed: int
) -> None:
    dataset_id = make_dataset(workspace, document=coco_document(images=12)).dataset_id
    grant, chance = make_grant(workspace, dataset_id), random.Random(seed)
    kept: list[dict[tuple[int, int], int]] = []
    for number in range(3):
        with workspace.database.read() as session:
            kept.append({(i, c): state for i, c, state in labels.triples(session, dataset_id)})
        snapshots.take(workspace, "set", str(number))
        given: list[str] = []
        for step in range(25):
            image_id, category_id = chance.randint(1, 12), chance.randint(1, 3)
            id_ = f"random-{number}-{step:03d}"
            verdict = chance.choice(["present", "absent", "skip"])
            receipt = verdicts.decide(
                workspace, grant, [Answer(id_, image_id, category_id, verdict)]
            )[0]
            given += [id_] if receipt.status == "saved" else []
            if given and chance.random() < 0.2:
                undo.undo(workspace, grant, f"undo-{number}-{step:03d}", given.pop())
    for old in range(3):
        for new in range(3):
            found = snapshots.diff(workspace, "set", str(old), str(new))
            every = kept[old].keys() | kept[new].keys()
            differ = [k for k in every if kept[old].get(k, 0) != kept[new].get(k, 0)]
            assert len(found.changes) == len(differ)
            expected = sorted(
                (LabelState(kept[old].get(k, 0)).word, LabelState(kept[new].get(k, 0)).word)
                for k in differ
            )
            assert sorted((one.before, one.after) for one in found.changes) == expected
            if old == new:
                assert not found.changes


def test_a_newer_file_changes_labels_without_a_person(workspace: Workspace, tmp_path: Path) -> None:
    make_dataset(workspace)
    snapshots.take(workspace, "set", "first")
    file, root = make_collection(tmp_path, coco_document(images=6))
    ingest.import_file(workspace, ingest.ImportRequest(str(file), str(root), "set"))
    found = snapshots.diff(workspace, "set", "first")
    assert found.counts == {"unknown → present": 2}
    assert all(one.by is None for one in found.changes)


def test_names_are_taken_once_and_damage_is_seen(workspace: Workspace) -> None:
    make_dataset(workspace)
    snapshots.take(workspace, "set", "first")
    with pytest.raises(ConflictError, match="has a snapshot 'first' already"):
        snapshots.take(workspace, "set", " first ")
    for name in ("", "x" * 101, "a\nb"):
        with pytest.raises(InputError):
            snapshots.take(workspace, "set", name)
    with pytest.raises(NotFoundError, match="there are: 'first'"):
        snapshots.diff(workspace, "set", "other")
    with workspace.database.write() as session:
        session.execute(update(Snapshot).values(states=b"damaged"))
    with pytest.raises(DatabaseError, match="'first' is damaged"):
        snapshots.diff(workspace, "set", "first")
    snapshots.delete(workspace, "set", "first")
    assert snapshots.all_snapshots(workspace, "set") == []


def test_who_may(workspace: Workspace) -> None:
    make_dataset(workspace)
    with rights.acting(rights.Actor("bob", rights.Role.ANNOTATOR)), pytest.raises(rights.Forbidden):
        snapshots.take(workspace, "set", "first")
    with rights.acting(rights.Actor("eve", rights.Role.REVIEWER)):
        assert snapshots.take(workspace, "set", "first").by == "eve"
        with pytest.raises(rights.Forbidden):
            snapshots.delete(workspace, "set", "first")


def test_a_table_that_no_spreadsheet_runs(workspace: Workspace, tmp_path: Path) -> None:
    document = coco_document(images=2)
    document["categories"][1]["name"] = "=HYPERLINK(1)"
    dataset_id = make_dataset(workspace, document=document).dataset_id
    snapshots.take(workspace, "set", "first")
    grant = make_grant(workspace, dataset_id)
    verdicts.decide(workspace, grant, [Answer("snapshot-1", 1, 2, "absent")])
    found = snapshots.diff(workspace, "set", "first")
    assert snapshots.write_csv(found.changes, tmp_path / "out.csv") == 1
    with (tmp_path / "out.csv").open(newline="") as file:
        header, row = csv.reader(file)
    assert tuple(header) == snapshots.COLUMNS
    assert row[1].startswith("'=")
    assert row[2:5] == ["unknown", "absent", "ada"]
