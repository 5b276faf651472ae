"""Training: the recovery model learns from all that is known now."""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from app.services.jobs.table import JobContext
from app.services.learning import unseen
from app.services.learning.embedding import embed, embedding_in_use, text_vectors, usable_features
from app.services.learning.finetuning import FinetuneRequest, finetune_backbone, forget_job
from app.services.learning.pruning import prune
from app.services.runtime import peak_memory
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from clsl_core.types import Finetune, JsonObject, LabelMatrix, LabelState, Progress, no_progress
from db.models import (
    Dataset,
    ModelRun,
    RunStatus,
)
from db.queries import datasets, decisions, labels, runs, stored
from db.types import now

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from clsl_core.features import FeatureView
    from clsl_core.recovery.model import Recovery

log = logging.getLogger(__name__)

SEED = 0


def code_version() -> str:
    """The version of this program that a model run notes down."""
    try:
        return version("clsl")
    except PackageNotFoundError:
        return "source"


@dataclass(frozen=True)
class _Snapshot:
    """What a training learns from, read in one transaction.

    Attributes:
        parent_directory: Of the run to start from.
        same_places: That run's categories are the first ones of today's.
        fresh: It was not begun before by a job that was killed.
    """

    matrix: LabelMatrix
    features: FeatureView
    run_id: int
    embedding_run_id: int
    parent_directory: str | None
    same_places: bool
    fresh: bool


def run_train(workspace: Workspace, context: JobContext) -> JsonObject:
    """Job handler of JobKind.TRAIN; where it is asked for, the backbone is fine-tuned first."""
    payload, dataset_id, job_id = context.job.payload, context.dataset_id, context.job.id
    request = FinetuneRequest.from_payload(payload)
    tuned: JsonObject = {}
    if request.mode is not Finetune.NONE:
        tuned = finetune_backbone(workspace, dataset_id, request, job_id, context.progress)
        embed(workspace, dataset_id, progress=context.progress)
    trigger = str(payload.get("trigger", "by hand"))
    result = train(workspace, dataset_id, trigger, job_id, context.progress)
    prune(workspace, dataset_id)
    if not tuned:
        return result
    forget_job(workspace, dataset_id, job_id)
    message = f"{tuned['message']}; {result['message']}"
    return {**result, "message": message, "finetuned": tuned}


def train(
    workspace: Workspace,
    dataset_id: int,
    trigger: str = "by hand",
    job_id: int | None = None,
    progress: Progress = no_progress,
) -> JsonObject:
    """Fit the recovery model to all that is known now.

    Raises:
        TrainingError: The dataset is not embedded, or nothing is known and nothing can be
            guessed from category names.
    """
    from clsl_core.compute import explained
    from clsl_core.recovery.model_file import save_recovery
    from clsl_core.recovery.train import TrainConfig, fit

    progress(0, 1, "reading labels and features")
    began = time.monotonic()
    peak_memory.restart()
    config = TrainConfig(seed=SEED)
    snapshot = _begin_training(workspace, dataset_id, trigger, job_id, config)
    folder = workspace.data_dir / _run_folder(dataset_id, snapshot.run_id)
    if snapshot.fresh:
        # The newest run's id is given again once that run is deleted.
        shutil.rmtree(folder, ignore_errors=True)
    try:
        text = text_vectors(workspace, snapshot.embedding_run_id)
        with explained("training"):
            recovery = fit(
                snapshot.features,
                snapshot.matrix.values,
                category_vectors=text.categories if text else None,
                background_vectors=text.background if text else None,
                origins=_origins(workspace, dataset_id, snapshot.matrix),
                text=text is not None,
                config=config,
                progress=progress,
                resume_dir=folder / "resume",
                warm_start=_parent(workspace, snapshot, named=text is not None),
                device=workspace.settings.device,
            )
        save_recovery(recovery, folder / "model")
        _keep_unseen(workspace, snapshot, folder, recovery)
    except BaseException as error:
        # A job that ends in an error is not taken up again: nothing half-made stays.
        shutil.rmtree(folder, ignore_errors=True)
        _fail_run(workspace, snapshot.run_id, str(error) or type(error).__name__)
        raise
    _finish_training(workspace, dataset_id, snapshot.run_id, recovery, time.monotonic() - began)
    shutil.rmtree(folder / "resume", ignore_errors=True)
    return {"message": f"model run {snapshot.run_id} trained", "model_run": snapshot.run_id}


def _origins(workspace: Workspace, dataset_id: int, matrix: LabelMatrix) -> npt.NDArray[np.int8]:
    """(N, C) how each known label came to be known.

    Read after the labels themselves, since it takes long and nobody else could write meanwhile.
    """
    with workspace.database.read() as session:
        known = LabelMatrix.from_triples(
            matrix.image_ids.tolist(),
            matrix.category_ids.tolist(),
            (
                (image_id, category_id, int(origin))
                for image_id, category_id, _, origin in labels.with_origins(session, dataset_id)
            ),
        )
    return known.values


