"""Imports out of sight: nobody sees half of one, whatever ends it, and others write meanwhile."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.services.datasets import overview
from app.services.importing import ingest, target, unfinished
from app.services.importing.ingest import ImportRequest, import_file
from app.services.importing.target import OutOfSight
from app.services.operations.doctor import examine
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, JobCancelled, NotFoundError
from db.models import Annotation, Category, Dataset, Image, Job, JobKind, Label
from tests.builders import coco_document, make_collection
from tests.services.conftest import ROOT, wait_for

TABLES = (Dataset, Image, Category, Annotation, Label)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "BATCH", 7)
    monkeypatch.setattr(target, "LONGEST", 0.0)
    monkeypatch.setattr(unfinished, "WATCH_SECONDS", 0.3)


def request(folder: Path, images: int = 100) -> ImportRequest:
    file, root = make_collection(folder, coco_document(images=images))
    return ImportRequest(str(file), str(root), "set")


def rows(workspace: Workspace) -> dict[str, int]:
    with workspace.database.read() as session:
        counts = [session.scalar(select(func.count()).select_from(table)) for table in TABLES]
    return {table.__tablename__: count or 0 for table, count in zip(TABLES, counts, strict=True)}


def assert_not_there(workspace: Workspace) -> None:
    assert overview.all_datasets(workspace) == []
    with pytest.raises(NotFoundError, match="none yet"):
        overview.dataset(workspace, "set")


def test_nobody_sees_it_before_its_end_and_others_write_meanwhile(
    workspace: Workspace, tmp_path: Path
) -> None:
    seen: list[dict[str, int]] = []

    def look(_done: int, _total: int, message: str) -> None:
        if message == "writing labels":
            assert_not_there(workspace)
            with workspace.database.write("another") as session:
                session.add(Job(kind=JobKind.EXPORT, payload={}))
            seen.append(rows(workspace))

    import_file(workspace, request(tmp_path), look)
    assert len(seen) == 100 // 7 + 1
    assert seen[-1]["annotation"] == 100
    assert overview.dataset(workspace, "set").present == 100
    with workspace.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == len(seen)


@pytest.mark.parametrize("stage", ["image", "annotation", "label"])
def test_a_cancel_while_rows_are_written_leaves_nothing(
    workspace: Workspace, tmp_path: Path, stage: str
) -> None:
    def stop(done: int, _total: int, message: str) -> None:
        if message == f"writing {stage}s" and done > 50:
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        import_file(workspace, request(tmp_path), stop)
    assert set(rows(workspace).values()) == {0}


def test_a_fault_of_the_database_is_told_and_leaves_nothing(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = target.insert_rows
    calls: list[int] = []

    def failing(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 10:
            raise OSError("the disk is gone")
        insert(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(target, "insert_rows", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        import_file(workspace, request(tmp_path))
    assert set(rows(workspace).values()) == {0}


SLOW_IMPORT = """
import sys, time
from app.services.importing import target
from app.services.importing import ingest
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
target.BATCH, target.LONGEST = 7, 0.0
data, url, file, root = sys.argv[1:]
workspace = Workspace.open(Settings(data_dir=data, database_url=url or None))
slow = lambda *_: time.sleep(0.05)
ingest.import_file(workspace, ingest.ImportRequest(file, root, "set"), slow)
"""


def test_a_kill_leaves_nothing_to_be_seen_and_the_import_starts_again(
    workspace: Workspace, tmp_path: Path
) -> None:
    wanted = request(tmp_path)
    command = [sys.executable, "-c", SLOW_IMPORT, str(workspace.data_dir)]
    command += [workspace.settings.database_url or "", wanted.file, wanted.image_root]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    wait_for(lambda: rows(workspace)["annotation"] > 20)
    with pytest.raises(ConflictError, match="imported at this moment"):
        import_file(workspace, wanted)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = rows(workspace)
    assert left["dataset"] == 1
    assert_not_there(workspace)
    problems = [finding for finding in examine(workspace.settings) if finding.check == "imports"]
    assert "1 were killed half-way" in problems[0].found
    result = import_file(workspace, wanted)
    assert result.added["annotations"] == 100
    assert rows(workspace) == {
        "dataset": 1,
        "image": 100,
        "category": 3,
        "annotation": 100,
        "label": 100,
    }
    assert unfinished.clear(workspace.database) == 0


def test_an_import_that_stands_still_goes_on(workspace: Workspace, tmp_path: Path) -> None:
    wanted = request(tmp_path)
    command = [sys.executable, "-c", SLOW_IMPORT, str(workspace.data_dir)]
    command += [workspace.settings.database_url or "", wanted.file, wanted.image_root]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        wait_for(lambda: rows(workspace)["annotation"] > 20)
        while not stopped_between_transactions(workspace, process):
            os.kill(process.pid, signal.SIGCONT)
        assert unfinished.clear(workspace.database) == 0
        with pytest.raises(ConflictError, match="imported at this moment"):
            import_file(workspace, wanted)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert overview.dataset(workspace, "set").present == 100
    assert not list(workspace.data_dir.glob("*-living-*"))


def stopped_between_transactions(workspace: Workspace, process: subprocess.Popen[bytes]) -> bool:
    """Stop a process; False when it keeps others from writing meanwhile."""
    os.kill(process.pid, signal.SIGSTOP)
    if workspace.database.shared:
        return True
    with closing(sqlite3.connect(workspace.data_dir / "clsl.db", timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.rollback()
    return True


def test_what_was_left_half_way_is_cleared(workspace: Workspace, tmp_path: Path) -> None:
    half(workspace, tmp_path)
    assert rows(workspace)["image"] > 0
    assert unfinished.clear(workspace.database) == 1
    assert set(rows(workspace).values()) == {0}


def test_rows_of_an_import_that_was_cleared_away_are_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    def rival(done: int, _total: int, message: str) -> None:
        if message == "writing annotations" and done > 50:
            with workspace.database.read() as session:
                there = session.scalars(select(Dataset.id)).all()
            for dataset_id in there:
                unfinished.discard(workspace.database, dataset_id)

    with pytest.raises(ConflictError, match="has begun meanwhile"):
        import_file(workspace, request(tmp_path), rival)
    assert set(rows(workspace).values()) == {0}


def half(workspace: Workspace, folder: Path) -> None:
    """Leave an import half-way, as a kill does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unfinished, "discard", lambda *_: None)
        patch.setattr(OutOfSight, "__exit__", _end)
        with pytest.raises(JobCancelled):
            import_file(workspace, request(folder), _stop_late)


