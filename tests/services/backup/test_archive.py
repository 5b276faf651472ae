"""Backups: whole or not at all, checked, and back as they were."""

import json
import sqlite3
import threading
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import func, select, text

import migrations
from app.services.backup import archive
from app.services.reviewing import verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import ClslError, ConflictError, DatabaseError, InputError, NotFoundError
from db.models import Annotator, Dataset, Decision, Label
from db.session import Database
from tests.builders import coco_document, make_dataset, make_grant, make_proposals, make_workspace

pytestmark = pytest.mark.both_databases


def decide_everything(workspace: Workspace) -> int:
    dataset_id = make_dataset(workspace, document=coco_document(images=20)).dataset_id
    make_proposals(workspace, dataset_id)
    grant = make_grant(workspace, dataset_id)
    cards = next_cards(workspace, grant, QueueQuery(limit=100)).cards
    answers = [
        Answer(f"client-{card.proposal_id}", card.image_id, card.category_id, "present")
        for card in cards
    ]
    verdicts.decide(workspace, grant, answers)
    return len(answers)


def counts(workspace: Workspace) -> tuple[int, int]:
    with workspace.database.read() as session:
        decisions = session.scalar(select(func.count()).select_from(Decision)) or 0
        return decisions, session.scalar(select(func.count()).select_from(Label)) or 0


@pytest.mark.sqlite_only
def test_a_backup_brings_everything_back(workspace: Workspace, tmp_path: Path) -> None:
    made = decide_everything(workspace)
    kept = counts(workspace)
    features = workspace.data_dir / "features" / "1" / "key"
    features.mkdir(parents=True)
    (features / "shard-00000.json").write_text("{}")
    (features / ".x.partial").write_text("half")
    said = workspace.data_dir / "descriptions" / "1.json"
    tuned = workspace.data_dir / "backbones" / "1" / "ViT-B-16-448-0123.safetensors"
    for file in (said, tuned):
        file.parent.mkdir(parents=True)
        file.write_text("{}")
    file = tmp_path / "backup.zip"
    summary = archive.backup(workspace.settings, file, with_files=True)
    assert (summary.rows["decision"], summary.revision) == (made, migrations.head())
    assert [f.path for f in summary.files] == [
        "clsl.db",
        "features/1/key/shard-00000.json",
        "backbones/1/ViT-B-16-448-0123.safetensors",
        "descriptions/1.json",
    ]
    with workspace.database.write() as session:
        session.execute(text("DELETE FROM label"))
        session.execute(text("DELETE FROM decision"))
    (features / "shard-00000.json").unlink()
    again, earlier = archive.restore(workspace.settings, file)
    assert again == summary
    assert counts(workspace) == kept  # seen by a connection that was open all the time
    assert (features / "shard-00000.json").read_text() == "{}"
    assert earlier is not None
    with sqlite3.connect(earlier) as connection:
        assert connection.execute("SELECT count(*) FROM decision").fetchone() == (0,)
    connection.close()


@pytest.mark.sqlite_only
def test_into_an_empty_place(workspace: Workspace, tmp_path: Path) -> None:
    decide_everything(workspace)
    file = tmp_path / "backup.zip"
    archive.backup(workspace.settings, file)
    elsewhere = Settings(data_dir=tmp_path / "elsewhere")
    with pytest.raises(ConflictError, match=r"source-set/images .set.*--accept-places"):
        archive.restore(elsewhere, file)
    assert not (elsewhere.data_dir / "clsl.db").exists()
    assert archive.restore(elsewhere, file, accept_places=True)[1] is None
    opened = make_workspace(elsewhere.data_dir)
    assert counts(opened) == counts(workspace)
    opened.close()


