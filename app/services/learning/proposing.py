"""Proposing: a model run's thoughts become a queue for people, if the gate lets it.

They become visible in one transaction at the very end, so a killed job leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.services.instant.tables import InstantTable
from app.services.jobs.table import JobContext
from app.services.learning import gate, neighbours, notices
from app.services.learning.embedding import usable_features
from app.services.learning.pruning import prune
from app.services.workspace import Workspace
from clsl_core.errors import InputError, NotFoundError, TrainingError
from clsl_core.files import atomic_file
from clsl_core.statistics.run_gate import GateDecision
from clsl_core.types import JsonObject, LabelMatrix, LabelState, Progress, no_progress
from db.models import (
    Dataset,
    EmbeddingRun,
    ModelRun,
    Proposal,
    ProposalStatus,
    RunStatus,
)
from db.queries import datasets, labels, proposals, runs, stored

if TYPE_CHECKING:
    from clsl_core.features import FeatureView
    from clsl_core.recovery.model import Recovery, Scores

PROPOSAL_BATCH = 5_000
SWEEP_BATCH = 500
"""Whoever gives a verdict waits while so many are removed."""
SEED = 0


def run_propose(workspace: Workspace, context: JobContext) -> JsonObject:
    """Job handler of JobKind.PROPOSE."""
    payload = context.job.payload
    result = propose(
        workspace,
        context.dataset_id,
        context.progress,
        model_run=payload.get("model_run"),
        ordered=bool(payload.get("ordered")),
    )
    prune(workspace, context.dataset_id)
    return result


@dataclass(frozen=True)
class _Task:
    """A run that is to propose, with what it needs, read in one transaction.

    Attributes:
        serving_id: The run that serves now.
        columns: (K,) places, among the run's own categories, of those that still exist.
        known: Labels (N, K).
        settled: (N, K) disputes that a person has answered.
    """

    dataset_id: int
    run_id: int
    folder: Path
    serving_id: int | None
    features: FeatureView
    own_categories: int
    columns: npt.NDArray[np.int64]
    known: LabelMatrix
    settled: npt.NDArray[np.bool_]


def propose(
    workspace: Workspace,
    dataset_id: int,
    progress: Progress = no_progress,
    *,
    model_run: int | None = None,
    ordered: bool = False,
) -> JsonObject:
    """Let a model run propose, then switch people over to it in one transaction.

    A run that is worse than the serving one on held-out labels, or that would take the place of a
    pinned one, is kept and does not serve; see ``gate``.

    Args:
        workspace: Where.
        dataset_id: The dataset.
        progress: Called often; what it raises stops the work before the switch.
        model_run: Id of the run; by default the newest one not judged yet, else the serving one.
        ordered: A person asked for this run: it serves whatever the gate says.

    Raises:
        TrainingError: No model run has finished yet.
        NotFoundError: There is no such run.
        InputError: The run's files are missing or damaged.
    """
    progress(0, 1, "loading the model")
    task = _read_task(workspace, dataset_id, model_run)
    decision = None
    if task.run_id != task.serving_id and not ordered:
        decision = gate.judge(workspace, task.run_id, task.serving_id)
        pin = _pinned(workspace, dataset_id, task.run_id)
        if pin is not None:
            reason = f"Run {pin} is pinned, so this one does not serve. {decision.reason}"
            decision = replace(decision, decision="keep", reason=reason)
        if decision.decision == "keep":
            return _keep_back(workspace, task, decision)
    made = _make_proposals(workspace, task, progress)
    switch = _Switch(task, decision, ordered)
    if task.run_id == task.serving_id:
        _replace_proposals(workspace, switch, made)
    else:
        served = _add_proposals(workspace, switch, made, progress)
        if not served:
            message = (
                f"model run {task.run_id} is kept and does not serve: another one was put in "
                "charge or pinned meanwhile"
            )
            return {"message": message, "served": False, "model_run": task.run_id}
    _sweep_old(workspace, task)
    progress(len(made.rows), len(made.rows), "proposals are ready")
    return {
        "message": f"{len(made.rows)} proposals",
        "proposals": len(made.rows),
        "served": True,
        "model_run": task.run_id,
    }


def _read_task(workspace: Workspace, dataset_id: int, run_id: int | None) -> _Task:
    with workspace.database.read() as session:
        dataset = stored.one(session, Dataset, dataset_id)
        if run_id is None:
            run = runs.run_to_propose(session, dataset_id)
        else:
            run = find_run(session, dataset_id, run_id)
        if run is None or run.directory is None or run.status is not RunStatus.READY:
            raise TrainingError(
                f"{dataset.name!r} has no trained model yet: run `clsl train {dataset.name}` first"
                if run is None
                else f"model run {run.id} has not finished, or its files were removed: it cannot "
                "propose"
            )
        embedding = stored.one(session, EmbeddingRun, run.embedding_run_id)
        features, image_ids = usable_features(workspace, session, embedding)
        present = [row.id for row in datasets.categories(session, dataset_id)]
        own = list(run.snapshot.get("categories", present))
        columns = [place for place, id_ in enumerate(own) if id_ in set(present)]
        category_ids = [own[place] for place in columns]
        known = LabelMatrix.from_triples(
            image_ids, category_ids, labels.triples(session, dataset_id)
        )
        settled = _settled(session, dataset_id, image_ids, category_ids)
        serving = runs.serving_run(session, dataset_id)
        return _Task(
            dataset_id,
            run.id,
            workspace.data_dir / run.directory,
            serving.id if serving else None,
            features,
            len(own),
            np.asarray(columns, np.int64),
            known,
            settled,
        )


@dataclass(frozen=True)
class _Made:
    """Proposals as rows of the table, and their heat maps."""

    rows: list[JsonObject]
    heatmaps: npt.NDArray[np.uint8]


def _make_proposals(workspace: Workspace, task: _Task, progress: Progress) -> _Made:
    """Score every pair with the task's run and choose what to propose."""
    from clsl_core.compute import explained
    from clsl_core.recovery import ranking
    from clsl_core.recovery.model_file import load_recovery

    recovery = load_recovery(task.folder / "model", workspace.settings.device)
    if recovery.category_count != task.own_categories:
        raise InputError(
            f"model run {task.run_id} knows {recovery.category_count} categories, expected "
            f"{task.own_categories}: the categories have changed since; train again"
        )
    with explained("scoring images"):
        scores = _of_categories(recovery.predict(task.features, progress), task.columns)
        progress(len(task.features), len(task.features), "choosing what to propose")
        made = ranking.propose(
            scores, task.known.values, ranking.ProposeConfig(), SEED, task.settled
        )
    image_ids = task.known.image_ids.tolist()
    category_ids = task.known.category_ids.tolist()
    progress(len(task.features), len(task.features), "finding images that look alike")
    neighbours.store(task.folder, image_ids, _nearest(task.features))
    _instant_table(recovery, scores, task.features, task).save(task.folder)
    lots = np.random.default_rng(SEED).integers(2**31, size=len(made))
    parts = zip(made.rows, made.columns, made.states, made.scores, made.probabilities, strict=True)
    rows = [
        {
            "model_run_id": task.run_id,
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
        for index, (row, column, state, score, probability) in enumerate(parts)
    ]
    return _Made(rows, made.heatmaps)


def _of_categories(scores: Scores, columns: npt.NDArray[np.int64]) -> Scores:
    """The scores of some categories, in their order."""
    from clsl_core.recovery.model import Scores

    heat = scores.heat
    return Scores(
        scores.values[:, columns],
        None if scores.probability is None else scores.probability[:, columns],
        None if heat is None else lambda rows, places: heat(rows, columns[places]),
    )


def _instant_table(
    recovery: Recovery, scores: Scores, features: FeatureView, task: _Task
) -> InstantTable:
    """What instant updates start from."""
    from clsl_core.arrays import logit

    image_ids = task.known.image_ids
    order = np.argsort(image_ids)
    calibration = np.zeros((0, 2), np.float32)
    if recovery.calibration is not None:
        calibration = recovery.calibration.weights[task.columns].astype(np.float32)
    return InstantTable(
        image_ids=image_ids[order],
        category_ids=task.known.category_ids,
        logits=logit(scores.values)[order].T.astype(np.float16),
        vectors=recovery.base_models.standardise(features.pooled())[order].astype(np.float16),
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
    from clsl_core.recovery.neighbours import NeighbourIndex

    pooled = features.pooled()
    pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9)
    _, found = NeighbourIndex(pooled).search(pooled, neighbours.COUNT + 1)
    others = [[near for near in row if near != own] for own, row in enumerate(found)]
    return np.asarray([row[: found.shape[1] - 1] for row in others], np.int64)


@dataclass(frozen=True)
class _Switch:
    """Who takes over, and why; ``ordered`` by a person."""

    task: _Task
    decision: GateDecision | None
    ordered: bool


def _pinned(workspace: Workspace, dataset_id: int, run_id: int) -> int | None:
    """Id of another run that is pinned."""
    with workspace.database.read() as session:
        serving = runs.serving_run(session, dataset_id)
        return serving.id if serving and serving.pinned and serving.id != run_id else None


def _keep_back(workspace: Workspace, task: _Task, decision: GateDecision) -> JsonObject:
    """Note why a run does not serve."""
    with workspace.database.write(task.dataset_id) as session:
        run = stored.one(session, ModelRun, task.run_id)
        run.gate = gate.record(decision, task.serving_id)
        notices.tell_of_run(session, run, decision)
    message = f"model run {task.run_id} is kept and does not serve: {decision.reason}"
    return {"message": message, "served": False, "model_run": task.run_id}


def _replace_proposals(workspace: Workspace, switch: _Switch, made: _Made) -> None:
    """The serving run proposes again: everything at once, so that nobody sees it without."""
    with workspace.database.write(switch.task.dataset_id) as session:
        run = stored.one(session, ModelRun, switch.task.run_id)
        rows = _to_add(made.rows, runs.clear_for_proposing(session, run))
        proposals.add(session, rows)
        runs.close_answered(session, run)
        _store_heatmaps(switch.task, made)
    workspace.database.analyse(Proposal)


def _add_proposals(workspace: Workspace, switch: _Switch, made: _Made, progress: Progress) -> bool:
    """Store a run's proposals, which nobody sees, then put it in charge.

    Returns:
        False when a person put another run in charge since the task was read.
    """
    task = switch.task
    with workspace.database.write(task.dataset_id) as session:
        kept = runs.clear_for_proposing(session, stored.one(session, ModelRun, task.run_id))
    _store_heatmaps(task, made)
    rows = _to_add(made.rows, kept)
    for done in range(0, len(rows), PROPOSAL_BATCH):
        progress(done, len(rows), "storing proposals")
        with workspace.database.write(f"run {task.run_id}") as session:
            proposals.add(session, rows[done : done + PROPOSAL_BATCH])
    workspace.database.analyse(Proposal)
    with workspace.database.write(task.dataset_id) as session:
        run = stored.one(session, ModelRun, task.run_id)
        if not switch.ordered and _taken(session, run.dataset_id, task.serving_id):
            reason = "Another run was put in charge or pinned while this one proposed."
            run.gate = gate.record(GateDecision("keep", reason), task.serving_id)
            return False
        runs.serve(session, run)
        if switch.decision is not None:
            run.gate = gate.record(switch.decision, task.serving_id)
            notices.tell_of_run(session, run, switch.decision)
        elif run.gate is not None and run.gate["decision"] == "keep":
            run.gate = {**run.gate, "overridden": True}
    return True


def _taken(session: Session, dataset_id: int, expected: int | None) -> bool:
    """Whether a person has put another run in charge, or pinned the one that was."""
    serving = runs.serving_run(session, dataset_id)
    return serving is not None and (serving.id != expected or serving.pinned)


def _sweep_old(workspace: Workspace, task: _Task) -> None:
    """Remove what the runs before have proposed and nobody answered, a part at a time."""
    while True:
        with workspace.database.write(task.dataset_id) as session:
            run = stored.one(session, ModelRun, task.run_id)
            before = task.serving_id
            if not runs.delete_open_proposals_of_others(session, run, SWEEP_BATCH, before):
                return


def _store_heatmaps(task: _Task, made: _Made) -> None:
    with atomic_file(task.folder / "heatmaps.npy") as file:
        np.save(file, made.heatmaps, allow_pickle=False)


def _to_add(rows: Sequence[JsonObject], kept: runs.Kept) -> list[JsonObject]:
    """What is not there yet; the control arm is drawn from images that it was not drawn from."""
    return [
        row | {"control": row["control"] and row["image_id"] not in kept.images}
        for row in rows
        if (row["image_id"], row["category_id"]) not in kept.pairs
    ]


def find_run(session: Session, dataset_id: int, run_id: int) -> ModelRun:
    """A model run of a dataset.

    Raises:
        NotFoundError: There is none with this id.
    """
    run = stored.find(session, ModelRun, run_id)
    if run is None or run.dataset_id != dataset_id:
        raise NotFoundError(f"there is no model run {run_id} of this dataset")
    return run
