"""Datasets that are being brought in: hidden until complete, cleared away when abandoned."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from clsl_core.errors import ConflictError
from db.living import is_living, living
from db.models import Dataset
from db.queries import stored, unfinished
from db.session import Database
from db.types import now

__all__ = ["abandoned", "begun", "clear", "discard", "show", "stamp"]

WATCH_SECONDS = 3.0
"""A living import writes several times in this while."""


@contextmanager
def begun(database: Database, dataset: Dataset) -> Iterator[int]:
    """Store a new dataset that nobody sees yet; inside the block others know that its import lives.

    What a killed import of that name left behind is cleared away first.

    Yields:
        Its id.

    Raises:
        ConflictError: There is a dataset of that name, or one is being brought in.
    """
    name = dataset.name
    with database.read() as session:
        other = unfinished.by_name(session, name)
    if other is not None:
        if other not in abandoned(database):
            raise ConflictError(
                f"{name!r} is being imported at this moment: wait for it, or choose another name"
            )
        discard(database, other)
    with living(database, _import_of(name)):
        yield _insert(database, dataset)


def _import_of(name: str) -> str:
    return f"the import of {name!r}"


def _insert(database: Database, dataset: Dataset) -> int:
    dataset.unfinished_at = now()
    try:
        with database.write() as session:
            stored.add(session, dataset)
            session.flush()
            return dataset.id
    except IntegrityError as error:
        raise ConflictError(
            f"another import has just made a dataset called {dataset.name!r}: start again to add "
            "to it"
        ) from error


def stamp(session: Session, dataset_id: int) -> None:
    """Show that an import lives; called in each of its transactions.

    Raises:
        ConflictError: Somebody has cleared its rows away.
    """
    if not unfinished.stamp(session, dataset_id, now()):
        raise ConflictError("another import of the same name has begun meanwhile: start again")


def show(database: Database, dataset_id: int) -> None:
    """Let everybody see a dataset: all of it is there."""
    with database.write(dataset_id) as session:
        stamp(session, dataset_id)
        unfinished.stamp(session, dataset_id, None)


def abandoned(database: Database) -> list[int]:
    """Datasets that an import left half-way: its process is gone.

    One that only stands still is not. Rows of a version that showed no sign of life are watched for
    a while, too; not by the clock, which may have been changed.
    """
    before = _silent(database)
    if not before:
        return []
    time.sleep(WATCH_SECONDS)
    after = _silent(database)
    return [id_ for id_, moment in before.items() if after.get(id_) == moment]


def clear(database: Database) -> int:
    """Remove what killed imports left behind; how many datasets that were."""
    left = abandoned(database)
    for dataset_id in left:
        discard(database, dataset_id)
    return len(left)


def discard(database: Database, dataset_id: int) -> None:
    """Remove an unfinished dataset, little by little, so that nobody else waits for long."""
    with database.write(dataset_id) as session:
        more = unfinished.condemn(session, dataset_id)
    while more:
        with database.write(dataset_id) as session:
            more = unfinished.delete_some(session, dataset_id)


def _silent(database: Database) -> dict[int, datetime]:
    """When the last rows came of each dataset whose import shows no sign of life."""
    with database.read() as session:
        found = unfinished.stamps(session)
    return {
        id_: moment
        for id_, (name, moment) in found.items()
        if not is_living(database, _import_of(name))
    }
