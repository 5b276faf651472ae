"""Verdicts undone and done again, exactly: new events, the old ones stay."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.services.access import rights
from app.services.access.grants import Grant
from app.services.access.rights import Right
from app.services.learning import triggers
from app.services.reviewing import repeats
from app.services.reviewing.cards import Card
from app.services.reviewing.panels import Turn, may_take_back, turn_of
from app.services.reviewing.queue import card_of
from app.services.reviewing.verdicts import (
    HIDDEN,
    Answer,
    Receipt,
    check_id,
    event_of,
    member_id,
    store,
    tell,
)
from app.services.workspace import Workspace
from db.models import Decision, Label, Verdict, Voice
from db.queries import category_changes, decisions, labels, panels, stored


def undo(workspace: Workspace, grant: Grant, client_id: str, undoes: str) -> Receipt:
    """Take back one of the annotator's own decisions, or a batch; new events, the old ones stay.

    A label becomes exactly what it was before, unless somebody decided again since: then it
    stays, and where that leaves nothing to undo the receipt says ``stale``.

    Args:
        workspace: Where.
        grant: Who, on which dataset.
        client_id: Of the undo itself.
        undoes: The decision's client id, or the batch's.

    Raises:
        InputError: The undo's own id cannot be used.
    """
    rights.require(Right.DECIDE)
    check_id(client_id)
    with workspace.database.write(grant.dataset_id) as session:
        single, members = repeats.meant(session, grant, undoes)
        again = repeats.repeated(session, grant, client_id, repeats.takes_back(members))
        if again is not None:
            card = _card(session, single) if again == repeats.DUPLICATE else None
            return Receipt(client_id, *again, card=card)
        refusal = _undo_refusal(grant, members)
        hidden = category_changes.hidden(session, grant.dataset_id)
        members = [one for one in members if one.category_id not in hidden]
        if refusal is None and not members:
            refusal = HIDDEN
        if refusal is not None:
            return Receipt(client_id, "refused", refusal)
        standing = [decision for decision in members if decision.undone_by_id is None]
        if not standing:
            return Receipt(client_id, "stale", "this was already undone")
        pairs = [(decision.image_id, decision.category_id) for decision in standing]
        held = labels.of_pairs(session, pairs)  # read at once, found in the session then
        current = [decision for decision in standing if _is_current(session, decision)]
        alone = single is not None
        events = [_undo(grant, decision, client_id, single=alone) for decision in current]
        decisions.require_new(session, [event.client_id for event in events])
        decisions.undo(session, list(zip(events, current, strict=True)))
        del held
        if not current:
            return Receipt(client_id, "stale", "it was decided again since")
        kept = len(standing) - len(current)
        message = f"{kept} of {len(standing)} were decided again since and stay" if kept else None
        count = sum(decision.verdict is not Verdict.SKIP for decision in current)
        receipt = Receipt(client_id, "saved", message, count, _card(session, single))
        touched = {decision.category_id for decision in current}
    tell(workspace, grant.dataset_id, touched)
    return receipt


def _undo_refusal(grant: Grant, members: Sequence[Decision]) -> str | None:
    here = [one for one in members if one.dataset_id == grant.dataset_id]
    if not here:
        return "there is no such decision in this dataset"
    if not all(repeats.is_own(grant, one) for one in members):
        return "only the annotator who made a decision can undo it"
    if members[0].verdict is Verdict.UNDO:
        return "an undo cannot be undone: redo the decision instead"
    return None


def _is_current(session: Session, decision: Decision) -> bool:
    """Whether the pair's label still rests on a decision; a skip has none to rest on."""
    if decision.verdict is Verdict.SKIP or decision.voice is Voice.GOLD:
        return True
    if decision.voice is Voice.PANEL:
        return may_take_back(session, decision)
    label = stored.find(session, Label, (decision.image_id, decision.category_id))
    return label is not None and label.decision_id == decision.id