def _parent(workspace: Workspace, snapshot: _Snapshot, *, named: bool) -> Recovery | None:
    """The model to start from; None (a cold start) when there is none or it cannot be read.

    Categories that are not ``named`` by vectors are matched by place: once one is gone, the
    places mean others.
    """
    from clsl_core.recovery.model_file import load_recovery

    directory = snapshot.parent_directory
    if directory is None or not (named or snapshot.same_places):
        return None
    try:
        return load_recovery(workspace.data_dir / directory / "model", workspace.settings.device)
    except InputError as error:
        log.warning("training starts cold: %s", error)
        return None


def _keep_unseen(
    workspace: Workspace, snapshot: _Snapshot, folder: Path, recovery: Recovery
) -> None:
    """What the run said of labels it had not learned from, for the gate."""
    if recovery.unseen is None:
        return
    directory = snapshot.parent_directory
    parent = None if directory is None else unseen.load(workspace.data_dir / directory)
    matrix = snapshot.matrix
    unseen.store(
        folder, matrix.image_ids.tolist(), matrix.category_ids.tolist(), recovery.unseen, parent
    )


def _run_folder(dataset_id: int, run_id: int) -> str:
    return f"runs/{dataset_id}/{run_id}"


def _begin_training(
    workspace: Workspace, dataset_id: int, trigger: str, job_id: int | None, config: Any
) -> _Snapshot:
    with workspace.database.write(dataset_id) as session:
        dataset = stored.one(session, Dataset, dataset_id)
        embedding = embedding_in_use(session, dataset)
        features, image_ids = usable_features(workspace, session, embedding)
        category_ids = [row.id for row in datasets.categories(session, dataset_id)]
        matrix = LabelMatrix.from_triples(
            image_ids, category_ids, labels.triples(session, dataset_id)
        )
        run = None if job_id is None else runs.run_of_job(session, job_id)
        seen = runs.last_decision_seen(session, dataset_id, None if run is None else run.id)
        parent = _parent_run(session, dataset_id, embedding.id)
        fresh, last = run is None, decisions.last_id(session, dataset_id)
        new = decisions.count_after(session, dataset_id, seen)
        standing = decisions.count_after(session, dataset_id, 0)
        if run is None:
            run = ModelRun(dataset_id=dataset_id, job_id=job_id, trigger=trigger)
            run.seed, run.config = config.seed, json.loads(config.to_json())
        run.embedding_run_id = embedding.id
        run.parent_id = parent.id if parent else None
        run.code_version = code_version()
        run.status, run.error = RunStatus.RUNNING, None
        run.new_decisions, run.last_decision_id = new, last
        run.known_present = int((matrix.values == LabelState.PRESENT).sum())
        run.known_absent = int((matrix.values == LabelState.ABSENT).sum())
        run.snapshot = {
            "images": len(image_ids),
            "decisions": standing,
            "categories": category_ids,
        }
        stored.add(session, run)
        session.flush()
        directory = parent.directory if parent else None
        earlier = parent.snapshot.get("categories", []) if parent else []
        same = earlier == category_ids[: len(earlier)]
        return _Snapshot(matrix, features, run.id, embedding.id, directory, same, fresh)


def _parent_run(session: Session, dataset_id: int, embedding_run_id: int) -> ModelRun | None:
    """The run whose head the next one starts from: the one in charge, never one kept back."""
    run = runs.serving_run(session, dataset_id) or runs.latest_ready_run(session, dataset_id)
    if run is None or run.embedding_run_id != embedding_run_id:
        return None
    return run


def _finish_training(
    workspace: Workspace, dataset_id: int, run_id: int, recovery: Recovery, seconds: float
) -> None:
    with workspace.database.write(dataset_id) as session:
        run = stored.one(session, ModelRun, run_id)
        run.status, run.finished_at = RunStatus.READY, now()
        run.directory = _run_folder(run.dataset_id, run_id)
        saved = workspace.data_dir / run.directory / "model" / "recovery.json"
        run.checksum = json.loads(saved.read_text("utf-8"))["sha256"]
        run.metrics, run.curves = recovery.metrics, recovery.curves
        run.device = _device_name(next(recovery.head.parameters()).device)
        run.seconds = seconds
        run.peak_memory, run.peak_gpu_memory = peak_memory.of_process(), peak_memory.of_gpu()


def _device_name(device: torch.device) -> str:
    """``cpu``, or the GPU with its name."""
    import torch

    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def _fail_run(workspace: Workspace, run_id: int, message: str) -> None:
    with workspace.database.write(f"run {run_id}") as session:
        run = stored.one(session, ModelRun, run_id)
        run.status, run.error, run.finished_at = RunStatus.FAILED, message, now()
