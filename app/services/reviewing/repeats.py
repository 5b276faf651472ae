"""What a client sends again: the same is harmless, another thing under an old id is refused.

An id is one action of one person on one dataset. It names a verdict or a batch, never both, and
what was stored under it is never taken for something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy.orm import Session

from app.services.access.grants import Grant
from clsl_core.types import LabelSource
from db.models import Decision, Verdict, Voice
from db.queries import decisions

OTHER = (
    "its id was used before for something else, or by somebody else: nothing was stored; "
    "send it again under a new id"
)
OTHERS_BATCH = (
    "the id of its batch was used before for something else, or by somebody else: nothing was "
    "stored; send it again under a new id"
)


Outcome = tuple[str, str | None]
"""The status of a receipt, and its message."""
DUPLICATE: Outcome = ("duplicate", None)


def is_own(grant: Grant, decision: Decision) -> bool:
    """Whether a decision was made by this person on this dataset."""
    maker = (decision.annotator_id, decision.dataset_id)
    return maker == (grant.annotator_id, grant.dataset_id)


def repeated(
    session: Session, grant: Grant, client_id: str, same: Callable[[Decision], bool]
) -> Outcome | None:
    """What becomes of an action whose id is stored already; None when the id is new.

    Args:
        session: Reads.
        grant: Who acts, on which dataset.
        client_id: The action's id.
        same: Whether a decision of that id is what the action would store.
    """
    earlier = decisions.called(session, client_id)
    if not earlier:
        return None
    if all(is_own(grant, one) and same(one) for one in earlier):
        return DUPLICATE
    return ("refused", OTHER)


def meant(session: Session, grant: Grant, id_: str) -> tuple[Decision | None, list[Decision]]:
    """What a person means by an id.

    Returns:
        The decision of that id if it is one, and all that belong to it: that one, or the members
        of their own batch on this dataset. What is somebody else's belongs only if nothing else
        does, so that it can be said why it stays.
    """
    single = decisions.by_client_id(session, id_)
    if single is not None and is_own(grant, single):
        return single, [single]
    own = list(decisions.of_batch(session, id_, grant.annotator_id, grant.dataset_id))
    if own:
        return None, own
    return single, list(decisions.called(session, id_))


class Said(NamedTuple):
    """What a verdict says, and as a part of which batch."""

    image_id: int
    category_id: int
    verdict: str
    batch_id: str | None

    @classmethod
    def by(cls, decision: Decision) -> Said:
        """What a stored decision says."""
        return cls(decision.image_id, decision.category_id, decision.verdict, decision.batch_id)


@dataclass(slots=True)
class Ids:
    """Which ids that some requests name are taken, and by what.

    Attributes:
        decisions: By client id; what the requests themselves make comes in with ``take``.
        batches: The ``(annotator, dataset, takes something back)`` of each batch id.
    """

    decisions: dict[str, Decision]
    batches: dict[str, set[tuple[int, int, bool]]] = field(default_factory=dict)

    @classmethod
    def read(cls, session: Session, named: set[str]) -> Ids:
        """Look up client ids and batch ids."""
        found = cls(decisions.by_client_ids(session, named))
        for id_, *maker in decisions.makers_of_batches(session, named):
            annotator_id, dataset_id, undoes = maker
            found.batches.setdefault(id_, set()).add((annotator_id, dataset_id, bool(undoes)))
        return found

    def take(self, decision: Decision) -> None:
        """A decision is made: its ids are taken from now on."""
        self.decisions[decision.client_id] = decision
        if decision.batch_id is not None:
            maker = (decision.annotator_id, decision.dataset_id, False)
            self.batches.setdefault(decision.batch_id, set()).add(maker)

    def outcome(self, grant: Grant, client_id: str, said: Said) -> Outcome | None:
        """What becomes of a verdict whose ids are taken; None when it may be stored under them."""
        earlier = self.decisions.get(client_id)
        if earlier is not None:
            same = is_own(grant, earlier) and Said.by(earlier) == said
            return DUPLICATE if same else ("refused", OTHER)
        if client_id in self.batches or client_id == said.batch_id:
            return ("refused", OTHER)
        if said.batch_id is not None and not self._may_join(grant, said.batch_id):
            return ("refused", OTHERS_BATCH)
        return None

    def _may_join(self, grant: Grant, batch_id: str) -> bool:
        own = {(grant.annotator_id, grant.dataset_id, False)}
        return batch_id not in self.decisions and self.batches.get(batch_id, own) == own


def takes_back(members: Sequence[Decision]) -> Callable[[Decision], bool]:
    """Whether a decision is an undo of one of these."""
    ids = {one.id for one in members}
    return lambda one: one.verdict is Verdict.UNDO and one.undoes_id in ids


def makes_again(members: Sequence[Decision]) -> Callable[[Decision], bool]:
    """Whether a decision is another one that says the same as one of these."""
    said = {(one.image_id, one.category_id, one.verdict) for one in members}
    ids = {one.id for one in members}
    return lambda one: one.id not in ids and (one.image_id, one.category_id, one.verdict) in said


def says_absent(batch_id: str, image_id: int) -> Callable[[Decision], bool]:
    """Whether a decision says, as a part of a batch, that something is not in an image."""
    return lambda one: (
        (one.batch_id, one.image_id, one.verdict) == (batch_id, image_id, Verdict.ABSENT)
    )


def accepts_unseen(batch_id: str, category_id: int) -> Callable[[Decision], bool]:
    """Whether a decision accepts, as a part of a batch, a category that nobody looked at."""
    wanted = (batch_id, category_id, LabelSource.MODEL_AUDITED)
    return lambda one: (one.batch_id, one.category_id, one.source) == wanted


def settles(image_id: int, category_id: int, verdict: str) -> Callable[[Decision], bool]:
    """Whether a decision settles a conflict in this way."""
    wanted = (image_id, category_id, verdict, Voice.ADJUDICATION)
    return lambda one: (one.image_id, one.category_id, one.verdict, one.voice) == wanted
