"""Decisions and the labels they project to: always both in the caller's one transaction."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from clsl_core.types import LabelSource, LabelState
from db.models import (
    Annotator,
    Decision,
    Label,
    ModelRun,
    Proposal,
    ProposalStatus,
    Verdict,
)


def annotator(session: Session, name: str) -> Annotator:
    """The annotator of that name, made when new."""
    found = session.scalar(select(Annotator).where(Annotator.name == name))
    if found is None:
        found = Annotator(name=name)
        session.add(found)
        session.flush()
    return found


def by_client_id(session: Session, client_id: str) -> Decision | None:
    """The decision that a client sent under this id."""
    return session.scalar(select(Decision).where(Decision.client_id == client_id))


def count_after(session: Session, dataset_id: int, decision_id: int) -> int:
    """Verdicts on labels made after the given decision and not undone since."""
    query = select(func.count()).where(
        Decision.dataset_id == dataset_id,
        Decision.id > decision_id,
        Decision.verdict.in_((Verdict.PRESENT, Verdict.ABSENT)),
        Decision.undone_by_id.is_(None),
    )
    return session.scalar(query) or 0


def last_id(session: Session, dataset_id: int) -> int:
    """Id of the newest decision; 0 when there is none."""
    query = select(func.max(Decision.id)).where(Decision.dataset_id == dataset_id)
    return session.scalar(query) or 0


def apply(session: Session, decision: Decision) -> None:
    """Store a new decision and, unless it is a skip, write its label and close its proposals.

    The ``previous_*`` columns are filled in here, from the label as it is.
    """
    pair = (decision.image_id, decision.category_id)
    label = _store(session, decision)
    if decision.verdict is Verdict.SKIP:
        return
    if label is None:
        label = Label(image_id=pair[0], category_id=pair[1], provenance=None)
        session.add(label)
    label.state = decision.verdict.state
    label.source = LabelSource.HUMAN
    label.decision_id = decision.id
    _set_proposals(session, pair, ProposalStatus.DECIDED)
    session.flush()


def undo(session: Session, undo: Decision, undone: Decision) -> None:
    """Store an undo and put the label back exactly as the undone decision found it."""
    pair = (undone.image_id, undone.category_id)
    label = _store(session, undo)
    undone.undone_by_id = undo.id
    if undone.verdict is Verdict.SKIP:
        session.flush()
        return
    source = undone.previous_source
    if label is not None and source is None:
        session.delete(label)
        _set_proposals(session, pair, ProposalStatus.OPEN)
    elif label is not None and source is not None:
        label.state, label.source = undone.previous_state, source
        label.decision_id = undone.previous_decision_id
    session.flush()


def _store(session: Session, decision: Decision) -> Label | None:
    """Store a decision with the label as it found it; returns that label."""
    label = session.get(Label, (decision.image_id, decision.category_id))
    decision.previous_state = label.state if label else LabelState.UNKNOWN
    decision.previous_source = label.source if label else None
    decision.previous_decision_id = label.decision_id if label else None
    session.add(decision)
    session.flush()
    return label


def _set_proposals(session: Session, pair: tuple[int, int], status: ProposalStatus) -> None:
    """Close a pair's proposals in every run, or reopen them in the serving run."""
    query = update(Proposal).where(Proposal.image_id == pair[0], Proposal.category_id == pair[1])
    if status is ProposalStatus.OPEN:
        serving = select(ModelRun.id).where(ModelRun.serving)
        query = query.where(Proposal.model_run_id.in_(serving))
    session.execute(query.values(status=status))
