"""Renaming, merging and mapping a dataset's categories: previewed before, undoable after.

The ids of categories never change. A rename changes the name that is shown and written out. A
merge lets one category stay, whose labels follow from those of all; the others are hidden with
what is known of them, so that an undo brings them back as they were. Every change is an event.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.rights import Right
from app.services.runtime.legible import legible
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import ConflictError, InputError, NotFoundError
from clsl_core.types import JsonObject
from db.models import Category, CategoryChange, ChangeKind
from db.queries import category_changes, datasets, decisions, stored
from db.queries.category_changes import Kind, Outcome
from db.types import now

LONGEST_NAME = 200
EXAMPLES = 20
CACHE_MEGABYTES = 64
"""A merge changes labels and proposals in all of their indexes, at random places."""
FILE_ID = "id:"


class Policy(StrEnum):
    """What merged categories are to one another.

    SAME: the same thing under two names. WIDER: the one that stays is the wider concept, absent
    only where each of them is absent.
    """

    SAME = "same"
    WIDER = "wider"


class Rule(StrEnum):
    """What a contradiction between categories of the same thing becomes."""

    TARGET = "target"
    PRESENT = "present"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """A category with its labels.

    Attributes:
        source_id: Its id in the file, as JSON.
        merged_into: Name of the category that it is hidden in; None while it is shown.
    """

    id: int
    source_id: str
    name: str
    present: int
    absent: int
    merged_into: str | None


@dataclass(frozen=True, slots=True)
class ChangeView:
    """One change.

    Attributes:
        batch: Changes of one batch are undone as one.
        what: In words.
        undone_by: None while it stands.
    """

    id: int
    batch: str
    kind: ChangeKind
    what: str
    by: str
    at: datetime
    undone_by: str | None
    undone_at: datetime | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the category that stays would have under one policy and rule.

    Attributes:
        changed: Labels of it that would be another than now.
    """

    policy: Policy
    rule: Rule | None
    present: int
    absent: int
    unknown: int
    changed: int


