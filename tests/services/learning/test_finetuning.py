"""A training that fine-tunes the backbone first: the flow, and what happens after a kill."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from app import worker
from app.services.jobs.table import JobKind, JobView
from app.services.learning import embedding, finetuning, training
from app.services.learning.finetuning import FinetuneRequest
from app.services.workspace import Workspace
from clsl_core.types import Finetune
from db.models import Category, Dataset, EmbeddingRun, JobStatus, ModelRun
from tests.builders import coco_document, make_dataset
from tests.core.adaptation.test_finetune import VIT, checkpoints  # noqa: F401 - a fixture

REQUEST = FinetuneRequest(Finetune.FULL, epochs=2, image_size=32)
PAYLOAD = {"trigger": "by hand", "finetune": REQUEST.to_json()}


@pytest.fixture
def dataset_id(workspace: Workspace, checkpoints: Path) -> int:  # noqa: F811
    made = make_dataset(workspace, document=coco_document(images=12)).dataset_id
    embedding.embed(workspace, made, VIT, str(checkpoints / f"{VIT}.pt"))
    return made


def run(workspace: Workspace, dataset_id: int, payload: dict[str, Any] | None = None) -> Any:
    work = worker.handlers(workspace)
    return workspace.jobs.run_here(JobKind.TRAIN, dataset_id, payload or PAYLOAD, work)


def backbone_of(workspace: Workspace, dataset_id: int) -> tuple[str, str | None]:
    with workspace.database.read() as session:
        dataset = session.get_one(Dataset, dataset_id)
        return dataset.backbone, dataset.pretrained


def test_the_request_goes_through_a_jobs_payload() -> None:
    assert FinetuneRequest.from_payload(json.loads(json.dumps(PAYLOAD))) == REQUEST
    assert FinetuneRequest.from_payload({"trigger": "by hand"}).mode is Finetune.NONE


def test_a_tuned_backbone_is_embedded_with_and_trained_on(
    workspace: Workspace, dataset_id: int
) -> None:
    job = run(workspace, dataset_id)
    assert job.status is JobStatus.SUCCEEDED, job.error
    name, pretrained = backbone_of(workspace, dataset_id)
    path = Path(str(pretrained))
    assert name == VIT
    assert path.parent == workspace.data_dir / "backbones" / str(dataset_id)
    assert path.name in job.message
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with workspace.database.read() as session:
        old, new = session.query(EmbeddingRun).order_by(EmbeddingRun.id)
        assert new.spec["pretrained"] == str(path)
        assert old.backbone_key != new.backbone_key
        assert session.query(ModelRun).one().embedding_run_id == new.id
    # The next plain round goes on with it and makes nothing anew.
    embedding.embed(workspace, dataset_id)
    assert run(workspace, dataset_id, {"trigger": "by hand"}).status is JobStatus.SUCCEEDED
    with workspace.database.read() as session:
        assert session.query(EmbeddingRun).count() == 2


def test_tuned_weights_are_found_after_a_move(workspace: Workspace, dataset_id: int) -> None:
    outcome = finetuning.finetune_backbone(workspace, dataset_id, REQUEST)
    path = Path(outcome["pretrained"])
    with workspace.database.write() as session:
        session.get_one(Dataset, dataset_id).pretrained = f"/elsewhere/backbones/9/{path.name}"
    embedding.embed(workspace, dataset_id)
    assert backbone_of(workspace, dataset_id) == (VIT, str(path))
    with workspace.database.read() as session:
        run = session.query(EmbeddingRun).order_by(EmbeddingRun.id.desc()).first()
        run_id = run.id
        (cached,) = (workspace.data_dir / run.directory).glob("text-*.npy")
    with workspace.database.write() as session:
        run = session.get_one(EmbeddingRun, run_id)
        run.spec = {**run.spec, "pretrained": f"/elsewhere/{path.name}"}
    cached.unlink()
    assert embedding.text_vectors(workspace, run_id) is not None


def test_without_it_the_backbone_stays(workspace: Workspace, dataset_id: int) -> None:
    before = backbone_of(workspace, dataset_id)
    job = run(workspace, dataset_id, {"trigger": "by hand"})
    assert job.status is JobStatus.SUCCEEDED
    assert backbone_of(workspace, dataset_id) == before
    assert "finetuned" not in job.result


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.mark.parametrize("word", ["epoch 2 of 2", "embedding with", "training, epoch"])
def test_a_killed_job_is_taken_up_and_tunes_once(
    workspace: Workspace, dataset_id: int, word: str
) -> None:
    base = backbone_of(workspace, dataset_id)
    expected = finetuning.finetune_backbone(workspace, dataset_id, REQUEST)
    with workspace.database.write() as session:
        dataset = session.get_one(Dataset, dataset_id)
        dataset.backbone, dataset.pretrained = base

    def stop(done: int, total: int, message: str) -> None:
        if word in message:
            raise Killed

    job = workspace.jobs.submit(JobKind.TRAIN, dataset_id, PAYLOAD)
    context = Context(job, stop)
    with pytest.raises(Killed):
        training.run_train(workspace, context)
    with workspace.database.write() as session:  # people go on working meanwhile
        session.query(Category).order_by(Category.id).first().name = "renamed"
    seen: list[str] = []
    context = Context(job, lambda done, total, message: seen.append(message))
    result = training.run_train(workspace, context)
    assert result["finetuned"]["pretrained"] == expected["pretrained"]
    assert backbone_of(workspace, dataset_id)[1] == expected["pretrained"]
    epochs = {message for message in seen if message.startswith("fine-tuning")}
    assert ("reading labels" in seen) is (word == "epoch 2 of 2")
    left = {"fine-tuning, epoch 2 of 2"} if word == "epoch 2 of 2" else set()
    assert epochs == left


class Context:
    """What a handler is given."""

    def __init__(self, job: JobView, progress: Any) -> None:
        self.job, self.dataset_id, self.progress = job, job.dataset_id, progress


def test_failures_name_what_to_do(
    workspace: Workspace, dataset_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    payload = {"finetune": {**REQUEST.to_json(), "mode": "lora"}}
    job = run(workspace, dataset_id, payload)
    assert job.status is JobStatus.FAILED
    assert "clsl[finetune]" in str(job.error)
    with workspace.database.write() as session:
        session.get_one(Dataset, dataset_id).backbone = "builtin"
    job = run(workspace, dataset_id)
    assert job.status is JobStatus.FAILED
    assert "no weights to fine-tune" in str(job.error)