def test_a_backup_while_people_work_is_one_state(workspace: Workspace, tmp_path: Path) -> None:
    over, failures = threading.Event(), []

    def write_pairs() -> None:
        number = 0
        try:
            while not over.is_set():
                with workspace.database.write() as session:
                    session.add_all([Annotator(name=f"{number}-{i}") for i in range(2)])
                number += 1
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=write_pairs)
    thread.start()
    try:
        found = [
            archive.backup(workspace.settings, tmp_path / "b.zip").rows["annotator"]
            for _ in range(5)
        ]
    finally:
        over.set()
        thread.join()
    assert failures == []
    assert all(count % 2 == 0 for count in found)
    assert found == sorted(found)
    assert found[-1] > 0


def tampered(file: Path, change) -> Path:
    """The same archive with other members."""
    with zipfile.ZipFile(file) as zipped:
        members = {name: zipped.read(name) for name in zipped.namelist()}
    change(members)
    out = file.with_name("tampered.zip")
    with zipfile.ZipFile(out, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return out


def manifest(members: dict[str, bytes], **changes: object) -> None:
    found = json.loads(members["manifest.json"])
    members["manifest.json"] = json.dumps(found | changes).encode()


def file_entry(path: str, content: bytes) -> dict[str, object]:
    import hashlib

    return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def add(members: dict[str, bytes], path: str) -> None:
    members[path] = b"evil"
    found = json.loads(members["manifest.json"])
    manifest(members, files=[*found["files"], file_entry(path, b"evil")])


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.__setitem__("clsl.db", m["clsl.db"][:-1] + b"x"), "not what its manifest"),
        (lambda m: m.__setitem__("clsl.db", m["clsl.db"] + b"x" * 10**6), "not what its manifest"),
        (lambda m: m.pop("clsl.db"), "differ"),
        (lambda m: m.pop("manifest.json"), "manifest"),
        (lambda m: m.__setitem__("manifest.json", b"[]"), "manifest"),
        (lambda m: manifest(m, format=2), "install a newer one"),
        (lambda m: manifest(m, files=3), "manifest"),
        (lambda m: m.__setitem__("features/1/x", b"unlisted"), "differ"),
        (lambda m: add(m, "../outside"), "differ"),
        (lambda m: add(m, "/etc/cron.d/evil"), "differ"),
        (lambda m: add(m, "features/../../outside"), "differ"),
        (lambda m: add(m, "secret.key"), "differ"),
    ],
)
def test_archives_that_are_not_whole_change_nothing(
    workspace: Workspace, tmp_path: Path, change, message: str
) -> None:
    decide_everything(workspace)
    file = tmp_path / "backup.zip"
    archive.backup(workspace.settings, file)
    before = counts(workspace)
    secret = (workspace.data_dir / "secret.key").read_text()
    with pytest.raises(InputError, match=message):
        archive.restore(workspace.settings, tampered(file, change))
    assert counts(workspace) == before
    assert (workspace.data_dir / "secret.key").read_text() == secret
    assert not (tmp_path / "outside").exists()
    assert not list(workspace.data_dir.glob(".restore-*"))


def with_database(file: Path, *statements: str) -> Path:
    """The same archive, in whose database something was done."""

    def change(members: dict[str, bytes]) -> None:
        database = file.with_name("changed.db")
        database.write_bytes(members["clsl.db"])
        with closing(sqlite3.connect(database)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        members["clsl.db"] = database.read_bytes()
        manifest(members, files=[file_entry("clsl.db", members["clsl.db"])])

    return tampered(file, change)


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("statement", "error", "message"),
    [
        (
            "CREATE TRIGGER t AFTER INSERT ON decision BEGIN UPDATE label SET state = -1; END",
            InputError,
            "'trigger t'",
        ),
        ("CREATE VIEW v AS SELECT * FROM label", InputError, "'view v'"),
        ("CREATE VIRTUAL TABLE f USING fts5(a)", InputError, "'table f'"),
        ("UPDATE dataset SET image_root = '/etc'", ConflictError, "/etc"),
        ("UPDATE dataset SET more_roots = '[\"/etc\"]'", ConflictError, "/etc"),
    ],
)
def test_what_a_foreign_backup_would_do_or_show_is_not_taken_over(
    workspace: Workspace, tmp_path: Path, statement: str, error: type[ClslError], message: str
) -> None:
    decide_everything(workspace)
    file = tmp_path / "backup.zip"
    archive.backup(workspace.settings, file)
    before = counts(workspace)
    with pytest.raises(error, match=message):
        archive.restore(workspace.settings, with_database(file, statement))
    assert counts(workspace) == before
    with workspace.database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM sqlite_schema WHERE type = 'view'")) == 0
        assert session.scalars(select(Dataset.image_root)).one().endswith("source-set/images")