@dataclass(frozen=True, slots=True)
class MergePreview:
    """What a merge would do.

    Attributes:
        contradictions: Images of which one category says present and another absent.
        examples: File names of some, with what each category says.
        annotations: Boxes and masks that would go out under the id of the one that stays.
        proposals: Of the hidden ones, waiting for an answer: nobody would be asked any more.
        assignments: Parts given to people that name a category that would be hidden.
        forecasts: One for each policy and rule.
    """

    target: str
    sources: tuple[str, ...]
    contradictions: int
    examples: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    annotations: int
    proposals: int
    assignments: int
    forecasts: tuple[Forecast, ...]

    def chosen(self, policy: Policy, rule: Rule) -> Forecast:
        """The forecast of one choice."""
        wanted = (policy, None if policy is Policy.WIDER else rule)
        return next(one for one in self.forecasts if (one.policy, one.rule) == wanted)


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did.

    Attributes:
        changes: In words, in the order they were undone.
        restored: Labels put back as they were.
        kept: Labels that had been decided again since, and stay.
    """

    changes: tuple[str, ...]
    restored: int
    kept: int


def listed(workspace: Workspace, dataset_name: str) -> list[CategoryRow]:
    """Every category in source order, hidden ones too.

    Raises:
        NotFoundError: There is no such dataset.
    """
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        rows = datasets.categories(session, dataset.id, hidden=True)
        names = {row.id: row.name for row in rows}
        counts = {one.category_id: one for one in datasets.category_counts(session, dataset.id)}
        return [
            CategoryRow(
                row.id,
                row.source_id,
                row.name,
                counts[row.id].present if row.id in counts else 0,
                counts[row.id].absent if row.id in counts else 0,
                None if row.merged_into_id is None else names[row.merged_into_id],
            )
            for row in rows
        ]


def history(workspace: Workspace, dataset_name: str) -> list[ChangeView]:
    """Every change, the newest first.

    Raises:
        NotFoundError: There is no such dataset.
    """
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        return [view(one) for one in category_changes.all_changes(session, dataset.id)]


def rename(workspace: Workspace, dataset_name: str, category: str, name: str) -> ChangeView:
    """Give a category another name; its id, in the file too, stays.

    Args:
        workspace: Where.
        dataset_name: Of which dataset.
        category: Its name, or ``id:`` and its id in the file.
        name: The new one.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset or category.
        InputError: The name cannot be used.
        ConflictError: Another category has that name.
    """
    rights.require(Right.MANAGE)
    with writing(workspace, dataset_name) as session:
        known = Shown.read(session, find_dataset(session, dataset_name).id)
        return view(add_rename(session, known, known.find(category), name, new_batch()))


def preview_merge(
    workspace: Workspace, dataset_name: str, sources: Sequence[str], target: str
) -> MergePreview:
    """What a merge would do, under each policy.

    Raises:
        NotFoundError: There is no such dataset or category.
        InputError: A category would be merged into itself.
    """
    with workspace.database.read() as session:
        known = Shown.read(session, find_dataset(session, dataset_name).id)
        return forecast(session, known.find_all(sources, target), known.find(target))


def merge(
    workspace: Workspace,
    dataset_name: str,
    sources: Sequence[str],
    target: str,
    policy: Policy,
    rule: Rule = Rule.TARGET,
) -> ChangeView:
    """Let several categories be one.

    Args:
        workspace: Where.
        dataset_name: Of which dataset.
        sources: Those that are hidden: names, or ``id:`` and the id in the file.
        target: The one that stays.
        policy: What they are to one another.
        rule: What contradictions become under Policy.SAME.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset or category.
        InputError: A category would be merged into itself.
    """
    rights.require(Right.MANAGE)
    with writing(workspace, dataset_name) as session:
        known = Shown.read(session, find_dataset(session, dataset_name).id)
        found = known.find_all(sources, target)
        return view(add_merge(session, found, known.find(target), policy, rule, new_batch()))


def undo(workspace: Workspace, dataset_name: str, change_id: int | None = None) -> Undone:
    """Take back a change, with all that was made as one with it; events stay.

    A label of the category that stayed becomes exactly what it was before the merge, unless
    somebody has decided it again since: that decision stands. What was decided of it after the
    merge stays its own and is not carried to the categories that come back.

    Args:
        workspace: Where.
        dataset_name: Of which dataset.
        change_id: Which one; None for the newest that stands.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset or change, or nothing to undo.
        ConflictError: A later change rests on it, or it is undone already.
    """
    rights.require(Right.MANAGE)
    with writing(workspace, dataset_name) as session:
        dataset = find_dataset(session, dataset_name)
        standing = list(category_changes.standing(session, dataset.id))
        batch = _batch_to_undo(session, standing, dataset_name, change_id)
        _check_later(standing, batch)
        last, restored, kept = decisions.last_id(session, dataset.id), 0, 0
        for change in reversed(batch):
            put, stays = _undo_one(session, change)
            restored, kept = restored + put, kept + stays
            change.undone_by, change.undone_at = rights.current().name, now()
            change.undone_decision_id = last
        what = tuple(view(change).what for change in reversed(batch))
        audit_log.record(
            session,
            "undo category change",
            f"dataset {dataset.id}",
            changes=[one.id for one in batch],
            restored=restored,
            kept=kept,
        )
        return Undone(what, restored, kept)


@dataclass(frozen=True)
class Shown:
    """The categories of a dataset that are not hidden.

    Attributes:
        rows: In source order.
    """

    dataset_id: int
    rows: tuple[Category, ...]

    @classmethod
    def read(cls, session: Session, dataset_id: int) -> Shown:
        """Those of now."""
        return cls(dataset_id, tuple(datasets.categories(session, dataset_id)))

    def named(self, name: str) -> list[Category]:
        """Those of that name."""
        return [row for row in self.rows if row.name == name]

    def find(self, wanted: str) -> Category:
        """The category of that name, or with that id in the file after ``id:``.

        Raises:
            NotFoundError: There is none.
            InputError: Several are called so.
        """
        found = self.named(wanted)
        if not found and wanted.startswith(FILE_ID):
            id_ = wanted.removeprefix(FILE_ID)
            found = [row for row in self.rows if row.source_id in (id_, json.dumps(id_))]
        if not found:
            raise NotFoundError(
                f"there is no category called {wanted!a:.120}: `clsl categories list` shows all"
            )
        if len(found) > 1:
            ids = " and ".join(FILE_ID + str(json.loads(row.source_id)) for row in found[:5])
            raise InputError(f"{len(found)} categories are called {wanted!a:.120}: say {ids}")
        return found[0]

    def find_all(self, sources: Sequence[str], target: str) -> list[Category]:
        """The categories to merge into another, each once.

        Raises:
            NotFoundError: One of them does not exist.
            InputError: None is given, one is given twice, or is the other itself.
        """
        found = [self.find(one) for one in sources]
        if not found:
            raise InputError("name at least one category to merge")
        ids = [one.id for one in found]
        if len(set(ids)) < len(ids):
            twice = next(one for one in found if ids.count(one.id) > 1)
            raise InputError(f"{twice.name!a:.120} is named twice: name each category once")
        if self.find(target).id in ids:
            raise InputError(f"{target!a:.120} cannot be merged into itself: leave it out")
        return found


def checked_name(name: str) -> str:
    """A name that a category may be given.

    Raises:
        InputError: It is empty, too long, or holds what cannot be printed.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(
            f"{name[:40]!a} cannot be a category's name: use 1 to {LONGEST_NAME} printable "
            "characters"
        )
    return name


