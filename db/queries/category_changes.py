"""Renames and merges of categories. Labels are rewritten by the database itself, set by set."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.orm import Session, aliased

from clsl_core.types import LabelSource, LabelState
from db.models import (
    Annotation,
    Assignment,
    Category,
    CategoryChange,
    CategoryChangeLabel,
    CategoryChangeProposal,
    ChangeKind,
    Decision,
    Image,
    Label,
    Proposal,
    ProposalStatus,
)

WAITING = (ProposalStatus.OPEN, ProposalStatus.DISPUTED)
_STATE = type_coerce(Label.state, Integer)
_TRUST = case(
    (Label.source == LabelSource.HUMAN, 0),
    (Label.source == LabelSource.MODEL_AUDITED, 1),
    else_=2,
)
_BEFORE = ("before_state", "before_source", "before_decision_id", "before_provenance")
_AFTER = ("after_state", "after_source", "after_decision_id", "after_provenance")


@dataclass(frozen=True, slots=True)
class Kind:
    """What several categories together say of one image.

    Attributes:
        target: State of the category that stays, as a number.
        present, absent: Whether any of them, the one that stays included, says so.
        all_absent: Whether each of them does.
    """

    target: int
    present: bool
    absent: bool
    all_absent: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a merge decides, as one expression for the database; ``Kind`` is its input."""

    wider: bool
    contradiction: str

    def of(self, kind: Kind) -> int:
        """The state that follows: 1, -1, or 0 for unknown."""
        if self.wider:
            return 1 if kind.present else -1 if kind.all_absent else 0
        if kind.present and kind.absent:
            return {"present": 1, "unknown": 0, "target": kind.target}[self.contradiction]
        return 1 if kind.present else -1

    def expression(self, said: CTE) -> ColumnElement[int]:
        """The same, of a row of ``_said``."""
        present, absent = said.c.highest == 1, said.c.lowest == -1
        if self.wider:
            return case((present, 1), (said.c.number == said.c.all, -1), else_=0)
        rule: ColumnElement[int] = {
            "present": literal(1),
            "unknown": literal(0),
            "target": said.c.target,
        }[self.contradiction]
        return case((and_(present, absent), rule), (present, 1), else_=-1)


def standing(
    session: Session, dataset_id: int, kind: ChangeKind | None = None
) -> Sequence[CategoryChange]:
    """The changes of a dataset that were not undone, oldest first."""
    query = select(CategoryChange).where(
        CategoryChange.dataset_id == dataset_id, CategoryChange.undone_by.is_(None)
    )
    if kind is not None:
        query = query.where(CategoryChange.kind == kind)
    return session.scalars(query.order_by(CategoryChange.id)).all()


def all_changes(session: Session, dataset_id: int) -> Sequence[CategoryChange]:
    """Every change, undone ones too, newest first."""
    query = select(CategoryChange).where(CategoryChange.dataset_id == dataset_id)
    return session.scalars(query.order_by(CategoryChange.id.desc())).all()


def hidden(session: Session, dataset_id: int) -> set[int]:
    """The categories that are merged into others."""
    query = select(Category.id).where(
        Category.dataset_id == dataset_id, Category.merged_into_id.is_not(None)
    )
    return set(session.scalars(query))


def renamed(session: Session, dataset_id: int) -> set[int]:
    """The categories that have a name given here."""
    return {one.category_id for one in standing(session, dataset_id, ChangeKind.RENAME)}


def _said(target_id: int, source_ids: Collection[int]) -> CTE:
    """Of each image what the categories say together: one row where any says something."""
    group = [target_id, *source_ids]
    own = case((Label.category_id == target_id, _STATE), else_=0)
    return (
        select(
            Label.image_id,
            func.sum(own).label("target"),
            func.max(_STATE).label("highest"),
            func.min(_STATE).label("lowest"),
            func.sum(case((_STATE == -1, 1), else_=0)).label("number"),
            literal(len(group)).label("all"),
        )
        .where(Label.category_id.in_(group))
        .group_by(Label.image_id)
        .cte("said")
    )


