"""Snapshots: a dataset's labels as they were at a moment, under a name, never changed again.

A snapshot holds every known label, packed, with a checksum; so it stays what it is whatever is
imported, decided or undone afterwards. What changed between two is read off both, and who changed
it from the decisions made between them.
"""

from __future__ import annotations

import csv
import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.rights import Right
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import ConflictError, DatabaseError, InputError, NotFoundError
from clsl_core.files import atomic_text
from clsl_core.formats.text.table_source import safe_cell
from clsl_core.types import LabelState
from db.models import Dataset, Snapshot
from db.queries import decisions, snapshots, stored

__all__ = [
    "Change",
    "Diff",
    "SnapshotView",
    "States",
    "all_snapshots",
    "delete",
    "diff",
    "states",
    "take",
    "write_csv",
]

NOW = ""
"""In place of a snapshot's name: the labels of this moment."""
COLUMNS = ("file_name", "category", "before", "after", "by", "at")

_ROW = np.dtype([("image", "<i8"), ("category", "<i8"), ("state", "i1")])
Rows = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class SnapshotView:
    """A snapshot without its labels.

    Attributes:
        by: Who took it.
        present: Labels that say so.
        absent: Labels that say so.
        decisions: Id of the last decision in it; 0 for none.
    """

    name: str
    by: str
    at: datetime
    present: int
    absent: int
    decisions: int


