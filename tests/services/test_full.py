"""No room left, in memory or on the disk: a clear end, nothing half-written, and it goes on."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL.Image import Image as Pillow
from sqlalchemy import select

from app import worker
from app.services.jobs.table import JobKind, JobStatus, JobView
from app.services.learning import embedding, model_runs
from app.services.workspace import Workspace
from clsl_core.backbones import choice
from clsl_core.backbones.spec import BackboneSpec, FakeBackbone, ImageFeatures
from clsl_core.errors import TrainingError
from clsl_core.features import FeatureStore
from clsl_core.files import PARTIAL
from db.models import EmbeddingRun, RunStatus
from tests.builders import coco_document, make_dataset

IMAGES = 40


@pytest.fixture
def dataset_id(workspace: Workspace) -> int:
    document = coco_document(images=IMAGES)
    return make_dataset(workspace, document=document, grain=30.0).dataset_id


class NarrowBackbone(FakeBackbone):
    """A backbone on a device with room for a few pictures."""

    room = 3
    tried: list[int]

    def encode_images(self, images: Sequence[Pillow]) -> ImageFeatures:
        self.tried.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().encode_images(images)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> NarrowBackbone:
    made = NarrowBackbone()
    made.tried = []
    monkeypatch.setattr(choice, "choose_backbone", lambda *_: (made, None))
    return made


def test_pictures_are_read_in_smaller_batches(
    workspace: Workspace, dataset_id: int, narrow: NarrowBackbone
) -> None:
    assert embedding.embed(workspace, dataset_id)["images"] == IMAGES
    assert narrow.tried[:4] == [8, 4, 2, 2]
    assert sum(size for size in narrow.tried if size <= narrow.room) == IMAGES
    assert max(narrow.tried[2:]) == 2  # what fitted is kept


def test_a_picture_that_does_not_fit_alone_ends_the_embedding(
    workspace: Workspace, dataset_id: int, narrow: NarrowBackbone
) -> None:
    narrow.room = 0
    with pytest.raises(TrainingError, match="while reading pictures, even one image at a time"):
        embedding.embed(workspace, dataset_id)
    with workspace.database.read() as session:
        assert session.scalars(select(EmbeddingRun)).one().status is RunStatus.FAILED
    narrow.room = 9
    assert embedding.embed(workspace, dataset_id)["images"] == IMAGES


@contextmanager
def disk_full_after(writes: int) -> Iterator[list[int]]:
    """For a while a disk that takes so many files and no more; gives how many were refused."""
    refused: list[int] = []
    left = [writes]
    flush = os.fsync

    def fsync(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112 - a descriptor
            return flush(handle)
        left[0] -= 1
        if left[0] < 0:
            refused.append(handle)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return flush(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield refused


def run(workspace: Workspace, dataset_id: int, kind: JobKind) -> JobView:
    job = workspace.jobs.submit(kind, dataset_id)
    workspace.jobs.run(job.id, "worker:1", worker.handlers(workspace))
    return workspace.jobs.get(job.id)


def half_written(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.data_dir.rglob("*") if path.name.endswith(PARTIAL)]


@pytest.mark.second_order("kills and full disks")
@pytest.mark.slow
@pytest.mark.parametrize("kind", [JobKind.EMBED, JobKind.TRAIN, JobKind.PROPOSE])
def test_a_full_disk_ends_a_job_clearly_at_every_file(
    workspace: Workspace, dataset_id: int, kind: JobKind
) -> None:
    """However many files still fit: failed with the reason, whole afterwards, done in the end."""
    for earlier in (JobKind.EMBED, JobKind.TRAIN, JobKind.PROPOSE):
        if earlier is kind:
            break
        assert run(workspace, dataset_id, earlier).status is JobStatus.SUCCEEDED
    failures = 0
    for room in (0, 1, 2, 3, 5, 50):
        with disk_full_after(room) as refused:
            job = run(workspace, dataset_id, kind)
        assert half_written(workspace) == []
        if not refused:
            assert job.status is JobStatus.SUCCEEDED
            break
        failures += 1
        assert job.status is JobStatus.FAILED
        assert "No space left on device" in str(job.error)
        sound(workspace, dataset_id)
    assert failures >= 2
    assert job.status is JobStatus.SUCCEEDED
    if kind is JobKind.TRAIN:
        assert [one.status for one in model_runs.all_runs(workspace, "set")] == [
            "ready",
            *["failed"] * failures,
        ]


def sound(workspace: Workspace, dataset_id: int) -> None:
    """What is there can be read, and nothing stays in the state of being made."""
    with workspace.database.read() as session:
        for one in session.scalars(select(EmbeddingRun)):
            assert one.status is not RunStatus.RUNNING
            spec = BackboneSpec.from_json(one.spec)
            store = FeatureStore.open(workspace.data_dir / one.directory, spec)
            assert store.verify() == []
    for view in model_runs.all_runs(workspace, "set"):
        assert view.status != "running"
        if view.status == "failed":
            assert not (workspace.data_dir / f"runs/{dataset_id}/{view.id}").exists()


def test_a_full_disk_is_named_whoever_finds_it(workspace: Workspace, dataset_id: int) -> None:
    def fail(context: object) -> dict[str, object]:
        raise OSError(errno.ENOSPC, "No space left on device")

    job = workspace.jobs.submit(JobKind.TRAIN, dataset_id)
    workspace.jobs.run(job.id, "worker:1", {JobKind.TRAIN: fail})
    assert str(workspace.jobs.get(job.id).error).startswith("the disk is full: make room")
