"""Backups of both kinds of database: all of one moment, back as it was, or nothing changed."""

from __future__ import annotations

import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import MetaData, select, text

import migrations
from app.services.backup import archive, server_rows
from app.services.datasets import snapshots
from app.services.operations.doctor import examine
from app.services.reviewing import undo, verdicts
from app.services.reviewing.verdicts import Answer
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, DatabaseError, InputError
from db.models import Annotator, Base, Dataset
from db.session import Database
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

pytestmark = pytest.mark.both_databases

Rows = dict[str, list[tuple[Any, ...]]]


def rows(database: Database) -> Rows:
    """Everything that is stored, as the driver gives it."""
    found = MetaData()
    with database.engine.connect() as connection:
        found.reflect(connection, only=sorted(Base.metadata.tables))
        return {
            name: sorted(tuple(map(str, row)) for row in connection.execute(select(table)))
            for name, table in found.tables.items()
        }


def fill(workspace: Workspace) -> int:
    """A dataset with decisions, proposals, a snapshot; names that COPY must escape."""
    document = coco_document(images=6)
    document["categories"][0]["name"] = "re\td \\N \\. \n'\";"
    dataset_id = make_dataset(workspace, document=document).dataset_id
    make_proposals(workspace, dataset_id)
    grant = make_grant(workspace, dataset_id, "ada \\. \u2028 ü")
    verdicts.decide(workspace, grant, [Answer("a-decision-1", 2, 1, "absent")])
    undo.undo(workspace, grant, "an-undo-1", "a-decision-1")
    verdicts.decide(workspace, grant, [Answer("a-decision-2", 2, 1, "present")])
    snapshots.take(workspace, "set", "first")
    return dataset_id


def test_everything_comes_back_as_it_was(workspace: Workspace, tmp_path: Path) -> None:
    dataset_id = fill(workspace)
    before = rows(workspace.database)
    summary = archive.backup(workspace.settings, tmp_path / "b.zip")
    assert summary.rows == {name: len(found) for name, found in before.items()}
    assert summary.revision == migrations.head()
    with workspace.database.write() as session:
        session.delete(session.get_one(Dataset, dataset_id))
        session.add(Annotator(name="somebody else"))
    assert rows(workspace.database) != before
    workspace.database.close()
    with pytest.raises(ConflictError, match="--accept-places"):  # the dataset is gone
        archive.restore(workspace.settings, tmp_path / "b.zip")
    assert rows(workspace.database) != before
    workspace.database.close()
    _, earlier = archive.restore(workspace.settings, tmp_path / "b.zip", accept_places=True)
    assert earlier is not None
    assert earlier.exists()
    assert rows(workspace.database) == before
    odd = [one for one in examine(workspace.settings) if not one.ok]
    assert {one.check for one in odd} <= {"features"}  # the made run never had any
    make_grant(workspace, dataset_id, "ben")  # ids go on behind those that came back
    make_dataset(workspace, "another")
    archive.restore(workspace.settings, tmp_path / "b.zip")
    assert rows(workspace.database) == before


def test_it_is_one_moment_while_others_write(workspace: Workspace, tmp_path: Path) -> None:
    """Every decision has its annotator, however many come in meanwhile."""
    fill(workspace)
    over = threading.Event()

    def work() -> None:
        number = 0
        while not over.is_set():
            with workspace.database.write() as session:
                session.add(Annotator(name=f"person {number}"))
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for number in range(5):
            archive.backup(workspace.settings, tmp_path / f"{number}.zip")
    finally:
        over.set()
        thread.join()
    counts = [archive.read(tmp_path / f"{number}.zip").rows["annotator"] for number in range(5)]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    archive.restore(workspace.settings, tmp_path / "2.zip")
    assert len(rows(workspace.database)["annotator"]) == counts[2]


def test_an_archive_of_an_older_version_is_brought_up_to_date(
    workspace: Workspace, tmp_path: Path
) -> None:
    if not workspace.database.shared:
        pytest.skip("test_safekeeping has it for SQLite")
    with workspace.database.engine.begin() as connection:
        names = ", ".join([*Base.metadata.tables, "alembic_version"])
        connection.execute(text(f"DROP TABLE {names} CASCADE"))
        command.upgrade(migrations.alembic_config(connection), "0003")
        connection.execute(
            text(
                "INSERT INTO annotator (name, keys, notices_seen, created_at) "
                "VALUES ('eve', '{}', 0, now())"
            )
        )
    archive.backup(workspace.settings, tmp_path / "old.zip")
    with workspace.database.engine.begin() as connection:
        command.upgrade(migrations.alembic_config(connection), "head")
    fill(workspace)
    archive.restore(workspace.settings, tmp_path / "old.zip")
    assert migrations.current(workspace.database.engine) == migrations.head()
    found = rows(workspace.database)
    assert len(found["annotator"]) == 1
    assert not found["dataset"]


@pytest.mark.parametrize("fault", ["columns", "tables", "rows", "not json", "both kinds"])
def test_a_wrong_archive_changes_nothing(workspace: Workspace, tmp_path: Path, fault: str) -> None:
    if not workspace.database.shared:
        pytest.skip("test_safekeeping has it for SQLite")
    fill(workspace)
    before = rows(workspace.database)
    folder = tmp_path / "rows"
    folder.mkdir()
    revision, _ = server_rows.write_rows(workspace.database, folder)
    stated = json.loads((folder / server_rows.TABLES).read_text())
    if fault == "columns":
        stated["annotator"][0] = "id); DROP TABLE label; --"
    elif fault == "tables":
        stated["label; DROP TABLE label"] = stated.pop("label")
    elif fault == "rows":
        (folder / "tables" / "label.copy").write_text("not\ta row\n")
    (folder / server_rows.TABLES).write_text("[" if fault == "not json" else json.dumps(stated))
    if fault == "both kinds":
        archive.backup(workspace.settings, tmp_path / "b.zip")
        with zipfile.ZipFile(tmp_path / "b.zip", "a") as zipped:
            zipped.writestr("clsl.db", "x")
        with pytest.raises(InputError, match="no backup"):
            archive.restore(workspace.settings, tmp_path / "b.zip")
    else:
        with pytest.raises(Exception, match=r"archive|invalid input") as told:
            server_rows.read_rows(workspace.database, folder, revision)
        assert fault == "rows" or isinstance(told.value, InputError)
    assert rows(workspace.database) == before


def test_the_other_kind_of_database_is_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLSL_DATABASE_URL", raising=False)
    fill(workspace)
    archive.backup(workspace.settings, tmp_path / "b.zip")
    if workspace.database.shared:
        other = Settings(data_dir=tmp_path / "other")
        with pytest.raises(InputError, match=r"in a file, and .* of one on a server"):
            archive.restore(other, tmp_path / "b.zip")
    nothing = Settings(data_dir=tmp_path / "data", database_url=f"postgresql:///x?host={tmp_path}")
    with pytest.raises((DatabaseError, InputError), match=r"server cannot be reached|on a server"):
        archive.restore(nothing, tmp_path / "b.zip")