def _stop_late(done: int, _total: int, message: str) -> None:
    if message == "writing annotations" and done > 50:
        raise JobCancelled("stop")


_exit = OutOfSight.__exit__


def _end(self: OutOfSight, *_: object) -> None:
    _exit(self, None, None, None)


def test_two_imports_of_one_new_name_do_not_mix(workspace: Workspace, tmp_path: Path) -> None:
    ends: list[str] = []
    together = threading.Barrier(2)

    def bring_in(folder: Path) -> None:
        wanted = request(folder)
        together.wait()
        try:
            import_file(workspace, wanted)
        except ConflictError:
            ends.append("refused")
        else:
            ends.append("done")

    threads = [
        threading.Thread(target=bring_in, args=(tmp_path / name,)) for name in ("one", "two")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "done" in ends
    assert rows(workspace)["annotation"] == 100


def test_a_cancelled_job_is_over_soon(workspace: Workspace, tmp_path: Path) -> None:
    """Through the job table, as the page does it, while rows are written."""
    jobs, wanted = workspace.jobs, request(tmp_path)
    job = jobs.submit(JobKind.IMPORT, None, wanted.to_json())

    def handler(context: object) -> dict[str, object]:
        real = context.progress  # type: ignore[attr-defined]

        def slow(done: int, total: int, message: str) -> None:
            if message == "writing annotations":
                jobs.cancel(job.id)
                threading.Event().wait(0.7)
            real(done, total, message)

        context.progress = slow  # type: ignore[attr-defined]
        return ingest.run_import(workspace, context)  # type: ignore[arg-type]

    assert jobs.run(job.id, "worker:test", {JobKind.IMPORT: handler})
    assert jobs.get(job.id).status.value == "cancelled"
    assert rows(workspace)["dataset"] == 0


def test_a_cancel_is_heard_while_a_newer_file_is_written(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Adding to a dataset is one transaction; on SQLite nobody else can write meanwhile."""
    jobs = workspace.jobs
    import_file(workspace, request(tmp_path, images=20))
    before = rows(workspace)
    newer = request(tmp_path, images=100)
    job = jobs.submit(JobKind.IMPORT, None, newer.to_json())
    cancelling: list[threading.Thread] = []

    def handler(context: object) -> dict[str, object]:
        real = context.tell  # type: ignore[attr-defined]

        def slow(done: int, total: int, message: str) -> None:
            if message == "writing annotations" and not cancelling:
                cancelling.append(threading.Thread(target=jobs.cancel, args=(job.id,)))
                cancelling[0].start()
                threading.Event().wait(1.0)
            real(done, total, message)

        context.tell = slow  # type: ignore[attr-defined]
        return ingest.run_import(workspace, context)  # type: ignore[arg-type]

    assert jobs.run(job.id, "worker:test", {JobKind.IMPORT: handler})
    cancelling[0].join(timeout=10)
    assert not cancelling[0].is_alive()
    assert jobs.get(job.id).status.value == "cancelled"
    assert rows(workspace) == before
    assert not list(workspace.data_dir.glob("*-cancel-*"))
    assert import_file(workspace, newer).added["images"] == 80
