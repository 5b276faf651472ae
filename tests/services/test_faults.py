"""A full disk, a read-only folder, a server that is gone, a clock that jumps: said, survived."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import gettempdir

import pytest
from sqlalchemy import event, func, select, update

from app.services.jobs import table
from app.services.jobs.table import JobContext, JobKind, JobStatus
from app.services.reviewing import verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import DatabaseError
from db.models import Decision, Job, Lease
from db.types import now
from tests.builders import coco_document, make_dataset, make_grant, make_proposals, make_workspace


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody whom permissions bind."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.sqlite_only  # its size is what can be limited
def test_a_full_disk_is_said_and_nothing_is_half_stored(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace, document=coco_document(images=60)).dataset_id
    make_proposals(workspace, dataset_id)
    grant = make_grant(workspace, dataset_id)
    cards = next_cards(workspace, grant, QueueQuery(limit=100)).cards
    engine = workspace.database.engine

    def fill(connection, _record, _proxy) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(engine, "checkout", fill)
    stored, message = 0, ""
    for card in cards:
        answer = Answer(
            f"client-{card.proposal_id}" * 4, card.image_id, card.category_id, "present"
        )
        try:
            stored += len(verdicts.decide(workspace, grant, [answer]))
        except DatabaseError as error:
            message = str(error)
            break
    assert "the disk is full and nothing was stored: make room" in message
    with workspace.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Decision)) == stored
    event.remove(engine, "checkout", fill)
    engine.dispose()  # every connection has a limit of its own
    assert verdicts.decide(workspace, grant, [answer])[0].status == "saved"


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A disk of its own, where this machine lets one be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None:
        pytest.skip("no disk can be mounted here")
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk may be mounted by this user")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_stores_nothing_and_goes_on_once_there_is_room(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path, megabytes=6):
        workspace = make_workspace(tmp_path / "data")
        dataset_id = make_dataset(workspace, document=coco_document(images=60)).dataset_id
        make_proposals(workspace, dataset_id)
        grant = make_grant(workspace, dataset_id)
        (card,) = next_cards(workspace, grant, QueueQuery(limit=1)).cards
        answer = Answer("a-verdict", card.image_id, card.category_id, "present", card.proposal_id)
        filler = tmp_path / "filler"
        with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
            while True:
                stream.write(b"x" * 4096)
        with pytest.raises(DatabaseError, match="the disk is full and nothing was stored"):
            verdicts.decide(workspace, grant, [answer])
        with workspace.database.read() as session:
            assert session.scalar(select(func.count()).select_from(Decision)) == 0
        filler.unlink()
        assert verdicts.decide(workspace, grant, [answer])[0].status == "saved"
        workspace.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make_workspace(folder).close()
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[: len(tmp_path.relative_to(gettempdir()).parts) - 1]:
        parent.chmod(0o755)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with unprivileged(), pytest.raises(DatabaseError, match=r"cannot be used.*read-only"):
        make_workspace(folder)
    for path in (folder / "features", folder / "runs"):
        path.chmod(0o777)
    folder.chmod(0o755)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            errno.ENOSPC,
            "the disk is full: make room (`clsl runs NAME --delete ID` does) at /x, "
            "then start the job again",
        ),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_job_on_a_bad_disk_says_so(workspace: Workspace, code: int, message: str) -> None:
    def handler(_context: JobContext) -> dict[str, object]:
        raise OSError(code, os.strerror(code), "/x")

    job = workspace.jobs.submit(JobKind.DEMO, None)
    workspace.jobs.run(job.id, "worker:1", {JobKind.DEMO: handler})
    found = workspace.jobs.get(job.id)
    assert found.status is JobStatus.FAILED
    assert message in str(found.error)


def test_a_server_that_is_gone_is_said_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    url = f"postgresql://clsl:hidden@/clsl?host={tmp_path}"
    with pytest.raises(DatabaseError, match="cannot be reached") as caught:
        make_workspace(tmp_path / "data", database_url=url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("jump", [timedelta(hours=5), timedelta(hours=-5)])
def test_a_job_that_beats_is_left_alone_when_the_clock_jumps(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    monkeypatch.setattr(table, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(table, "WATCH_SECONDS", 1.0)
    swept: list[int] = []

    def handler(_context: JobContext) -> dict[str, object]:
        real = now
        monkeypatch.setattr(table, "now", lambda: real() + jump)
        swept.append(workspace.jobs.sweep())
        monkeypatch.setattr(table, "now", real)
        return {}

    job = workspace.jobs.submit(JobKind.DEMO, None)
    assert workspace.jobs.run(job.id, "cli:1", {JobKind.DEMO: handler})
    assert swept == [0]
    found = workspace.jobs.get(job.id)
    assert (found.status, found.attempts) == (JobStatus.SUCCEEDED, 1)


def test_a_dead_job_comes_back_though_its_clock_was_ahead(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "WATCH_SECONDS", 0.01)
    job = workspace.jobs.submit(JobKind.DEMO, None)
    with workspace.database.write() as session:
        ahead = now() + timedelta(days=300)
        session.execute(
            update(Job).values(status=JobStatus.RUNNING, owner="cli:1", heartbeat_at=ahead)
        )
    assert workspace.jobs.sweep() == 1
    assert workspace.jobs.get(job.id).status is JobStatus.QUEUED


def test_a_lease_of_a_clock_that_was_put_back_holds_nothing(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    ada, bob = (make_grant(workspace, dataset_id, name) for name in ("ada", "bob"))
    held = {card.proposal_id for card in next_cards(workspace, ada, QueueQuery(limit=100)).cards}
    assert next_cards(workspace, bob, QueueQuery(limit=100)).cards == []
    with workspace.database.write() as session:
        session.execute(update(Lease).values(expires_at=now() + timedelta(hours=5)))
    found = next_cards(workspace, bob, QueueQuery(limit=100)).cards
    assert {card.proposal_id for card in found} == held