@pytest.mark.sqlite_only
def test_what_it_unpacks_to_is_bounded(workspace: Workspace, tmp_path: Path) -> None:
    decide_everything(workspace)
    file = tmp_path / "backup.zip"
    archive.backup(workspace.settings, file)
    bomb = tmp_path / "bomb.zip"
    zeros = bytes(50_000_000)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        members = {name: old.read(name) for name in old.namelist()}
        found = json.loads(members["manifest.json"])
        manifest(members, files=[*found["files"], file_entry("features/a/b.npy", zeros)])
        for name, content in {**members, "features/a/b.npy": zeros}.items():
            new.writestr(name, content)
    with pytest.raises(InputError, match=r"features/a/b\.npy becomes .* CLSL_UNPACKED_RATIO"):
        archive.restore(workspace.settings, bomb)
    assert not (workspace.data_dir / "features" / "a").exists()
    larger = workspace.settings.model_copy(update={"unpacked_ratio": 10_000})
    archive.restore(larger, bomb)
    assert (workspace.data_dir / "features" / "a" / "b.npy").stat().st_size == len(zeros)


def test_an_archive_of_a_newer_version_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    with workspace.database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    file = tmp_path / "newer.zip"
    archive.backup(workspace.settings, file)
    with pytest.raises(InputError, match="newer version"):
        archive.restore(Settings(data_dir=tmp_path / "elsewhere"), file)
    assert not (tmp_path / "elsewhere" / "clsl.db").exists()


def test_what_cannot_be_backed_up_says_why(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(NotFoundError, match="nothing to back up"):
        archive.backup(settings, tmp_path / "b.zip")
    (tmp_path / "clsl.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(DatabaseError, match=r"no database|not a database"):
        archive.backup(settings, tmp_path / "b.zip")
    with pytest.raises(NotFoundError, match="there is no file"):
        archive.restore(settings, tmp_path / "nowhere.zip")
    (tmp_path / "c.zip").write_text("no zip")
    with pytest.raises(InputError, match="no backup"):
        archive.read(tmp_path / "c.zip")
    server = Settings(data_dir=tmp_path, database_url=f"postgresql:///name?host={tmp_path}")
    with pytest.raises(DatabaseError, match="server cannot be reached"):
        archive.backup(server, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


def test_an_older_database_is_kept_and_then_migrated(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'clsl.db'}")
    with database.engine.begin() as connection:
        command.upgrade(migrations.alembic_config(connection), "0001")
        connection.execute(
            text("INSERT INTO annotator (name, created_at) VALUES ('Ada', '2025-01-01 00:00:00')")
        )
    database.close()
    opened = make_workspace(folder)
    assert migrations.current(opened.database.engine) == migrations.head()
    with opened.database.read() as session:
        assert session.scalars(select(Annotator.name)).all() == ["Ada"]
    opened.close()
    (kept,) = (folder / "backups").glob("revision-0001-*.db")
    with sqlite3.connect(kept) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert connection.execute("SELECT name FROM annotator").fetchone() == ("Ada",)
    connection.close()
    make_workspace(folder).close()
    assert len(list((folder / "backups").iterdir())) == 1


def test_what_cannot_be_kept_is_not_migrated(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'clsl.db'}")
    with database.engine.begin() as connection:
        command.upgrade(migrations.alembic_config(connection), "0001")
    (folder / "backups").write_text("in the way")
    with pytest.raises(ClslError, match="cannot be copied"):
        make_workspace(folder)
    assert migrations.current(database.engine) == "0001"
    database.close()