def kinds(session: Session, target_id: int, source_ids: Collection[int]) -> dict[Kind, int]:
    """How many images there are of each kind; those of which nothing is known are not counted."""
    said = _said(target_id, source_ids)
    columns = (
        said.c.target,
        said.c.highest == 1,
        said.c.lowest == -1,
        said.c.number == said.c.all,
    )
    query = select(*columns, func.count()).group_by(*columns)
    return {
        Kind(int(row[0]), bool(row[1]), bool(row[2]), bool(row[3])): row[4]
        for row in session.execute(query)
    }


def contradictions(
    session: Session, target_id: int, source_ids: Collection[int], limit: int
) -> list[tuple[str, list[tuple[str, LabelState]]]]:
    """The first images of which one category says present and another absent.

    Returns:
        The file name, and what each category that says something says: its name and the state.
    """
    said = _said(target_id, source_ids)
    first = (
        select(said.c.image_id)
        .where(said.c.highest == 1, said.c.lowest == -1)
        .order_by(said.c.image_id)
        .limit(limit)
    )
    query = (
        select(Image.id, Image.file_name, Category.name, Label.state)
        .join(Label, Label.image_id == Image.id)
        .join(Category, Category.id == Label.category_id)
        .where(
            Image.id.in_(session.scalars(first).all()),
            Label.category_id.in_([target_id, *source_ids]),
        )
        .order_by(Image.id, Category.position)
    )
    found: dict[int, tuple[str, list[tuple[str, LabelState]]]] = {}
    for image_id, file_name, name, state in session.execute(query):
        found.setdefault(image_id, (file_name, []))[1].append((name, state))
    return list(found.values())


def note_labels(
    session: Session, change: CategoryChange, source_ids: Collection[int], outcome: Outcome
) -> None:
    """Note each label of the category that stays that a merge changes: before, and after.

    What a new label rests on is, of those that say the same, a person's before an audited before
    a file's, of equal ones the newest decision's.
    """
    target_id = change.category_id
    said = _said(target_id, source_ids)
    state = outcome.expression(said)
    own = aliased(Label)
    rows = (
        select(
            literal(change.id),
            said.c.image_id,
            said.c.target,
            own.source,
            own.decision_id,
            own.provenance,
            state,
        )
        .select_from(said)
        .outerjoin(own, and_(own.image_id == said.c.image_id, own.category_id == target_id))
        .where(state != said.c.target)
    )
    names = ["change_id", "image_id", *_BEFORE, "after_state"]
    _look_at_sizes(session, "label")
    session.execute(insert(CategoryChangeLabel).from_select(names, rows, include_defaults=False))
    _look_at_sizes(session, "category_change_label")
    _note_grounds(session, change, source_ids)


def _look_at_sizes(session: Session, *tables: str) -> None:
    """Let PostgreSQL see how large tables have become: it plans by what it saw last."""
    if session.connection().dialect.name == "postgresql":
        for table in tables:
            session.execute(text(f"ANALYZE {table}"))


def _note_grounds(session: Session, change: CategoryChange, source_ids: Collection[int]) -> None:
    """Note what each label that was noted rests on afterwards.

    A statement of its own: in one with the first, SQLite looks through all rows for each.
    """
    noted = CategoryChangeLabel
    order = (_TRUST, func.coalesce(Label.decision_id, 0).desc(), Label.category_id)
    ranked = (
        select(
            Label.image_id,
            Label.source,
            Label.decision_id,
            Label.provenance,
            func.row_number().over(partition_by=Label.image_id, order_by=order).label("place"),
        )
        .join(
            noted,
            and_(
                noted.change_id == change.id,
                noted.image_id == Label.image_id,
                noted.after_state == Label.state,
            ),
        )
        .where(Label.category_id.in_(source_ids))
        .subquery()
    )
    query = (
        update(noted)
        .where(
            noted.change_id == change.id, noted.image_id == ranked.c.image_id, ranked.c.place == 1
        )
        .values(
            after_source=ranked.c.source,
            after_decision_id=ranked.c.decision_id,
            after_provenance=ranked.c.provenance,
        )
    )
    session.execute(query, execution_options={"synchronize_session": False})


def write_labels(session: Session, change: CategoryChange) -> None:
    """Put the labels that were noted in place of those there are."""
    noted = CategoryChangeLabel.change_id == change.id
    _replace(session, change, select(CategoryChangeLabel.image_id).where(noted), _AFTER, noted)


