"""Several people judge a pair: whose turn it is, how many are asked, and what they disagree on."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.grants import Grant
from app.services.access.rights import Right
from app.services.reviewing import repeats
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import ConflictError, InputError, NotFoundError
from db.models import Decision, Gold, Label, Panel, PanelStatus, Verdict, Voice
from db.queries import decisions, leases, panels, stored

MOST = 20
MAX_CONFLICTS = 200


@dataclass(frozen=True, slots=True)
class Turn:
    """As what a verdict would be stored; with a ``status``, why it is not."""

    voice: Voice
    status: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one person said of a pair."""

    annotator: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A pair on which people disagree, with all they said. ``tied``: there is no majority."""

    image_id: int
    category_id: int
    file_name: str
    category: str
    tied: bool
    opinions: list[Opinion]


def turn_of(
    session: Session,
    grant: Grant,
    shared: panels.Sharing,
    pair: tuple[int, int],
    verdict: Verdict,
    *,
    settled: bool,
) -> Turn:
    """Whether somebody may speak on a pair now, and as what; a panel is begun when it is due.

    Args:
        session: In the writing transaction that stores the verdict.
        grant: Who, on which dataset.
        shared: How the dataset is shared out.
        pair: Image and category.
        verdict: What they say.
        settled: The pair has a label that nobody disputes.
    """
    if shared.gold and stored.find(session, Gold, pair) is not None:
        mine = panels.voices(session, pair, Voice.GOLD).get(grant.annotator_id)
        return _unless_said(Voice.GOLD, mine, verdict)
    if verdict is Verdict.SKIP:
        return Turn(Voice.SOLE)
    panel = stored.find(session, Panel, pair)
    if panel is None:
        if shared.overlap == 1 or settled:
            return Turn(Voice.SOLE)
        label = stored.find(session, Label, pair)
        panels.begin(session, grant.dataset_id, pair, shared.overlap, label)
        return Turn(Voice.PANEL)
    mine = panels.voices(session, pair, Voice.PANEL).get(grant.annotator_id)
    full = mine is None and panel.present + panel.absent >= panel.size
    if full or panel.status is PanelStatus.ADJUDICATED:
        return Turn(Voice.PANEL, "stale", "this pair has been decided meanwhile")
    return _unless_said(Voice.PANEL, mine, verdict)


def _unless_said(voice: Voice, mine: Decision | None, verdict: Verdict) -> Turn:
    if mine is not None and mine.verdict is verdict:
        return Turn(voice, "duplicate", "you have decided this already")
    return Turn(voice)


def may_take_back(session: Session, decision: Decision) -> bool:
    """Whether a verdict of several can still be undone: not once the pair was adjudicated."""
    panel = stored.find(session, Panel, (decision.image_id, decision.category_id))
    return panel is not None and panel.status is not PanelStatus.ADJUDICATED


def set_overlap(workspace: Workspace, name: str, overlap: int) -> int:
    """How many people judge each pair of a dataset from now on.

    Pairs in which verdicts are missing follow; those that are settled stay as they are.

    Returns:
        How many pairs were settled by this.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset.
        InputError: The number is not from 1 to MOST.
    """
    rights.require(Right.MANAGE)
    if not 1 <= overlap <= MOST:
        raise InputError(f"an overlap of {overlap}: give a number of people from 1 to {MOST}")
    with workspace.database.read() as session:
        dataset_id = find_dataset(session, name).id
    with workspace.database.write(dataset_id) as session:
        dataset = find_dataset(session, name)
        waiting = panels.unfinished(session, dataset_id)
        before, dataset.overlap = dataset.overlap, overlap
        for panel in waiting:
            panel.size = max(overlap, panel.present + panel.absent)
            session.flush()
            panels.derive(session, (panel.image_id, panel.category_id))
        settled = [panel for panel in waiting if panel.status is not PanelStatus.WAITING]
        category_ids = {panel.category_id for panel in settled}
        subject = f"dataset {dataset_id}"
        audit_log.record(session, "overlap", subject, before=before, after=overlap)
    workspace.instant.soon(dataset_id, category_ids)
    return len(settled)


def conflicts(
    workspace: Workspace,
    dataset_id: int,
    *,
    limit: int = 20,
    outvoted: bool = False,
    after: tuple[int, int] | None = None,
) -> list[Conflict]:
    """Pairs on which people disagree, with who said what, for whoever may settle them.

    Args:
        workspace: Where.
        dataset_id: The dataset.
        limit: Most pairs.
        outvoted: Also those that a majority has settled.
        after: Image and category of the last one that was given out.

    Raises:
        Forbidden: Whoever acts may not see what others said.
    """
    rights.require(Right.ADJUDICATE)
    limit = max(1, min(limit, MAX_CONFLICTS))
    with workspace.database.read() as session:
        rows = panels.conflicts(session, dataset_id, limit, outvoted=outvoted, after=after)
        found = []
        for panel, image, category in rows:
            said = panels.voices(session, (image.id, category.id), Voice.PANEL)
            names = panels.names(session, list(said))
            opinions = [Opinion(names[id_], one.verdict.value) for id_, one in said.items()]
            tied = panel.status is PanelStatus.CONFLICT
            pair = (image.id, category.id)
            found.append(Conflict(*pair, image.file_name, category.name, tied, opinions))
        return found


def adjudicate(
    workspace: Workspace,
    grant: Grant,
    image_id: int,
    category_id: int,
    verdict: str,
    client_id: str | None = None,
) -> str:
    """Settle a pair on which people disagree; the verdict becomes its label.

    Sending the same ``client_id`` twice is the same as once.

    Returns:
        The decision's client id, by which whoever settled it can undo it.

    Raises:
        Forbidden: Whoever acts is no reviewer.
        InputError: The verdict is neither present nor absent.
        NotFoundError: Nobody has judged the pair.
        ConflictError: Verdicts are missing, all agree, or it is settled already.
    """
    rights.require(Right.ADJUDICATE)
    if verdict not in ("present", "absent"):
        raise InputError(f"the verdict is {verdict!r}: expected present or absent")
    client_id = client_id or uuid.uuid4().hex
    pair = (image_id, category_id)
    with workspace.database.write(grant.dataset_id) as session:
        same = repeats.settles(*pair, verdict)
        again = repeats.repeated(session, grant, client_id, same)
        if again == repeats.DUPLICATE:
            return client_id
        if again is not None:
            raise ConflictError(f"the verdict cannot be stored: {again[1]}")
        panel = stored.find(session, Panel, pair)
        if panel is None or panel.dataset_id != grant.dataset_id:
            raise NotFoundError(f"no panel has judged image {image_id}, category {category_id}")
        open_ = panel.status in (PanelStatus.CONFLICT, PanelStatus.AGREED)
        if not open_ or not (panel.present and panel.absent):
            raise ConflictError(
                f"image {image_id}, category {category_id} is {panel.status} with "
                f"{panel.present} present and {panel.absent} absent of {panel.size}: only a pair "
                "on which all have spoken and disagree can be settled"
            )
        made = Decision(
            client_id=client_id,
            dataset_id=grant.dataset_id,
            image_id=image_id,
            category_id=category_id,
            annotator_id=grant.annotator_id,
            verdict=Verdict(verdict),
            voice=Voice.ADJUDICATION,
        )
        leases.release(session, {pair: None})
        decisions.apply(session, [(made, stored.find(session, Label, pair))])
    workspace.instant.soon(grant.dataset_id, {category_id})
    return client_id
