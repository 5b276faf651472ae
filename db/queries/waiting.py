"""Which proposals wait for an answer, as the decisions on their pairs leave them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from clsl_core.types import LabelState
from db.models import ModelRun, Proposal, ProposalStatus
from db.queries import runs

# One statement a pair: SQLite reads the whole table for (a, b) IN (VALUES …).
_PAIR = (Proposal.image_id == bindparam("image"), Proposal.category_id == bindparam("category"))
Pairs = Sequence[tuple[int, int]]


def close(session: Session, pairs: Pairs) -> None:
    """The proposals of some pairs, in every run, wait no more."""
    if not pairs:
        return
    session.connection().execute(
        update(Proposal).where(*_PAIR).values(status=ProposalStatus.DECIDED), _named(pairs)
    )
    _read_status_again(session)


def reopen(session: Session, pairs: Pairs) -> None:
    """The proposals of some pairs without a label wait again, in the serving run."""
    if not pairs:
        return
    serving = select(ModelRun.id).where(runs.shown())
    query = update(Proposal).where(*_PAIR, Proposal.model_run_id.in_(serving), ~Proposal.disputes)
    session.connection().execute(query.values(status=ProposalStatus.OPEN), _named(pairs))
    _read_status_again(session)


def dispute(session: Session, pair: tuple[int, int], state: LabelState) -> None:
    """The proposals that dispute a pair's label wait again, in the serving run.

    Args:
        session: Writes.
        pair: Image and category.
        state: Of the label.
    """
    serving = select(ModelRun.id).where(runs.shown())
    query = update(Proposal).where(
        Proposal.image_id == pair[0],
        Proposal.category_id == pair[1],
        Proposal.disputes,
        Proposal.state != state,
        Proposal.model_run_id.in_(serving),
    )
    session.execute(query.values(status=ProposalStatus.DISPUTED))


def _named(pairs: Pairs) -> list[dict[str, int]]:
    return [{"image": image_id, "category": category_id} for image_id, category_id in pairs]


def _read_status_again(session: Session) -> None:
    """Proposals that the session holds have changed behind its back."""
    for held in list(session.identity_map.values()):
        if isinstance(held, Proposal):
            session.expire(held, ["status"])
