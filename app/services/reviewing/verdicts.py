"""Verdicts: stored once, as labels, singly or as a batch."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.orm import Session

from app.services.access import rights
from app.services.access.grants import Grant
from app.services.access.rights import Right
from app.services.learning import triggers
from app.services.reviewing import repeats
from app.services.reviewing.cards import Card
from app.services.reviewing.panels import Turn, turn_of
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from db.models import Category, Decision, Image, Label, Proposal, ProposalStatus, Verdict, Voice
from db.queries import (
    datasets,
    decisions,
    labels,
    leases,
    panels,
    proposals,
    runs,
    stored,
)

MAX_DECISIONS = 100
ID_LENGTH = range(8, 65)
HIDDEN = "this category was merged into another one: what is decided now is decided about that one"


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict as a client sends it. The same ``client_id`` again is the same verdict."""

    client_id: str
    image_id: int
    category_id: int
    verdict: str
    proposal_id: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an answer: saved, duplicate, stale or refused.

    Attributes:
        count: Labels that changed.
        card: After an undo of a single verdict: the question it had answered.
    """

    client_id: str
    status: str
    message: str | None = None
    count: int = 0
    card: Card | None = None


def decide(
    workspace: Workspace, grant: Grant, answers: Sequence[Answer], batch_id: str | None = None
) -> list[Receipt]:
    """Store verdicts and their labels in one transaction, each exactly once.

    Args:
        workspace: Where.
        grant: Who, on which dataset.
        answers: At most MAX_DECISIONS.
        batch_id: Given when the verdicts are one action, to be undone as one.

    Raises:
        InputError: More than MAX_DECISIONS at once, or the batch's id cannot be used.
    """
    rights.require(Right.DECIDE)
    if len(answers) > MAX_DECISIONS:
        raise InputError(f"{len(answers)} verdicts in one request: send at most {MAX_DECISIONS}")
    if batch_id is not None:
        check_id(batch_id)
    request = _Request(grant, answers, batch_id)
    store = partial(_decide_together, workspace, grant.dataset_id)
    return workspace.verdicts.store(grant.dataset_id, request, store, size=len(answers))


@dataclass(frozen=True, slots=True)
class _Request:
    """Verdicts that somebody sent at once."""

    grant: Grant
    answers: Sequence[Answer]
    batch_id: str | None


def _decide_together(
    workspace: Workspace, dataset_id: int, requests: Sequence[_Request]
) -> list[list[Receipt]]:
    """Store what several people sent, one request after the other, in one transaction."""
    receipts = []
    with workspace.database.write(dataset_id) as session:
        facts = _Facts.read(session, dataset_id, requests)
        for request in requests:
            said = []
            for answer in request.answers:
                if (answer.image_id, answer.category_id) in facts.made:
                    facts.store(session)  # the second answer finds the first one's label
                said.append(_decide(session, request.grant, facts, answer, request.batch_id))
            receipts.append(said)
        facts.store(session)
        job_id = triggers.due_retraining(session, dataset_id)
    touched = {
        answer.category_id
        for request, said in zip(requests, receipts, strict=True)
        for answer, receipt in zip(request.answers, said, strict=True)
        if receipt.status == "saved"
    }
    tell(workspace, dataset_id, touched, job_id)
    return receipts


def tell(
    workspace: Workspace, dataset_id: int, category_ids: Collection[int], job_id: int | None = None
) -> None:
    """Tell those whom verdicts concern, once they are stored."""
    workspace.instant.soon(dataset_id, category_ids)
    if job_id is not None:
        workspace.jobs.bell.ring(job_id)


def mark_others_absent(
    workspace: Workspace, grant: Grant, client_id: str, image_id: int, seconds: float | None = None
) -> Receipt:
    """Every category without a label is not in the image: one batch, named ``client_id``.

    Raises:
        InputError: The batch's id cannot be used.
    """
    rights.require(Right.DECIDE)
    check_id(client_id)
    with workspace.database.write(grant.dataset_id) as session:
        same = repeats.says_absent(client_id, image_id)
        again = repeats.repeated(session, grant, client_id, same)
        if again is not None:
            return Receipt(client_id, *again)
        image = stored.find(session, Image, image_id)
        if image is None or image.dataset_id != grant.dataset_id:
            return Receipt(client_id, "refused", "this image is not in the dataset any more")
        known = labels.categories_of(session, image_id)
        shared = panels.sharing(session, grant.dataset_id)
        run_ids = runs.shown_runs(session, grant.dataset_id)
        proposed = proposals.of_image(session, run_ids, image_id)
        made = []
        for category in datasets.categories(session, grant.dataset_id):
            if category.id not in known:
                own_id = member_id(client_id, category.id)
                pair = (image_id, category.id)
                answer = Answer(own_id, *pair, "absent", proposed.get(category.id), seconds)
                turn = Turn(Voice.SOLE)
                if not shared.plain:
                    verdict = Verdict.ABSENT
                    turn = turn_of(session, grant, shared, pair, verdict, settled=False)
                if turn.status is None:
                    decision = event_of(grant, answer, client_id, proposed.values(), turn.voice)
                    made.append((decision, None))
        decisions.require_new(session, [decision.client_id for decision, _ in made])
        store(session, made)
        job_id = triggers.due_retraining(session, grant.dataset_id)
    # That something nobody thought of is not there is no news for its category.
    tell(workspace, grant.dataset_id, proposed, job_id)
    return Receipt(client_id, "saved", count=len(made))


@dataclass(slots=True)
class _Facts:
    """What is known of the pairs of some requests: read once for all of their answers.

    Attributes:
        standing: Verdicts by annotator and proposal.
        made: Decisions by pair that are not stored yet.
    """

    ids: repeats.Ids
    images: dict[int, Image]
    categories: dict[int, Category]
    proposals: dict[int, Proposal]
    labels: dict[tuple[int, int], Label]
    standing: dict[tuple[int, int], Decision]
    shared: panels.Sharing
    made: dict[tuple[int, int], Decision] = field(default_factory=dict)

    @classmethod
    def read(cls, session: Session, dataset_id: int, requests: Sequence[_Request]) -> _Facts:
        answers = [answer for request in requests for answer in request.answers]
        annotator_ids = {request.grant.annotator_id for request in requests}
        proposal_ids = {a.proposal_id for a in answers if a.proposal_id is not None}
        pairs = {(answer.image_id, answer.category_id) for answer in answers}
        named = {answer.client_id for answer in answers}
        named |= {request.batch_id for request in requests if request.batch_id is not None}
        return cls(
            ids=repeats.Ids.read(session, named),
            images=stored.several(session, Image, {pair[0] for pair in pairs}),
            categories=stored.several(session, Category, {pair[1] for pair in pairs}),
            proposals=stored.several(session, Proposal, proposal_ids),
            labels={
                (label.image_id, label.category_id): label
                for label in labels.of_pairs(session, pairs)
            },
            standing=decisions.standing(session, proposal_ids, annotator_ids),
            shared=panels.sharing(session, dataset_id),
        )

    def proposal(self, answer: Answer) -> Proposal | None:
        """The proposal that an answer names; None when it is gone, or is not about the pair."""
        found = self.proposals.get(answer.proposal_id or 0)
        pair = (answer.image_id, answer.category_id)
        return found if found and (found.image_id, found.category_id) == pair else None

    def store(self, session: Session) -> None:
        """Write what was made, all at once."""
        made = [(decision, self.labels.get(pair)) for pair, decision in self.made.items()]
        for pair, label in zip(self.made, store(session, made), strict=True):
            if label is None:
                self.labels.pop(pair, None)
            else:
                self.labels[pair] = label
        self.made.clear()


def _decide(
    session: Session, grant: Grant, facts: _Facts, answer: Answer, batch_id: str | None
) -> Receipt:
    pair = (answer.image_id, answer.category_id)
    said = repeats.Said(*pair, answer.verdict, batch_id)
    again = facts.ids.outcome(grant, answer.client_id, said)
    if again is not None:
        return Receipt(answer.client_id, *again)
    refusal = _refusal(facts, grant, answer)
    if refusal is not None:
        return Receipt(answer.client_id, "refused", refusal)
    label, proposal = facts.labels.get(pair), facts.proposal(answer)
    turn = Turn(Voice.SOLE)
    if not facts.shared.plain:
        settled = label is not None and not (proposal is not None and proposal.disputes)
        turn = turn_of(session, grant, facts.shared, pair, Verdict(answer.verdict), settled=settled)
    if turn.status is not None:
        return Receipt(answer.client_id, turn.status, turn.message)
    if answer.proposal_id is not None and turn.voice is Voice.SOLE:
        own = (grant.annotator_id, 0 if proposal is None else proposal.id)
        earlier = facts.standing.get(own)
        if earlier is not None and earlier.verdict is Verdict(answer.verdict):
            return Receipt(answer.client_id, "duplicate", "you have decided this already")
        if earlier is None and _settled(session, grant, answer, proposal, label):
            return Receipt(answer.client_id, "stale", "this pair has been decided meanwhile")
    known = () if proposal is None else (proposal.id,)
    decision = event_of(grant, answer, batch_id, known, turn.voice)
    facts.made[pair] = decision
    facts.ids.take(decision)
    if proposal is not None:
        facts.standing[grant.annotator_id, proposal.id] = decision
    return Receipt(answer.client_id, "saved", count=1)


def _settled(
    session: Session,
    grant: Grant,
    answer: Answer,
    proposal: Proposal | None,
    label: Label | None,
) -> bool:
    """Whether somebody else has answered the question meanwhile."""
    if answer.verdict == "skip":
        return False
    if proposal is not None and proposal.disputes:
        return proposal.status is ProposalStatus.DECIDED
    if label is None:
        return False
    author = label.decision_id and stored.one(session, Decision, label.decision_id).annotator_id
    return author != grant.annotator_id


def event_of(
    grant: Grant,
    answer: Answer,
    batch_id: str | None,
    known: Container[int],
    voice: Voice = Voice.SOLE,
) -> Decision:
    """An answer as an event; ``known`` are the proposals that are still there to be named."""
    if voice is Voice.GOLD:
        known = ()  # of a known answer, the model's own is not counted as accepted or not
    return Decision(
        client_id=answer.client_id,
        dataset_id=grant.dataset_id,
        image_id=answer.image_id,
        category_id=answer.category_id,
        annotator_id=grant.annotator_id,
        proposal_id=answer.proposal_id if answer.proposal_id in known else None,
        verdict=Verdict(answer.verdict),
        voice=voice,
        seconds=answer.seconds,
        batch_id=batch_id,
    )


def store(
    session: Session, made: Sequence[tuple[Decision, Label | None]]
) -> Sequence[Label | None]:
    """Store decisions on different pairs, each with its label as it is; the labels as they are now.

    Whoever was shown the pairs has them no more.
    """
    if not made:
        return []
    held = {
        (one.image_id, one.category_id): None if one.voice is Voice.SOLE else one.annotator_id
        for one, _ in made
    }
    leases.release(session, held)
    return decisions.apply(session, made)


def _refusal(facts: _Facts, grant: Grant, answer: Answer) -> str | None:
    """Why an answer can never be stored; None when it can."""
    if answer.verdict not in ("present", "absent", "skip"):
        return f"the verdict {answer.verdict!r} is none of present, absent, skip"
    if len(answer.client_id) not in ID_LENGTH:
        return "the verdict's own id must have 8 to 64 characters"
    image = facts.images.get(answer.image_id)
    category = facts.categories.get(answer.category_id)
    if image is None or image.dataset_id != grant.dataset_id:
        return "this image is not in the dataset any more"
    if category is None or category.dataset_id != grant.dataset_id:
        return "this category is not in the dataset any more"
    if category.merged_into_id is not None:
        return HIDDEN
    return None


def check_id(batch_id: str) -> None:
    """See that a batch may be called so.

    Raises:
        InputError: It is too short or too long.
    """
    if len(batch_id) not in ID_LENGTH:
        raise InputError("a batch's own id must have 8 to 64 characters")


def member_id(batch_id: str, part: int) -> str:
    """The id of one decision of a batch: the same whenever the batch is sent."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{batch_id}:{part}").hex
