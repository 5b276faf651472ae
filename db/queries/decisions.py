"""Decisions and the labels they project to: always both in the caller's one transaction."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session

from clsl_core.errors import ConflictError
from clsl_core.types import LabelSource, LabelState
from db.models import (
    Annotator,
    Category,
    Decision,
    Image,
    Label,
    ModelRun,
    Panel,
    Proposal,
    ProposalStatus,
    Role,
    Verdict,
    Voice,
)
from db.queries import category_changes, panels, runs, waiting


def annotator(session: Session, name: str, role: Role = Role.ADMIN) -> Annotator:
    """The annotator of that name, made with a role when new."""
    found = session.scalar(select(Annotator).where(Annotator.name == name))
    if found is None:
        found = Annotator(name=name, role=role)
        session.add(found)
        session.flush()
    return found


def by_client_id(session: Session, client_id: str) -> Decision | None:
    """The decision that a client sent under this id."""
    return session.scalar(select(Decision).where(Decision.client_id == client_id))


def of_batch(
    session: Session, batch_id: str, annotator_id: int, dataset_id: int
) -> Sequence[Decision]:
    """The decisions that a person made as one on a dataset, in the order they were stored."""
    query = select(Decision).where(
        Decision.batch_id == batch_id,
        Decision.annotator_id == annotator_id,
        Decision.dataset_id == dataset_id,
    )
    return session.scalars(query.order_by(Decision.id)).all()


def called(session: Session, id_: str) -> Sequence[Decision]:
    """Every decision of this client id or batch id, whoever made it and wherever."""
    query = select(Decision).where((Decision.client_id == id_) | (Decision.batch_id == id_))
    return session.scalars(query.order_by(Decision.id)).all()


def by_client_ids(session: Session, client_ids: Collection[str]) -> dict[str, Decision]:
    """Of some client ids those that are stored, each with its decision."""
    query = select(Decision).where(Decision.client_id.in_(client_ids))
    return {one.client_id: one for one in session.scalars(query)}


def makers_of_batches(
    session: Session, batch_ids: Collection[str]
) -> Iterator[tuple[str, int, int, bool]]:
    """Who has made the batches of some ids.

    Yields:
        ``(batch id, annotator id, dataset id, whether it takes something back)``.
    """
    undoes = Decision.undoes_id.is_not(None)
    query = select(Decision.batch_id, Decision.annotator_id, Decision.dataset_id, undoes)
    for row in session.execute(query.where(Decision.batch_id.in_(batch_ids)).distinct()):
        yield (str(row[0]), row[1], row[2], bool(row[3]))


def standing(
    session: Session, proposal_ids: Collection[int], annotator_ids: Collection[int]
) -> dict[tuple[int, int], Decision]:
    """The newest verdict of each annotator on each of some proposals that is not undone.

    Returns:
        By annotator's and proposal's id.
    """
    query = select(Decision).where(
        Decision.proposal_id.in_(proposal_ids),
        Decision.annotator_id.in_(annotator_ids),
        Decision.verdict != Verdict.UNDO,
        Decision.undone_by_id.is_(None),
    )
    found = session.scalars(query.order_by(Decision.id))
    return {
        (one.annotator_id, one.proposal_id): one for one in found if one.proposal_id is not None
    }


def require_new(session: Session, client_ids: Collection[str]) -> None:
    """See that no decision has one of these ids yet.

    Raises:
        ConflictError: One has.
    """
    query = select(Decision.client_id).where(Decision.client_id.in_(client_ids))
    taken = session.scalar(query.limit(1))
    if taken is not None:
        raise ConflictError(
            f"the id {taken} of one of these verdicts is taken by an earlier one: nothing was "
            "stored; send them again under a new id"
        )


def newest_first(
    session: Session, dataset_id: int, annotator_id: int, before: int | None
) -> Generator[tuple[Decision, str, str, int | None]]:
    """An annotator's verdicts on a dataset, undone ones too, from the newest on.

    With ``before`` only those with a smaller id.

    Yields:
        ``(decision, file name, category name, id of the decision the label now rests on)``.
    """
    query = (
        select(Decision, Image.file_name, Category.name, Label.decision_id)
        .join(Image, Image.id == Decision.image_id)
        .join(Category, Category.id == Decision.category_id)
        .outerjoin(
            Label,
            (Label.image_id == Decision.image_id) & (Label.category_id == Decision.category_id),
        )
        .where(
            Decision.annotator_id == annotator_id,
            Decision.dataset_id == dataset_id,
            Decision.verdict != Verdict.UNDO,
        )
        .order_by(Decision.id.desc())
        .execution_options(yield_per=100)
    )
    if before is not None:
        query = query.where(Decision.id < before)
    with session.execute(query) as rows:  # who stops early closes the cursor
        for row in rows:
            yield (row[0], row[1], row[2], row[3])


def last_present_image(session: Session, dataset_id: int, annotator_id: int) -> int | None:
    """The image in which an annotator last found something."""
    query = select(Decision.image_id).where(
        Decision.annotator_id == annotator_id,
        Decision.dataset_id == dataset_id,
        Decision.verdict == Verdict.PRESENT,
        Decision.undone_by_id.is_(None),
    )
    return session.scalar(query.order_by(Decision.id.desc()).limit(1))


def count_after(session: Session, dataset_id: int, decision_id: int) -> int:
    """Verdicts of people that made a label, after the given decision and not undone since."""
    query = select(func.count()).where(
        Decision.dataset_id == dataset_id,
        Decision.id > decision_id,
        Decision.source == LabelSource.HUMAN,
        Decision.verdict.in_((Verdict.PRESENT, Verdict.ABSENT)),
        Decision.undone_by_id.is_(None),
        or_(Decision.voice == Voice.SOLE, exists().where(Label.decision_id == Decision.id)),
    )
    return session.scalar(query) or 0


def last_id(session: Session, dataset_id: int) -> int:
    """Id of the newest decision; 0 when there is none."""
    query = select(func.max(Decision.id)).where(Decision.dataset_id == dataset_id)
    return session.scalar(query) or 0


def apply(session: Session, made: Sequence[tuple[Decision, Label | None]]) -> list[Label | None]:
    """Store new decisions and, of all but skips, write the labels and close the proposals.

    The ``previous_*`` columns are filled in here.

    Args:
        session: Writes.
        made: New decisions on different pairs, each with the pair's label as it is.

    Returns:
        The labels as they are now.
    """
    for decision, label in made:
        _add(session, decision, label)
    session.flush()
    labels = [_label(session, decision, label) for decision, label in made]
    session.flush()
    judged = [
        (one.image_id, one.category_id)
        for one, _ in made
        if one.verdict is not Verdict.SKIP and one.voice is Voice.SOLE
    ]
    waiting.close(session, judged)
    return labels


def _label(session: Session, decision: Decision, label: Label | None) -> Label | None:
    """The label of a decision's pair as the decision leaves it."""
    if decision.verdict is Verdict.SKIP or decision.voice is Voice.GOLD:
        return label
    if decision.voice is not Voice.SOLE:
        return panels.derive(session, (decision.image_id, decision.category_id))
    if label is None:
        pair = (decision.image_id, decision.category_id)
        label = Label(image_id=pair[0], category_id=pair[1], provenance=None)
        session.add(label)
    label.state = decision.verdict.state
    label.source = decision.source
    label.decision_id = decision.id
    return label


