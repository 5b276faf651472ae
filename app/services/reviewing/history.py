"""What an annotator has said so far: newest first, batches as one, each ready to be undone."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime

from app.services.access.grants import Grant
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from clsl_core.types import JsonObject, LabelSource
from db.models import Decision, Verdict, Voice
from db.queries import decisions

MAX_ENTRIES = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision, or the decisions of a batch.

    Attributes:
        id: The decision's client id, or the batch's: what an undo and a redo name.
        count: Decisions in it.
        verdict: ``present``, ``absent`` or ``skip``; of a batch the most frequent one.
        exceptions: Decisions of a batch with another verdict.
        category: None when a batch spans several.
        image_id, file_name: None when a batch spans several images.
        unseen: Accepted after an audit, without a look at each.
        undone: Everything in it was undone.
        undoable: At least one of its labels still rests on it, or it is one verdict of several.
    """

    id: str
    batch: bool
    count: int
    verdict: str
    exceptions: int
    category: str | None
    category_id: int | None
    image_id: int | None
    file_name: str | None
    proposal_id: int | None
    decided_at: datetime
    unseen: bool
    undone: bool
    undoable: bool


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Some entries, and the cursor of those before them; None at the beginning of history."""

    entries: list[Entry]
    cursor: str | None

    def to_json(self) -> JsonObject:
        """As the route sends it."""
        entries = [
            {**asdict(entry), "decided_at": entry.decided_at.isoformat()} for entry in self.entries
        ]
        return {"entries": entries, "cursor": self.cursor}


@dataclass(slots=True)
class _Group:
    """The decisions of one entry while they are read."""

    newest: Decision
    file_name: str
    category: str
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    images: set[int] = field(default_factory=set)
    categories: set[int] = field(default_factory=set)
    lowest_id: int = 0
    undone: bool = True
    undoable: bool = False


def history(
    workspace: Workspace, grant: Grant, *, limit: int = 50, before: str | None = None
) -> HistoryPage:
    """The annotator's own decisions on the dataset, newest first; undo events are not entries.

    Raises:
        InputError: The cursor is not one.
    """
    limit = max(1, min(limit, MAX_ENTRIES))
    groups: dict[str, _Group] = {}
    place = _number(before)
    with (
        workspace.database.read() as session,
        closing(
            decisions.newest_first(session, grant.dataset_id, grant.annotator_id, place)
        ) as rows,
    ):
        for decision, file_name, category, current in rows:
            key = decision.batch_id or decision.client_id
            if key not in groups:
                if len(groups) == limit:
                    return _page(groups, more=True)
                groups[key] = _Group(decision, file_name, category)
            _add(groups[key], decision, current)
    return _page(groups, more=False)


def _add(group: _Group, decision: Decision, current: int | None) -> None:
    group.verdicts[decision.verdict] += 1
    group.images.add(decision.image_id)
    group.categories.add(decision.category_id)
    group.lowest_id = decision.id
    if decision.undone_by_id is None:
        group.undone = False
        free = decision.verdict is Verdict.SKIP or decision.voice in (Voice.PANEL, Voice.GOLD)
        group.undoable = group.undoable or free or current == decision.id


def _page(groups: dict[str, _Group], *, more: bool) -> HistoryPage:
    entries = [_entry(key, group) for key, group in groups.items()]
    lowest = min((group.lowest_id for group in groups.values()), default=0)
    return HistoryPage(entries, str(lowest) if more else None)


def _entry(key: str, group: _Group) -> Entry:
    newest, count = group.newest, group.verdicts.total()
    verdict, most = group.verdicts.most_common(1)[0]
    one_image, one_category = len(group.images) == 1, len(group.categories) == 1
    return Entry(
        id=key,
        batch=newest.batch_id is not None,
        count=count,
        verdict=verdict.value,
        exceptions=count - most,
        category=group.category if one_category else None,
        category_id=newest.category_id if one_category else None,
        image_id=newest.image_id if one_image else None,
        file_name=group.file_name if one_image else None,
        proposal_id=newest.proposal_id if count == 1 else None,
        decided_at=newest.created_at,
        unseen=newest.source is LabelSource.MODEL_AUDITED,
        undone=group.undone,
        undoable=group.undoable,
    )


def _number(before: str | None) -> int | None:
    if before is None:
        return None
    if not before.isascii() or not before.isdigit() or len(before) > 15:
        raise InputError("the cursor is damaged: begin the history again")
    return int(before)
