"""Training: the recovery model learns from all that is known now."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from app.services.embedding import embed, embedding_in_use, text_vectors, usable_features
from app.services.finetuning import FinetuneRequest, finetune_backbone, forget_job
from app.services.jobs import JobContext
from app.services.workspace import Workspace
from clsl_core.errors import ClslError, InputError
from clsl_core.types import Finetune, JsonObject, LabelMatrix, LabelState, Progress, no_progress
from db.models import (
    Dataset,
    ModelRun,
    RunStatus,
)
from db.queries import datasets as dataset_queries
from db.queries import decisions, labels, runs
from db.types import now

if TYPE_CHECKING:
    from clsl_core.features import FeatureView
    from clsl_core.predict import Recovery

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
    """What a training learns from, read in one transaction."""

    matrix: LabelMatrix
    features: FeatureView
    run_id: int
    embedding_run_id: int
    parent_directory: str | None


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
    from clsl_core.train import TrainConfig, fit

    progress(0, 1, "reading labels and features")
    config = TrainConfig(seed=SEED)
    snapshot = _begin_training(workspace, dataset_id, trigger, job_id, config)
    folder = workspace.data_dir / _run_folder(dataset_id, snapshot.run_id)
    try:
        text = text_vectors(workspace, snapshot.embedding_run_id)
        recovery = fit(
            snapshot.features,
            snapshot.matrix.values,
            category_vectors=text.categories if text else None,
            background_vectors=text.background if text else None,
            text=text is not None,
            config=config,
            progress=progress,
            resume_dir=folder / "resume",
            warm_start=_parent(workspace, snapshot.parent_directory),
            device=workspace.settings.device,
        )
        recovery.save(folder / "model")
    except ClslError as error:
        _fail_run(workspace, snapshot.run_id, str(error))
        raise
    _finish_training(workspace, dataset_id, snapshot.run_id, recovery)
    shutil.rmtree(folder / "resume", ignore_errors=True)
    return {"message": f"model run {snapshot.run_id} trained", "model_run": snapshot.run_id}


def _parent(workspace: Workspace, directory: str | None) -> Recovery | None:
    """The model to start from; None (a cold start) when there is none or it cannot be read."""
    from clsl_core.predict import Recovery

    if directory is None:
        return None
    try:
        return Recovery.load(workspace.data_dir / directory, workspace.settings.device)
    except InputError as error:
        log.warning("training starts cold: %s", error)
        return None


def _run_folder(dataset_id: int, run_id: int) -> str:
    return f"runs/{dataset_id}/{run_id}"


def _begin_training(
    workspace: Workspace, dataset_id: int, trigger: str, job_id: int | None, config: Any
) -> _Snapshot:
    with workspace.database.write(dataset_id) as session:
        dataset = session.get_one(Dataset, dataset_id)
        embedding = embedding_in_use(session, dataset)
        features, image_ids = usable_features(workspace, session, embedding)
        category_ids = [row.id for row in dataset_queries.categories(session, dataset_id)]
        matrix = LabelMatrix.from_triples(
            image_ids, category_ids, labels.triples(session, dataset_id)
        )
        seen, last = (
            runs.last_decision_seen(session, dataset_id),
            decisions.last_id(session, dataset_id),
        )
        parent = runs.latest_ready_run(session, dataset_id)
        if parent is not None and parent.embedding_run_id != embedding.id:
            parent = None
        run = None if job_id is None else runs.run_of_job(session, job_id)
        if run is None:
            run = ModelRun(
                dataset_id=dataset_id,
                job_id=job_id,
                trigger=trigger,
                new_decisions=decisions.count_after(session, dataset_id, seen),
                seed=config.seed,
                code_version=code_version(),
                config=json.loads(config.to_json()),
            )
            session.add(run)
        run.embedding_run_id = embedding.id
        run.parent_id = parent.id if parent else None
        run.status, run.error = RunStatus.RUNNING, None
        run.last_decision_id = last
        run.known_present = int((matrix.values == LabelState.PRESENT).sum())
        run.known_absent = int((matrix.values == LabelState.ABSENT).sum())
        session.flush()
        parent_directory = f"{parent.directory}/model" if parent and parent.directory else None
        return _Snapshot(matrix, features, run.id, embedding.id, parent_directory)


def _finish_training(
    workspace: Workspace, dataset_id: int, run_id: int, recovery: Recovery
) -> None:
    with workspace.database.write(dataset_id) as session:
        run = session.get_one(ModelRun, run_id)
        run.status, run.finished_at = RunStatus.READY, now()
        run.directory = _run_folder(dataset_id, run_id)
        saved = workspace.data_dir / run.directory / "model" / "recovery.json"
        run.checksum = json.loads(saved.read_text("utf-8"))["sha256"]
        run.metrics, run.curves = recovery.metrics, recovery.curves
        run.device = str(next(recovery.head.parameters()).device)


def _fail_run(workspace: Workspace, run_id: int, message: str) -> None:
    with workspace.database.write(f"run {run_id}") as session:
        run = session.get_one(ModelRun, run_id)
        run.status, run.error, run.finished_at = RunStatus.FAILED, message, now()
