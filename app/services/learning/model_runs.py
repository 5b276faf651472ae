"""Model runs as people handle them: look at, compare, put in charge, pin, delete.

None of it touches what people said: verdicts and labels stay as they are. A verdict on a proposal
of a deleted run stays too, and no longer names the proposal it answered.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.services.access import rights
from app.services.access.rights import Right
from app.services.jobs.table import JobView, add_job, view_of
from app.services.learning import gate
from app.services.learning.proposing import find_run
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import ConflictError
from clsl_core.statistics.run_gate import GateDecision
from clsl_core.types import JsonObject
from db.models import JobKind, ModelRun, RunStatus
from db.queries import jobs, runs, stored


@dataclass(frozen=True, slots=True)
class ModelRunView:
    """One training with what came of it.

    Attributes:
        new_decisions: Verdicts since the training before.
        decisions: Verdicts that stood when it read the labels; None for runs of old versions.
        last_decision: Id of the newest decision that it learned from.
        gate: Why it serves or does not; None until that was judged.
        pruned: Its files are removed: it cannot serve any more.
        seconds: Work of the attempt that finished it.
        peak_memory, peak_gpu_memory: Bytes.
    """

    id: int
    status: str
    serving: bool
    pinned: bool
    pruned: bool
    trigger: str
    parent: int | None
    new_decisions: int
    decisions: int | None
    last_decision: int
    images: int | None
    known_present: int
    known_absent: int
    backbone: str
    device: str | None
    seconds: float | None
    peak_memory: int | None
    peak_gpu_memory: int | None
    seed: int
    code_version: str
    checksum: str | None
    metrics: JsonObject
    curves: list[dict[str, Any]]
    config: JsonObject
    gate: JsonObject | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None

    @property
    def state(self) -> str:
        """What it is in a word or two."""
        if self.serving:
            return "serves, pinned" if self.pinned else "serves"
        words = {"ready": "trained", "running": "is trained"}
        if self.gate is not None:
            words["ready"] = "kept back" if self.gate["decision"] == "keep" else "served before"
        word = words.get(self.status, self.status)
        return f"{word}, without files" if self.pruned else word


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of two runs; None where a run has none."""

    name: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        metrics: Numbers of both, on what each held out itself.
        config: Settings in which they differ.
        paired: The second against the first on the same labels that neither had learned from.
    """

    first: ModelRunView
    second: ModelRunView
    metrics: tuple[Difference, ...]
    config: tuple[Difference, ...]
    paired: GateDecision


def all_runs(workspace: Workspace, name: str) -> list[ModelRunView]:
    """Every training of a dataset, newest first.

    Raises:
        NotFoundError: There is no such dataset.
    """
    with workspace.database.read() as session:
        found = runs.model_runs(session, find_dataset(session, name).id)
        return [_view(session, run) for run in found]


def compare(workspace: Workspace, dataset_id: int, first_id: int, second_id: int) -> Comparison:
    """Put two runs side by side.

    Raises:
        NotFoundError: One of them is not there.
    """
    with workspace.database.read() as session:
        first, second = (
            _view(session, find_run(session, dataset_id, id_)) for id_ in (first_id, second_id)
        )
    measured = [_flat(run.metrics) for run in (first, second)]
    settings = [_flat({"seed": run.seed, **run.config}) for run in (first, second)]
    return Comparison(
        first,
        second,
        tuple(_differences(*measured)),
        tuple(one for one in _differences(*settings) if one.first != one.second),
        gate.judge(workspace, second_id, first_id),
    )


def put_in_charge(workspace: Workspace, dataset_id: int, run_id: int) -> JobView:
    """Let a run propose and serve, whatever the gate says: a roll back, or an override.

    It proposes anew from its checkpoint, for what is unknown by now; until that job's last
    transaction the run in charge stays so.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It serves already, has not finished, or another one is pinned.
    """
    rights.require(Right.MANAGE)
    with workspace.database.write() as session:
        payload = _order(session, dataset_id, run_id)
        job = add_job(session, JobKind.PROPOSE, dataset_id, payload)
        view = view_of(session, job)
    workspace.jobs.bell.ring(view.id)
    return view


def order(workspace: Workspace, dataset_id: int, run_id: int) -> JsonObject:
    """The payload of the job that puts a run in charge, for a process that runs it itself.

    Raises:
        NotFoundError: As for ``put_in_charge``.
        ConflictError: As for ``put_in_charge``.
    """
    with workspace.database.read() as session:
        return _order(session, dataset_id, run_id)


def _order(session: Session, dataset_id: int, run_id: int) -> JsonObject:
    run = find_run(session, dataset_id, run_id)
    serving = runs.serving_run(session, dataset_id)
    if run.serving:
        raise ConflictError(f"model run {run_id} serves already")
    if run.status is not RunStatus.READY:
        raise ConflictError(f"model run {run_id} is {run.status.value}: it cannot serve")
    if run.directory is None:
        raise ConflictError(
            f"the files of model run {run_id} were removed, as of all but the newest "
            "(CLSL_KEEP_RUNS): it cannot serve again"
        )
    if serving is not None and serving.pinned:
        raise ConflictError(f"model run {serving.id} is pinned: unpin it first")
    if jobs.proposes(session, run):
        raise ConflictError(f"model run {run_id} is proposing already")
    return {"trigger": "by hand", "model_run": run_id, "ordered": True}


def pin(workspace: Workspace, dataset_id: int, run_id: int) -> None:
    """Keep the serving run in charge: later ones are trained and kept, until it is unpinned.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It does not serve.
    """
    rights.require(Right.MANAGE)
    with workspace.database.write() as session:
        run = find_run(session, dataset_id, run_id)
        if not run.serving:
            raise ConflictError(f"model run {run_id} does not serve: put it in charge first")
        run.pinned = True


def unpin(workspace: Workspace, dataset_id: int, run_id: int) -> None:
    """Let the next run that is not worse take over again.

    Raises:
        NotFoundError: There is no such run.
    """
    rights.require(Right.MANAGE)
    with workspace.database.write() as session:
        find_run(session, dataset_id, run_id).pinned = False


def delete(workspace: Workspace, dataset_id: int, run_id: int) -> None:
    """Remove a run with its proposals and files.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It serves, or a job works on it.
    """
    rights.require(Right.MANAGE)
    with workspace.database.write() as session:
        run = find_run(session, dataset_id, run_id)
        if run.serving:
            raise ConflictError(f"model run {run_id} serves: put another one in charge first")
        if jobs.is_at_work(session, run):
            raise ConflictError(f"a job works on model run {run_id}: wait for it, or cancel it")
        stored.remove(session, run)
    shutil.rmtree(workspace.data_dir / f"runs/{dataset_id}/{run_id}", ignore_errors=True)


def _view(session: Session, run: ModelRun) -> ModelRunView:
    return ModelRunView(
        id=run.id,
        status=run.status.value,
        serving=run.serving,
        pinned=run.pinned,
        pruned=run.status is RunStatus.READY and run.directory is None,
        trigger=run.trigger,
        parent=run.parent_id,
        new_decisions=run.new_decisions,
        decisions=run.snapshot.get("decisions"),
        last_decision=run.last_decision_id,
        images=run.snapshot.get("images"),
        known_present=run.known_present,
        known_absent=run.known_absent,
        backbone=runs.backbone_name(session, run),
        device=run.device,
        seconds=run.seconds,
        peak_memory=run.peak_memory,
        peak_gpu_memory=run.peak_gpu_memory,
        seed=run.seed,
        code_version=run.code_version,
        checksum=run.checksum,
        metrics=run.metrics,
        curves=run.curves,
        config=run.config,
        gate=run.gate,
        error=run.error,
        created_at=run.created_at,
        finished_at=run.finished_at,
    )


def _flat(record: JsonObject, above: str = "") -> dict[str, Any]:
    """``{"loss": {"gamma": 2}}`` as ``{"loss.gamma": 2}``."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[above + name] = value
    return found


def _differences(first: dict[str, Any], second: dict[str, Any]) -> list[Difference]:
    names = list(dict.fromkeys([*first, *second]))
    return [Difference(name, first.get(name), second.get(name)) for name in names]