@dataclass(frozen=True, slots=True)
class Change:
    """One label that differs.

    Attributes:
        before, after: ``present``, ``absent`` or ``unknown``.
        by: Who decided it last in between; None when nobody did, as after an import.
        at: When.
    """

    file_name: str
    category: str
    before: str
    after: str
    by: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed from one snapshot to another, or to now.

    Attributes:
        old, new: Their names; new is empty for now.
        changes: By file name, then category.
        counts: How often each kind of change, as ``unknown → present``, commonest first.
    """

    old: str
    new: str
    changes: tuple[Change, ...]
    counts: dict[str, int]


def take(workspace: Workspace, dataset_name: str, name: str) -> SnapshotView:
    """Keep the labels of this moment under a name.

    Raises:
        InputError: The name cannot be used.
        ConflictError: A snapshot of that name exists: none is ever changed.
        NotFoundError: There is no such dataset.
    """
    rights.require(Right.EXPORT)
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InputError(
            f"{name[:40]!r} cannot be a snapshot's name: use 1 to 100 printable characters"
        )
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        # One transaction reads both: the labels are those that these decisions made.
        rows, last = _now(session, dataset.id), decisions.last_id(session, dataset.id)
    states = zlib.compress(rows.tobytes())
    snapshot = Snapshot(
        dataset_id=dataset.id,
        name=name,
        taken_by=rights.current().name,
        last_decision_id=last,
        present=int((rows["state"] > 0).sum()),
        absent=int((rows["state"] < 0).sum()),
        states=states,
        checksum=hashlib.sha256(states).hexdigest(),
    )
    try:
        with workspace.database.write(dataset.id) as session:
            stored.add(session, snapshot)
            audit_log.record(session, "snapshot.take", dataset_name, name=name)
            session.flush()
            return _view(snapshot)
    except IntegrityError as error:
        raise ConflictError(
            f"{dataset_name!r} has a snapshot {name!r} already, and none is changed: choose "
            "another name, or delete that one"
        ) from error


def all_snapshots(workspace: Workspace, dataset_name: str) -> list[SnapshotView]:
    """Newest first.

    Raises:
        NotFoundError: There is no such dataset.
    """
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        return [_view(one) for one in snapshots.of_dataset(session, dataset.id)]


def delete(workspace: Workspace, dataset_name: str, name: str) -> None:
    """Forget a snapshot; labels and decisions stay as they are.

    Raises:
        NotFoundError: There is no such dataset or snapshot.
    """
    rights.require(Right.MANAGE)
    with workspace.database.write() as session:
        stored.remove(session, _find(session, find_dataset(session, dataset_name), name))
        audit_log.record(session, "snapshot.delete", dataset_name, name=name)


def diff(workspace: Workspace, dataset_name: str, old: str, new: str = NOW) -> Diff:
    """Which labels changed between two snapshots, or since one.

    Raises:
        NotFoundError: There is no such dataset or snapshot.
        DatabaseError: A snapshot is damaged.
    """
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        one = _find(session, dataset, old)
        other = _find(session, dataset, new) if new != NOW else None
        before = _rows(one)
        after = _now(session, dataset.id) if other is None else _rows(other)
        bounds = (one.last_decision_id, other.last_decision_id if other else None)
        if bounds[1] is not None and bounds[1] < bounds[0]:
            bounds = (bounds[1], bounds[0])
        decided = snapshots.last_decided(session, dataset.id, *bounds)
        found = _differences(before, after)
        names = dict(snapshots.file_names(session, sorted({row[0] for row in found})))
        categories = snapshots.category_names(session, dataset.id)
    changes = []
    for image_id, category_id, was, is_ in found:
        last = decided.get((image_id, category_id))
        changes.append(
            Change(
                names.get(image_id, f"image {image_id}, gone"),
                categories.get(category_id, f"category {category_id}, gone"),
                LabelState(was).word,
                LabelState(is_).word,
                last.annotator if last else None,
                last.at if last else None,
            )
        )
    changes.sort(key=lambda change: (change.file_name, change.category))
    kinds = Counter(f"{change.before} → {change.after}" for change in changes)
    return Diff(old, new, tuple(changes), dict(kinds.most_common()))


@dataclass(frozen=True, slots=True)
class States:
    """What a snapshot holds.

    Attributes:
        rows: ``(image id, category id, state)`` of each known label.
        last_decision_id: The last decision in it; 0 for none.
    """

    rows: list[tuple[int, int, int]]
    last_decision_id: int
    taken_at: datetime


def states(session: Session, dataset: Dataset, name: str) -> States:
    """A snapshot's labels.

    Raises:
        NotFoundError: There is no such snapshot.
        DatabaseError: It is damaged.
    """
    snapshot = _find(session, dataset, name)
    return States(_rows(snapshot).tolist(), snapshot.last_decision_id, snapshot.created_at)


def write_csv(changes: Iterable[Change], output: Path) -> int:
    """Write changes as a table; how many there were.

    Raises:
        InputError: The file cannot be written.
    """
    count = 0
    with atomic_text(output) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for count, cells in enumerate(table(changes), start=1):  # noqa: B007 - the number is told
            writer.writerow(cells)
    return count


def table(changes: Iterable[Change]) -> Iterator[tuple[str, ...]]:
    """Changes as cells that no spreadsheet runs; see ``COLUMNS``."""
    for one in changes:
        at = one.at.isoformat() if one.at else ""
        yield (
            safe_cell(one.file_name),
            safe_cell(one.category),
            one.before,
            one.after,
            safe_cell(one.by or ""),
            at,
        )


def _now(session: Session, dataset_id: int) -> Rows:
    return np.fromiter(snapshots.labels(session, dataset_id), _ROW)


def _rows(snapshot: Snapshot) -> Rows:
    if hashlib.sha256(snapshot.states).hexdigest() != snapshot.checksum:
        raise DatabaseError(f"the snapshot {snapshot.name!r} is damaged: `clsl restore` a backup")
    return np.frombuffer(zlib.decompress(snapshot.states), _ROW)


def _differences(before: Rows, after: Rows) -> list[tuple[int, int, int, int]]:
    """Image, category, state before and after, of the pairs whose state differs."""
    pairs = [rows[["image", "category"]] for rows in (before, after)]
    every = np.union1d(*pairs)
    states = np.zeros((2, len(every)), np.int8)
    for row, (pair, rows) in enumerate(zip(pairs, (before, after), strict=True)):
        states[row, np.searchsorted(every, pair)] = rows["state"]
    changed = np.flatnonzero(states[0] != states[1])
    return [
        (int(every[i]["image"]), int(every[i]["category"]), int(states[0, i]), int(states[1, i]))
        for i in changed
    ]


def _find(session: Session, dataset: Dataset, name: str) -> Snapshot:
    snapshot = snapshots.by_name(session, dataset.id, name)
    if snapshot is None:
        known = ", ".join(repr(one.name) for one in snapshots.of_dataset(session, dataset.id)[:20])
        raise NotFoundError(
            f"{dataset.name!r} has no snapshot {name!r}; there are: {known or 'none yet'}"
        )
    return snapshot


def _view(snapshot: Snapshot) -> SnapshotView:
    return SnapshotView(
        snapshot.name,
        snapshot.taken_by,
        snapshot.created_at,
        snapshot.present,
        snapshot.absent,
        snapshot.last_decision_id,
    )