def add_rename(
    session: Session, known: Shown, category: Category, name: str, batch: str
) -> CategoryChange:
    """Rename in the caller's transaction.

    Raises:
        InputError: The name cannot be used, or is the category's already.
        ConflictError: Another category has it.
    """
    name = checked_name(name)
    if name == category.name:
        raise InputError(f"the category is called {name!a} already")
    if any(row.id != category.id for row in known.named(name)):
        raise ConflictError(
            f"another category is called {name!a} already. To make the two one, merge them: "
            f"`clsl categories merge DATASET {category.name!a:.120} --into {name!a:.120}`"
        )
    details = {"before": category.name, "after": name}
    category.name = name
    return _note(session, category, ChangeKind.RENAME, details, batch)


def forecast(session: Session, sources: Sequence[Category], target: Category) -> MergePreview:
    """What a merge of these would do."""
    ids = [one.id for one in sources]
    kinds = category_changes.kinds(session, target.id, ids)
    annotations, waiting, parts = category_changes.hanging(session, ids)
    examples = category_changes.contradictions(session, target.id, ids, EXAMPLES)
    choices = [*((Policy.SAME, rule) for rule in Rule), (Policy.WIDER, None)]
    return MergePreview(
        target=target.name,
        sources=tuple(one.name for one in sources),
        contradictions=sum(n for kind, n in kinds.items() if kind.present and kind.absent),
        examples=tuple(
            (file_name, tuple((name, state.word) for name, state in said))
            for file_name, said in examples
        ),
        annotations=annotations,
        proposals=waiting,
        assignments=parts,
        forecasts=tuple(_forecast(kinds, policy, rule) for policy, rule in choices),
    )


def _forecast(kinds: dict[Kind, int], policy: Policy, rule: Rule | None) -> Forecast:
    outcome = _outcome(policy, rule or Rule.TARGET)
    after = [(outcome.of(kind), kind.target, number) for kind, number in kinds.items()]
    present, absent, unknown = (
        sum(number for state, _, number in after if state == wanted) for wanted in (1, -1, 0)
    )
    changed = sum(number for state, before, number in after if state != before)
    return Forecast(policy, rule, present, absent, unknown, changed)


def _outcome(policy: Policy, rule: Rule) -> Outcome:
    return Outcome(policy is Policy.WIDER, rule.value)


def add_merge(
    session: Session,
    sources: Sequence[Category],
    target: Category,
    policy: Policy,
    rule: Rule,
    batch: str,
) -> CategoryChange:
    """Merge in the caller's transaction."""
    ids = [one.id for one in sources]
    before = forecast(session, sources, target)
    chosen = before.chosen(policy, rule)
    details: JsonObject = {
        "target": target.name,
        "sources": [{"id": one.id, "name": one.name} for one in sources],
        "policy": policy.value,
        "rule": None if policy is Policy.WIDER else rule.value,
        "labels": chosen.changed,
        "contradictions": before.contradictions,
        "annotations": before.annotations,
    }
    change = _note(session, target, ChangeKind.MERGE, details, batch)
    category_changes.note_labels(session, change, ids, _outcome(policy, rule))
    category_changes.write_labels(session, change)
    for one in sources:
        one.merged_into_id = target.id
    session.flush()
    category_changes.close_proposals(session, change, ids)
    return change


