"""Leases: which window of whom shows a pair at the moment, so that nobody else is shown it.

Cards are given out by one transaction at a time (``matter``), and meanwhile verdicts are stored:
neither waits for the other, but where both want one pair's row. They take rows in the order of
their keys, so that no two can wait for each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Executable,
    Integer,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.models import Lease, Proposal
from db.session import Matter


def matter(dataset_id: int) -> Matter:
    """What transactions write about that give out a dataset's cards."""
    return f"cards of {dataset_id}"


def held_by_others(
    annotator_id: int, client: str, moment: datetime, latest: datetime
) -> ColumnElement[bool]:
    """The condition that another person, or another window of this one, shows a proposal's pair.

    A lease that ends after ``latest``, later than any can, is of a clock that was put back since:
    it holds nothing.
    """
    return exists().where(
        Lease.image_id == Proposal.image_id,
        Lease.category_id == Proposal.category_id,
        or_(Lease.annotator_id != annotator_id, Lease.client != client),
        Lease.expires_at > moment,
        Lease.expires_at <= latest,
    )


def take(
    session: Session,
    annotator_id: int,
    client: str,
    pairs: Collection[tuple[int, int]],
    moment: datetime,
    expires_at: datetime,
) -> None:
    """Lease pairs to a window; expired leases of anybody are cleared away.

    The caller has made sure, in the same transaction, that nobody else holds them.
    """
    rows = [
        {
            "image_id": image_id,
            "category_id": category_id,
            "annotator_id": annotator_id,
            "client": client,
            "expires_at": expires_at,
        }
        for image_id, category_id in sorted(pairs)
    ]
    if rows:
        session.connection().execute(_TAKE[session.get_bind().dialect.name], rows)
    _clear(session, moment)


def _take(new: postgresql.Insert | sqlite.Insert) -> Executable:
    """A row of one's own, or that of whoever had the pair before."""
    taken = {name: new.excluded[name] for name in ("annotator_id", "client", "expires_at")}
    return new.on_conflict_do_update(index_elements=["image_id", "category_id"], set_=taken)


_TAKE = {
    "sqlite": _take(sqlite.insert(Lease)),
    "postgresql": _take(postgresql.insert(Lease)),
}


def _clear(session: Session, moment: datetime) -> None:
    """Remove what has expired, of every dataset; a row that another transaction has is left to it.

    Whoever waited for such a row here, having cleared rows of others, could wait for ever. So it is
    the last thing that a transaction does.
    """
    expired = Lease.expires_at <= moment
    if session.get_bind().dialect.name == "postgresql":
        rows = select(Lease.image_id, Lease.category_id).where(expired)
        free = rows.with_for_update(skip_locked=True)
        expired = tuple_(Lease.image_id, Lease.category_id).in_(free)
    session.execute(delete(Lease).where(expired))


def release(session: Session, held: Mapping[tuple[int, int], int | None]) -> None:
    """Give pairs back.

    Args:
        session: Writes.
        held: Pairs, each with whose lease of it ends; None for whoever has it.
    """
    if not held:
        return
    rows = [
        {"image": pair[0], "category": pair[1], "annotator": held[pair]} for pair in sorted(held)
    ]
    session.connection().execute(_RELEASE, rows)


# One statement a pair: SQLite reads the whole table for (a, b) IN (VALUES …).
_RELEASE = delete(Lease).where(
    Lease.image_id == bindparam("image"),
    Lease.category_id == bindparam("category"),
    Lease.annotator_id == func.coalesce(bindparam("annotator", type_=Integer), Lease.annotator_id),
)


def release_all(session: Session, annotator_id: int, client: str) -> None:
    """Give everything back that one window holds."""
    mine = and_(Lease.annotator_id == annotator_id, Lease.client == client)
    if session.get_bind().dialect.name == "postgresql":
        rows = select(Lease.image_id, Lease.category_id).where(mine)
        rows = rows.order_by(Lease.image_id, Lease.category_id).with_for_update()
        mine = tuple_(Lease.image_id, Lease.category_id).in_(rows)
    session.execute(delete(Lease).where(mine))
