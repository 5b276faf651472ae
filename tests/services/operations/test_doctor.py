"""The doctor finds what is wrong, says what to do, and mends what can be mended safely."""

import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, text, update

from app.services.importing.ingest import ImportRequest, import_file
from app.services.jobs import table
from app.services.jobs.table import JobKind, JobStatus
from app.services.operations import doctor
from app.services.operations.doctor import Finding
from app.services.reviewing import undo, verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.files import sha256_of
from db.models import Job, Label, Lease
from db.types import now
from tests.builders import make_collection, make_dataset, make_grant, make_proposals

DATA = ("database", "labels", "leases", "jobs", "stray folders", "left-over files", "secret")


def look(workspace: Workspace, check: str, *, fix: bool = False) -> Finding:
    found = {finding.check: finding for finding in doctor.examine(workspace.settings, fix=fix)}
    return found[check]


def make_old(path: Path, days: float = 30) -> None:
    for one in [*path.rglob("*"), path]:
        os.utime(one, (time.time() - days * 86400,) * 2)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "WATCH_SECONDS", 0.01)


def test_what_is_whole_is_called_so(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    grant = make_grant(workspace, dataset_id)
    first, second, *_ = next_cards(workspace, grant, QueueQuery()).cards
    for card, words in ((first, ["present", "absent"]), (second, ["skip", "absent"])):
        for verdict in words:
            answer = Answer(
                f"{verdict}-client-{card.proposal_id}", card.image_id, card.category_id, verdict
            )
            assert verdicts.decide(workspace, grant, [answer])[0].status == "saved"
    undo.undo(workspace, grant, "undo-id-1", f"absent-client-{first.proposal_id}")
    found = {finding.check: finding for finding in doctor.examine(workspace.settings)}
    assert [found[check] for check in DATA if not found[check].ok] == []


def test_labels_that_contradict_their_decision(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    grant = make_grant(workspace, dataset_id)
    card = next_cards(workspace, grant, QueueQuery()).cards[0]
    verdicts.decide(
        workspace, grant, [Answer("client-id-1", card.image_id, card.category_id, "present")]
    )
    with workspace.database.write() as session:
        label = session.get_one(Label, (card.image_id, card.category_id))
        label.state = type(label.state)(-1)
    assert "1 labels are not what" in look(workspace, "labels", fix=True).found
    with workspace.database.write() as session:
        session.delete(session.get_one(Label, (card.image_id, card.category_id)))
    assert "1 verdicts have no label" in look(workspace, "labels").found


def test_leases_jobs_and_files_are_mended(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    grant = make_grant(workspace, dataset_id)
    job = workspace.jobs.submit(JobKind.DEMO, None)
    with workspace.database.write() as session:
        session.execute(
            insert(Lease),
            [
                {
                    "image_id": image,
                    "category_id": 1,
                    "annotator_id": grant.annotator_id,
                    "expires_at": now() + timedelta(days=image - 2),
                }
                for image in (1, 3)
            ],
        )
        session.execute(
            update(Job).values(
                status=JobStatus.RUNNING, owner="cli:1", heartbeat_at=now() - timedelta(hours=1)
            )
        )
    stray = workspace.data_dir / "runs" / "7" / "9"
    stray.mkdir(parents=True)
    (stray / "x").write_text("x")
    make_old(stray)
    young = workspace.data_dir / "runs" / "7" / "10"
    young.mkdir()
    for name in ("features/1/.x.partial", "uploads/old.json", "uploads/waits.json"):
        path = workspace.data_dir / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        make_old(path)
    workspace.jobs.submit(JobKind.IMPORT, None, {"file": "uploads/waits.json"})
    (workspace.data_dir / "secret.key").chmod(0o644)
    before = {c: look(workspace, c) for c in ("leases", "jobs", "stray folders", "secret")}
    assert not any(finding.ok for finding in before.values())
    assert all("clsl doctor --fix" in finding.found for finding in before.values())
    assert "2 of interrupted work" in look(workspace, "left-over files").found
    assert "mended" in look(workspace, "leases", fix=True).found
    assert all(look(workspace, check).ok for check in (*before, "left-over files"))
    assert workspace.jobs.get(job.id).status is JobStatus.QUEUED
    assert not stray.exists()
    assert young.exists()
    assert (workspace.data_dir / "uploads" / "waits.json").exists()
    assert not (workspace.data_dir / "uploads" / "old.json").exists()
    assert (workspace.data_dir / "secret.key").stat().st_mode & 0o777 == 0o600


def test_unpacked_archives_go_only_when_nobody_needs_them(workspace: Workspace) -> None:
    collections = workspace.data_dir / "collections"
    for name in ("unused", "young", "waits", ".killed.partial"):
        (collections / name / "images").mkdir(parents=True)
    file, _ = make_collection(collections / "used")
    root = collections / "used" / "images"
    import_file(workspace, ImportRequest(str(file), str(root), "set"))
    workspace.jobs.submit(JobKind.IMPORT, None, {"image_root": str(collections / "waits")})
    for name in ("unused", "used", "waits", ".killed.partial"):
        make_old(collections / name)
    assert "2 of interrupted work" in look(workspace, "left-over files").found
    assert look(workspace, "left-over files", fix=True).ok
    assert {path.name for path in collections.iterdir()} == {"young", "waits", "used"}


def test_a_checkpoint_with_another_checksum(workspace: Workspace) -> None:
    run = make_proposals(workspace, make_dataset(workspace).dataset_id)
    folder = workspace.data_dir / "runs" / "1" / "1" / "model"
    folder.mkdir(parents=True)
    (folder / "w.safetensors").write_bytes(b"weights")
    digest = sha256_of(folder / "w.safetensors")
    note = {"tensors": "w.safetensors", "sha256": digest}
    (folder / "recovery.json").write_text(json.dumps(note))
    with workspace.database.write() as session:
        found = session.get_one(type(run), run.id)
        found.directory, found.checksum = "runs/1/1", digest
    assert look(workspace, "checkpoints").found == "1 model runs, all checksums right"
    (folder / "w.safetensors").write_bytes(b"other")
    finding = look(workspace, "checkpoints")
    assert (finding.ok, "training again" in finding.found) == (False, True)


def test_a_damaged_file_is_found(workspace: Workspace, backend: str) -> None:
    if backend != "sqlite":
        pytest.skip("PostgreSQL checks its own pages")
    with workspace.database.write() as session:
        session.execute(text("PRAGMA writable_schema = ON"))
        session.execute(
            text("UPDATE sqlite_schema SET rootpage = 1000000 WHERE name = 'ix_lease_expires_at'")
        )
    workspace.database.close()
    wrong = [finding.found for finding in doctor.examine(workspace.settings) if not finding.ok]
    assert any("damaged" in found and "clsl restore" in found for found in wrong)
