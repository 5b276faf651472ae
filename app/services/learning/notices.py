"""What happened in the background, told to everybody who works here, once.

A notice is written in the transaction that it speaks of. What a person was shown is remembered
with the person, so that neither a reload nor another window shows it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.services.workspace import Workspace
from clsl_core.statistics.run_gate import GateDecision
from db.models import ModelRun, Notice
from db.queries import notices, people, stored

LIMIT = 20


@dataclass(frozen=True, slots=True)
class NoticeView:
    """One notice. ``good`` is False where something failed."""

    id: int
    dataset: str
    good: bool
    message: str
    created_at: datetime


def tell(session: Session, dataset_id: int, message: str, *, good: bool) -> None:
    """Add a notice in the caller's transaction."""
    stored.add(session, Notice(dataset_id=dataset_id, good=good, message=message))


def tell_of_run(session: Session, run: ModelRun, decision: GateDecision) -> None:
    """Say that a model run has finished, and how it compares with the one before."""
    if decision.decision == "keep":
        message = f"Model run {run.id} has finished but does not serve. {decision.reason}"
    elif decision.difference is None:
        message = f"Model run {run.id} has finished and serves. {decision.reason}"
    else:
        low, high = decision.low or 0.0, decision.high or 0.0
        message = (
            f"Model run {run.id} has finished and serves: mean average precision "
            f"{100 * decision.difference:+.1f} points on {decision.verdicts} held-out labels "
            f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f})."
        )
    tell(session, run.dataset_id, message, good=True)


def take(workspace: Workspace, annotator_name: str) -> list[NoticeView]:
    """What somebody was not told yet, oldest first; from now on they were.

    Args:
        workspace: Where.
        annotator_name: Whose; a name that nobody has decided under yet gets none.
    """
    with workspace.database.read() as session:
        annotator = people.by_name(session, annotator_name)
        if annotator is None or not notices.unseen(session, annotator, 1):
            return []
    with workspace.database.write() as session:
        annotator = people.by_name(session, annotator_name)
        found = [] if annotator is None else notices.unseen(session, annotator, LIMIT)
        if annotator is not None and found:
            annotator.notices_seen = found[-1][0].id
        return [
            NoticeView(one.id, dataset, one.good, one.message, one.created_at)
            for one, dataset in found
        ]
