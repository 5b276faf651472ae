"""Numbers for whoever watches the program: cheap at any size, and without a name."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import Base, Decision, Job, Lease, ModelRun, Proposal, ProposalStatus
from db.queries import runs


def answers(session: Session) -> None:
    """Ask the database for the least there is.

    Raises:
        sqlalchemy.exc.DBAPIError: It does not answer.
    """
    session.execute(select(1))


def jobs(session: Session) -> dict[tuple[str, str], int]:
    """How many jobs there are by kind and status."""
    query = select(Job.kind, Job.status, func.count()).group_by(Job.kind, Job.status)
    return {(row[0].value, row[1].value): row[2] for row in session.execute(query)}


def newest_decision(session: Session) -> int:
    """Id of the newest decision of all: it grows with each."""
    return session.scalar(select(func.max(Decision.id))) or 0


def leases(session: Session, moment: datetime) -> int:
    """How many pairs are shown to somebody."""
    query = select(func.count()).select_from(Lease).where(Lease.expires_at > moment)
    return session.scalar(query) or 0


def open_proposals(session: Session) -> int:
    """How many proposals of serving runs wait for an answer."""
    serving = session.scalars(select(ModelRun.id).where(runs.shown())).all()
    query = select(func.count()).select_from(Proposal).where(Proposal.model_run_id.in_(serving))
    return session.scalar(query.where(Proposal.status == ProposalStatus.OPEN)) or 0


def rows(session: Session) -> dict[str, int]:
    """How many rows each table has."""
    return {
        name: session.scalar(select(func.count()).select_from(table)) or 0
        for name, table in sorted(Base.metadata.tables.items())
    }