def _undo(grant: Grant, decision: Decision, client_id: str, *, single: bool) -> Decision:
    """The event that takes a decision back."""
    return Decision(
        client_id=client_id if single else member_id(client_id, decision.id),
        dataset_id=decision.dataset_id,
        image_id=decision.image_id,
        category_id=decision.category_id,
        annotator_id=grant.annotator_id,
        proposal_id=decision.proposal_id,
        verdict=Verdict.UNDO,
        voice=decision.voice,
        undoes_id=decision.id,
        batch_id=None if single else client_id,
    )


def _card(session: Session, decision: Decision | None) -> Card | None:
    if decision is None or decision.proposal_id is None:
        return None
    return card_of(session, decision.proposal_id)


def redo(workspace: Workspace, grant: Grant, client_id: str, redoes: str) -> Receipt:
    """Decide again what was undone: new decisions with the same verdicts.

    A single one gets the id ``client_id``; the members of a batch form a new batch of that id.

    Args:
        workspace: Where.
        grant: Who, on which dataset.
        client_id: Of what is made.
        redoes: Client id of the undone decision, or of the batch.

    Raises:
        InputError: The id cannot be used.
    """
    rights.require(Right.DECIDE)
    check_id(client_id)
    with workspace.database.write(grant.dataset_id) as session:
        single, members = repeats.meant(session, grant, redoes)
        repeat = repeats.repeated(session, grant, client_id, repeats.makes_again(members))
        if repeat is not None:
            return Receipt(client_id, *repeat)
        refusal = _undo_refusal(grant, members)
        hidden = category_changes.hidden(session, grant.dataset_id)
        members = [one for one in members if one.category_id not in hidden]
        if refusal is None and not members:
            refusal = HIDDEN
        if refusal is not None:
            return Receipt(client_id, "refused", refusal)
        undone = [decision for decision in members if decision.undone_by_id is not None]
        shared = panels.sharing(session, grant.dataset_id)
        turns = [(decision, _turn_again(session, grant, shared, decision)) for decision in undone]
        again = [decision for decision, turn in turns if turn.status is None]
        made = []
        for decision, turn in turns:
            if turn.status is not None:
                continue
            own_id = client_id if single else member_id(client_id, decision.id)
            batch_id = None if single else client_id
            label = stored.find(session, Label, (decision.image_id, decision.category_id))
            known = [decision.proposal_id] if decision.proposal_id else []
            new = event_of(grant, _answer(decision, own_id), batch_id, known, turn.voice)
            new.source = decision.source
            made.append((new, label))
        decisions.require_new(session, [decision.client_id for decision, _ in made])
        store(session, made)
        job_id = triggers.due_retraining(session, grant.dataset_id)
        touched = {decision.category_id for decision in again}
    tell(workspace, grant.dataset_id, touched, job_id)
    if not again:
        return Receipt(client_id, "stale", "it was decided again since, or never undone")
    lost = len(undone) - len(again)
    message = f"{lost} of {len(undone)} were decided by somebody else meanwhile" if lost else None
    return Receipt(client_id, "saved", message, len(again))


def _turn_again(session: Session, grant: Grant, shared: panels.Sharing, decision: Decision) -> Turn:
    """Whether an undone decision can be made again, and as what."""
    if not shared.plain:
        pair = (decision.image_id, decision.category_id)
        settled = decision.previous_source is None and stored.find(session, Label, pair) is not None
        turn = turn_of(session, grant, shared, pair, decision.verdict, settled=settled)
        if turn.voice is not Voice.SOLE or turn.status is not None:
            return turn
    found = decision.voice is Voice.SOLE and _is_as_found(session, decision)
    return Turn(Voice.SOLE, None if found else "stale")


def _is_as_found(session: Session, decision: Decision) -> bool:
    """Whether a pair's label is what it was when the decision was made."""
    label = stored.find(session, Label, (decision.image_id, decision.category_id))
    if label is None:
        return decision.previous_source is None
    found = (decision.previous_state, decision.previous_decision_id)
    return decision.previous_source is not None and (label.state, label.decision_id) == found


def _answer(decision: Decision, client_id: str) -> Answer:
    """The answer that a decision was."""
    return Answer(
        client_id=client_id,
        image_id=decision.image_id,
        category_id=decision.category_id,
        verdict=decision.verdict.value,
        proposal_id=decision.proposal_id,
        seconds=decision.seconds,
    )