def undo(session: Session, made: Sequence[tuple[Decision, Decision]]) -> None:
    """Store undos and put the labels back exactly as the undone decisions found them.

    Args:
        session: Writes.
        made: Each undo with the decision that it undoes, all on different pairs.
    """
    for event, undone in made:
        _add(session, event, session.get(Label, (undone.image_id, undone.category_id)))
    session.flush()
    reopened = []
    for event, undone in made:
        undone.undone_by_id = event.id
        if undone.verdict is Verdict.SKIP or undone.voice is Voice.GOLD:
            continue
        if undone.voice is not Voice.SOLE:
            session.flush()
            panels.derive(session, (undone.image_id, undone.category_id))
            continue
        pair = (undone.image_id, undone.category_id)
        state, source, decision_id = category_changes.found_by(session, undone)
        label = session.get(Label, pair)
        if label is not None and source is None:
            session.delete(label)
            reopened.append(pair)
        elif label is not None and source is not None:
            label.state, label.source, label.decision_id = state, source, decision_id
            _dispute_again(session, undone)
    session.flush()
    waiting.reopen(session, reopened)


def _dispute_again(session: Session, undone: Decision) -> None:
    """A label that a proposal disputed is disputed again once the answer is undone."""
    serving = select(ModelRun.id).where(runs.shown())
    query = update(Proposal).where(
        Proposal.id == undone.proposal_id,
        Proposal.disputes,
        Proposal.state != undone.previous_state,
        Proposal.model_run_id.in_(serving),
    )
    session.execute(query.values(status=ProposalStatus.DISPUTED))


def _add(session: Session, decision: Decision, label: Label | None) -> None:
    """A new decision, with the label as it found it; verdicts of one panel all found the same."""
    panel = None
    if decision.voice is Voice.PANEL and decision.undoes_id is None:
        panel = session.get(Panel, (decision.image_id, decision.category_id))
    if panel is not None:
        decision.previous_state = panel.base_state
        decision.previous_source = panel.base_source
        decision.previous_decision_id = panel.base_decision_id
        session.add(decision)
        return
    decision.previous_state = label.state if label else LabelState.UNKNOWN
    decision.previous_source = label.source if label else None
    decision.previous_decision_id = label.decision_id if label else None
    session.add(decision)
