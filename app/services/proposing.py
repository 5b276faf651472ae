"""Proposing: the newest model run's thoughts become a queue for people.

They become visible in one transaction at the very end, so a killed job leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.services import neighbours
from app.services.embedding import usable_features
from app.services.instant_table import InstantTable
from app.services.jobs import JobContext
from app.services.workspace import Workspace
from clsl_core.atomic import atomic_file
from clsl_core.errors import TrainingError
from clsl_core.types import JsonObject, LabelMatrix, LabelState, Progress, no_progress
from db.models import (
    Dataset,
    EmbeddingRun,
    ModelRun,
    Proposal,
    ProposalStatus,
)
from db.queries import datasets as dataset_queries
from db.queries import labels, proposals, runs

if TYPE_CHECKING:
    from clsl_core.features import FeatureView
    from clsl_core.predict import Recovery, Scores

PROPOSAL_BATCH = 5_000
SEED = 0


def run_propose(workspace: Workspace, context: JobContext) -> JsonObject:
    """Job handler of JobKind.PROPOSE."""
    return propose(workspace, context.dataset_id, context.progress)


def propose(workspace: Workspace, dataset_id: int, progress: Progress = no_progress) -> JsonObject:
    """Let the newest model run propose, then switch people over to it in one transaction.

    Raises:
        TrainingError: No model run has finished yet.
    """
    from clsl_core.predict import Recovery
    from clsl_core.propose import ProposeConfig
    from clsl_core.propose import propose as make_proposals

    progress(0, 1, "loading the model")
    with workspace.database.read() as session:
        dataset = session.get_one(Dataset, dataset_id)
        run = runs.latest_ready_run(session, dataset_id)
        if run is None or run.directory is None:
            raise TrainingError(
                f"{dataset.name!r} has no trained model yet: run `clsl train {dataset.name}` first"
            )
        embedding = session.get_one(EmbeddingRun, run.embedding_run_id)
        features, image_ids = usable_features(workspace, session, embedding)
        category_ids = [row.id for row in dataset_queries.categories(session, dataset_id)]
        known = LabelMatrix.from_triples(
            image_ids, category_ids, labels.triples(session, dataset_id)
        )
        settled = _settled(session, dataset_id, image_ids, category_ids)
        run_id, folder = run.id, workspace.data_dir / run.directory
    recovery = Recovery.load(folder / "model", workspace.settings.device)
    scores = recovery.predict(features, progress)
    made = make_proposals(scores, known.values, ProposeConfig(), SEED, settled)
    with atomic_file(folder / "heatmaps.npy") as file:
        np.save(file, made.heatmaps, allow_pickle=False)
    neighbours.store(folder, image_ids, _nearest(features))
    _instant_table(recovery, scores, features, image_ids, category_ids).save(folder)
    lots = np.random.default_rng(SEED).integers(2**31, size=len(made))
    rows = [
        {
            "model_run_id": run_id,
            "image_id": image_ids[row],
            "category_id": category_ids[column],
            "state": LabelState(int(state)),
            "score": float(score),
            "probability": None if np.isnan(probability) else float(probability),
            "control": bool(made.control[index]),
            "disputes": bool(made.disputes[index]),
            "status": ProposalStatus.DISPUTED if made.disputes[index] else ProposalStatus.OPEN,
            "turn": int(made.turns[index]),
            "lot": int(lots[index]),
            "heatmap_row": index,
        }
        for index, (row, column, state, score, probability) in enumerate(
            zip(
                made.rows,
                made.columns,
                made.states,
                made.scores,
                made.probabilities,
                strict=True,
            )
        )
    ]
    _write_proposals(workspace, dataset_id, run_id, rows, progress)
    return {"message": f"{len(rows)} proposals", "proposals": len(rows), "model_run": run_id}


def _instant_table(
    recovery: Recovery,
    scores: Scores,
    features: FeatureView,
    image_ids: Sequence[int],
    category_ids: Sequence[int],
) -> InstantTable:
    """What instant updates start from."""
    from clsl_core.views import logit

    order = np.argsort(np.asarray(image_ids, np.int64))
    calibration = np.zeros((0, 2), np.float32)
    if recovery.calibration is not None:
        calibration = recovery.calibration.weights.astype(np.float32)
    return InstantTable(
        image_ids=np.asarray(image_ids, np.int64)[order],
        category_ids=np.asarray(category_ids, np.int64),
        logits=logit(scores.values)[order].T.astype(np.float16),
        vectors=recovery.views.standardise(features.pooled())[order].astype(np.float16),
        calibration=calibration,
    )


def _settled(
    session: Session, dataset_id: int, image_ids: Sequence[int], category_ids: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """(N, C) disputes that a person has answered: they are not raised again."""
    rows = {id_: row for row, id_ in enumerate(image_ids)}
    columns = {id_: column for column, id_ in enumerate(category_ids)}
    settled = np.zeros((len(rows), len(columns)), np.bool_)
    for image_id, category_id in proposals.settled_disputes(session, dataset_id):
        if image_id in rows and category_id in columns:
            settled[rows[image_id], columns[category_id]] = True
    return settled


def _nearest(features: FeatureView) -> npt.NDArray[np.int64]:
    """(N, K) the images nearest to each, itself left out."""
    from clsl_core.index import NeighbourIndex

    pooled = features.pooled()
    pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9)
    _, found = NeighbourIndex(pooled).search(pooled, neighbours.COUNT + 1)
    others = [[near for near in row if near != own] for own, row in enumerate(found)]
    return np.asarray([row[: found.shape[1] - 1] for row in others], np.int64)


def _write_proposals(
    workspace: Workspace,
    dataset_id: int,
    run_id: int,
    rows: Sequence[JsonObject],
    progress: Progress,
) -> None:
    with workspace.database.write(dataset_id) as session:
        run = session.get_one(ModelRun, run_id)
        if run.serving:  # proposing again with the same run: take it from the screen first
            run.serving = False
        answered = runs.clear_for_proposing(session, run_id)
    rows = [row for row in rows if (row["image_id"], row["category_id"]) not in answered]
    for done in range(0, len(rows), PROPOSAL_BATCH):
        progress(done, len(rows), "storing proposals")
        with workspace.database.write(f"run {run_id}") as session:
            session.execute(insert(Proposal), rows[done : done + PROPOSAL_BATCH])
    with workspace.database.write(dataset_id) as session:
        runs.serve(session, session.get_one(ModelRun, run_id))
    while True:
        with workspace.database.write(dataset_id) as session:
            run = session.get_one(ModelRun, run_id)
            if not runs.delete_open_proposals_of_others(session, run, PROPOSAL_BATCH):
                break
    progress(len(rows), len(rows), "proposals are ready")
