"""Single rows: found by their key, added, removed. A question of any other kind has its own place.

The services hold a session only to hand it on (``tests/db/test_sql_in_one_place.py``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Base, Category, Image, Proposal

Row = TypeVar("Row", bound=Base)
Numbered = TypeVar("Numbered", Image, Category, Proposal)


def find(session: Session, table: type[Row], key: Any) -> Row | None:
    """The row with this key, or None."""
    return session.get(table, key)


def one(session: Session, table: type[Row], key: Any) -> Row:
    """The row with this key, which is sure to be there.

    Raises:
        sqlalchemy.exc.NoResultFound: It is not: a fault of the program.
    """
    return session.get_one(table, key)


def add(session: Session, *rows: Base) -> None:
    """Add rows; they have their ids after the next flush."""
    session.add_all(rows)


def remove(session: Session, row: Base) -> None:
    """Remove a row, and what hangs on it."""
    session.delete(row)


def several(session: Session, table: type[Numbered], ids: Collection[int]) -> dict[int, Numbered]:
    """Rows by their ids; those that are not there are left out."""
    return {row.id: row for row in session.scalars(select(table).where(table.id.in_(ids)))}