def restore_labels(session: Session, change: CategoryChange) -> tuple[int, int]:
    """Put back each label that is still what the merge made of it.

    Returns:
        How many were put back, and how many were decided again since and stay.
    """
    noted = CategoryChangeLabel
    _look_at_sizes(session, "label", "category_change_label")
    same = and_(
        Label.image_id == noted.image_id,
        Label.category_id == change.category_id,
        Label.state == noted.after_state,
        Label.source == noted.after_source,
        Label.decision_id.is_not_distinct_from(noted.after_decision_id),
    )
    there = and_(Label.image_id == noted.image_id, Label.category_id == change.category_id)
    untouched = or_(
        and_(noted.after_state == LabelState.UNKNOWN, ~exists().where(there)),
        and_(noted.after_state != LabelState.UNKNOWN, exists().where(same)),
    )
    session.execute(
        update(noted).where(noted.change_id == change.id, untouched).values(restored=True),
        execution_options={"synchronize_session": False},
    )
    chosen = and_(noted.change_id == change.id, noted.restored)
    _replace(session, change, select(noted.image_id).where(chosen), _BEFORE, chosen)
    counted = select(noted.restored, func.count()).where(noted.change_id == change.id)
    counts = {bool(row[0]): row[1] for row in session.execute(counted.group_by(noted.restored))}
    return counts.get(True, 0), counts.get(False, 0)


def _replace(
    session: Session,
    change: CategoryChange,
    images: Select[int],
    columns: Sequence[str],
    chosen: ColumnElement[bool],
) -> None:
    gone = delete(Label).where(Label.category_id == change.category_id, Label.image_id.in_(images))
    session.execute(gone, execution_options={"synchronize_session": False})
    state, *others = [getattr(CategoryChangeLabel, name) for name in columns]
    rows = select(CategoryChangeLabel.image_id, literal(change.category_id), state, *others).where(
        chosen, state != LabelState.UNKNOWN
    )
    names = ["image_id", "category_id", "state", "source", "decision_id", "provenance"]
    session.execute(insert(Label).from_select(names, rows))
    for held in list(session.identity_map.values()):
        if isinstance(held, Label):
            session.expire(held)


def close_proposals(session: Session, change: CategoryChange, source_ids: Sequence[int]) -> int:
    """Let nobody be asked what a merge has answered, nor about what is hidden.

    Returns:
        How many proposals waited, in all runs.
    """
    waiting = Proposal.status.in_(WAITING)
    whose = or_(
        Proposal.category_id.in_(source_ids),
        and_(Proposal.category_id == change.category_id, _answered()),
    )
    group = Proposal.category_id.in_([change.category_id, *source_ids])
    rows = select(literal(change.id), Proposal.id, Proposal.status).where(group, waiting, whose)
    names = ["change_id", "proposal_id", "status"]
    session.execute(insert(CategoryChangeProposal).from_select(names, rows))
    closed = select(CategoryChangeProposal.proposal_id).where(
        CategoryChangeProposal.change_id == change.id
    )
    _set_status(session, Proposal.id.in_(closed), ProposalStatus.DECIDED)
    return session.scalar(select(func.count()).select_from(closed.subquery())) or 0


def reopen_proposals(session: Session, change: CategoryChange, source_ids: Sequence[int]) -> None:
    """Let the proposals that a merge closed wait again, unless they were answered since."""
    for status in WAITING:
        closed = select(CategoryChangeProposal.proposal_id).where(
            CategoryChangeProposal.change_id == change.id, CategoryChangeProposal.status == status
        )
        _set_status(session, Proposal.id.in_(closed), status)
    noted = select(CategoryChangeProposal.proposal_id).where(
        CategoryChangeProposal.change_id == change.id
    )
    again = and_(Proposal.id.in_(noted), Proposal.status.in_(WAITING), _answered())
    _set_status(session, again, ProposalStatus.DECIDED)