def _undo_one(session: Session, change: CategoryChange) -> tuple[int, int]:
    """Take one change back: how many labels were put back, and how many stay."""
    category = stored.one(session, Category, change.category_id)
    if change.kind is ChangeKind.RENAME:
        category.name = change.details["before"]
        session.flush()
        return 0, 0
    ids = [one["id"] for one in change.details["sources"]]
    counts = category_changes.restore_labels(session, change)
    for id_ in ids:
        stored.one(session, Category, id_).merged_into_id = None
    session.flush()
    category_changes.reopen_proposals(session, change, ids)
    return counts


def _batch_to_undo(
    session: Session, standing: Sequence[CategoryChange], dataset_name: str, change_id: int | None
) -> list[CategoryChange]:
    if change_id is None:
        if not standing:
            raise NotFoundError(f"no category of {dataset_name!r} was changed, or all is undone")
        batch = standing[-1].batch
    else:
        change = stored.find(session, CategoryChange, change_id)
        dataset = find_dataset(session, dataset_name)
        if change is None or change.dataset_id != dataset.id:
            raise NotFoundError(f"there is no change {change_id}: `clsl categories list` shows all")
        if change.undone_by is not None:
            raise ConflictError(f"change {change_id} is undone already")
        batch = change.batch
    return [one for one in standing if one.batch == batch]


def _check_later(standing: Sequence[CategoryChange], batch: Sequence[CategoryChange]) -> None:
    """See that no later change rests on what is to be undone.

    Raises:
        ConflictError: One does.
    """
    touched = {id_ for one in batch for id_ in _touched(one)}
    names = {name for one in batch for name in _given_back(one)}
    for later in standing:
        if later.id < batch[0].id or later.batch == batch[0].batch:
            continue
        if touched & _touched(later) or names & {later.details.get("after")}:
            raise ConflictError(
                f"change {later.id} ({view(later).what}) came later and rests on it: undo that "
                "one first"
            )


def _touched(change: CategoryChange) -> set[int]:
    return {change.category_id, *(one["id"] for one in change.details.get("sources", ()))}


def _given_back(change: CategoryChange) -> set[str]:
    """The names that categories have again once a change is undone."""
    if change.kind is ChangeKind.RENAME:
        return {change.details["before"]}
    return {one["name"] for one in change.details["sources"]}


def _note(
    session: Session, category: Category, kind: ChangeKind, details: JsonObject, batch: str
) -> CategoryChange:
    change = CategoryChange(
        dataset_id=category.dataset_id,
        batch=batch,
        kind=kind,
        category_id=category.id,
        details=details,
        last_decision_id=decisions.last_id(session, category.dataset_id),
        made_by=rights.current().name,
    )
    stored.add(session, change)
    audit_log.record(session, f"{kind} category", f"dataset {category.dataset_id}", **details)
    session.flush()
    return change


def view(change: CategoryChange) -> ChangeView:
    """A change as it is shown; names in it are made legible."""
    said = change.details
    if change.kind is ChangeKind.RENAME:
        what = f"{legible(said['before'])} → {legible(said['after'])}"
    else:
        names = ", ".join(legible(one["name"]) for one in said["sources"])
        how = said["policy"] if said["rule"] is None else f"{said['policy']}, {said['rule']}"
        what = f"{names} into {legible(said['target'])} ({how}; {said['labels']:,} labels)"
    return ChangeView(
        change.id,
        change.batch,
        change.kind,
        what,
        change.made_by,
        change.created_at,
        change.undone_by,
        change.undone_at,
    )


def new_batch() -> str:
    """A name for changes that are made as one."""
    return uuid.uuid4().hex


@contextmanager
def writing(workspace: Workspace, dataset_name: str) -> Iterator[Session]:
    """One transaction on a dataset, with memory for the indexes of many rows.

    Raises:
        NotFoundError: There is no dataset of that name.
    """
    with workspace.database.read() as session:
        dataset_id = find_dataset(session, dataset_name).id
    with workspace.database.write(dataset_id, cache_megabytes=CACHE_MEGABYTES) as session:
        yield session