def _answered() -> ColumnElement[bool]:
    """The condition that a proposal's pair has a label, of a dispute: none that it contradicts."""
    pair = (Label.image_id == Proposal.image_id, Label.category_id == Proposal.category_id)
    return case(
        (Proposal.disputes, ~exists().where(*pair, Label.state != Proposal.state)),
        else_=exists().where(*pair),
    )


def _set_status(session: Session, chosen: ColumnElement[bool], status: ProposalStatus) -> None:
    query = update(Proposal).where(chosen).values(status=status)
    session.execute(query, execution_options={"synchronize_session": False})
    for held in list(session.identity_map.values()):
        if isinstance(held, Proposal):
            session.expire(held, ["status"])


def hanging(session: Session, category_ids: Collection[int]) -> tuple[int, int, int]:
    """What hangs on categories that would be hidden.

    Returns:
        Annotations of the hidden ones, open proposals of them, and assignments of them.
    """
    boxes = select(func.count()).where(Annotation.category_id.in_(category_ids))
    waiting = select(func.count()).where(
        Proposal.category_id.in_(category_ids), Proposal.status.in_(WAITING)
    )
    parts = select(func.count()).where(Assignment.category_id.in_(category_ids))
    return (
        session.scalar(boxes) or 0,
        session.scalar(waiting) or 0,
        session.scalar(parts) or 0,
    )


def boxed_but_unknown(session: Session, target_id: int, group: Collection[int]) -> int:
    """Images with annotations of some categories where the label of the one that stays is unknown.

    Args:
        session: Reads.
        target_id: The one that stays.
        group: It and all that went into it.
    """
    known = exists().where(
        Label.image_id == Annotation.image_id, Label.category_id == literal(target_id)
    )
    query = select(func.count(Annotation.image_id.distinct())).where(
        Annotation.category_id.in_(group), ~known
    )
    return session.scalar(query) or 0


def states(session: Session, category_ids: Collection[int]) -> dict[tuple[int, int], LabelState]:
    """All labels of some categories, by image and category id."""
    query = select(Label.image_id, Label.category_id, Label.state).where(
        Label.category_id.in_(category_ids)
    )
    return {(row[0], row[1]): row[2] for row in session.execute(query)}


def found_by(
    session: Session, decision: Decision
) -> tuple[LabelState, LabelSource | None, int | None]:
    """The label that a decision found: state, source, and the decision that it rested on.

    What it owed to a merge that was undone since is left out: then it is what was there before.
    """
    found = (
        decision.previous_state,
        decision.previous_source,
        decision.previous_decision_id,
    )
    noted = CategoryChangeLabel
    query = (
        select(noted)
        .join(CategoryChange, CategoryChange.id == noted.change_id)
        .where(
            noted.image_id == decision.image_id,
            CategoryChange.category_id == decision.category_id,
            CategoryChange.undone_by.is_not(None),
            CategoryChange.last_decision_id < decision.id,
            CategoryChange.undone_decision_id >= decision.id,
        )
        .order_by(noted.change_id.desc())
    )
    for one in session.scalars(query):
        if found == (one.after_state, one.after_source, one.after_decision_id):
            found = (one.before_state, one.before_source, one.before_decision_id)
    return found


def ends(session: Session, dataset_id: int) -> dict[int, int]:
    """Hidden categories, with the one that each has become a part of in the end."""
    query = select(Category.id, Category.merged_into_id).where(
        Category.dataset_id == dataset_id, Category.merged_into_id.is_not(None)
    )
    into: dict[int, int] = {id_: next_id for id_, next_id in session.execute(query) if next_id}
    found = {}
    for id_ in into:
        end = id_
        while end in into:
            end = into[end]
        found[id_] = end
    return found


def merged_around(session: Session, dataset_id: int, moment: datetime) -> bool:
    """Whether other categories are hidden now than were at a moment."""
    stood = and_(
        CategoryChange.created_at <= moment,
        or_(CategoryChange.undone_at.is_(None), CategoryChange.undone_at > moment),
    )
    stands = CategoryChange.undone_at.is_(None)
    query = select(CategoryChange.id).where(
        CategoryChange.dataset_id == dataset_id,
        CategoryChange.kind == ChangeKind.MERGE,
        or_(and_(stood, ~stands), and_(~stood, stands)),
    )
    return session.scalar(query.limit(1)) is not None
