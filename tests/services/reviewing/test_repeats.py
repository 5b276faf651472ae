"""An id is one action of one person on one dataset: the same again is harmless, else refused."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from app.services.access.grants import Grant
from app.services.reviewing import flags, undo, verdicts
from app.services.reviewing.verdicts import Answer, Receipt
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError
from db.models import Category, Decision, Flag, Image, Label
from tests.builders import make_dataset, make_grant, make_proposals

ID = "the-id-in-question"


class Stage:
    """Two people on two datasets."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        here = make_dataset(workspace).dataset_id
        there = make_dataset(workspace, "other").dataset_id
        make_proposals(workspace, here)
        self.ada = make_grant(workspace, here)
        self.bob = make_grant(workspace, here, "bob")
        self.ada_there = Grant(self.ada.annotator_id, there)
        with workspace.database.read() as session:
            self.pairs = {
                dataset_id: [
                    (image, category)
                    for image in session.scalars(select(Image.id).filter_by(dataset_id=dataset_id))
                    for category in session.scalars(
                        select(Category.id).filter_by(dataset_id=dataset_id)
                    )
                ]
                for dataset_id in (here, there)
            }
        for undone, place in (("undone-1", 6), ("undone-2", 5)):
            self.say(self.ada, undone, "batch-" + undone, place)
            undo.undo(workspace, self.ada, "undo-" + undone, "batch-" + undone)
        self.say(self.ada, "standing-1", None, 7)
        self.say(self.ada, "standing-2", None, 8)

    def pair(self, grant: Grant, place: int) -> tuple[int, int]:
        return self.pairs[grant.dataset_id][place]

    def say(
        self, grant: Grant, id_: str, batch: str | None, place: int, verdict: str = "present"
    ) -> Receipt:
        answer = Answer(id_, *self.pair(grant, place), verdict)
        return verdicts.decide(self.workspace, grant, [answer], batch)[0]

    def flag(self, grant: Grant, place: int = 0, comment: str = "odd") -> Receipt:
        image_id, category_id = self.pair(grant, place)
        options: dict[str, Any] = {"category_id": category_id, "comment": comment}
        return flags.flag(self.workspace, grant, ID, image_id, **options)

    def absent(self, grant: Grant, place: int = 0) -> Receipt:
        image_id = self.pair(grant, place)[0]
        return verdicts.mark_others_absent(self.workspace, grant, ID, image_id)

    def stored(self) -> list[list[dict[str, Any]]]:
        with self.workspace.database.read() as session:
            return [
                [
                    {key: value for key, value in vars(row).items() if key[0] != "_"}
                    for row in session.scalars(select(table))
                ]
                for table in (Decision, Label, Flag)
            ]


Act = Callable[[Stage], Receipt]
ACTIONS: dict[str, Act] = {
    "a verdict": lambda on: on.say(on.ada, ID, None, 0),
    "another verdict": lambda on: on.say(on.ada, ID, None, 0, "absent"),
    "on another category": lambda on: on.say(on.ada, ID, None, 1),
    "on another image": lambda on: on.say(on.ada, ID, None, 3),
    "of another person": lambda on: on.say(on.bob, ID, None, 0),
    "on another dataset": lambda on: on.say(on.ada_there, ID, None, 0),
    "as a part of a batch": lambda on: on.say(on.ada, ID, "the-batch-1", 0),
    "a batch": lambda on: on.say(on.ada, "member-1", ID, 1),
    "another person's batch": lambda on: on.say(on.bob, "member-2", ID, 2),
    "another dataset's batch": lambda on: on.say(on.ada_there, "member-3", ID, 1),
    "the others absent": lambda on: on.absent(on.ada),
    "the others of another image": lambda on: on.absent(on.ada, 3),
    "the others, of another person": lambda on: on.absent(on.bob),
    "the others, on another dataset": lambda on: on.absent(on.ada_there),
    "an undo": lambda on: undo.undo(on.workspace, on.ada, ID, "standing-1"),
    "another undo": lambda on: undo.undo(on.workspace, on.ada, ID, "standing-2"),
    "a redo": lambda on: undo.redo(on.workspace, on.ada, ID, "batch-undone-1"),
    "a redo of one": lambda on: undo.redo(on.workspace, on.ada, ID, "undone-2"),
}


MAY_GROW = {
    "a batch": {"the others absent", "the others of another image", "a redo"},
    "another person's batch": {"the others, of another person"},
    "another dataset's batch": {"the others, on another dataset"},
}
"""A verdict to batches that it may join: those of the same person on the same dataset."""


@pytest.fixture
def stage(workspace: Workspace) -> Stage:
    return Stage(workspace)


@pytest.mark.parametrize("name", ACTIONS)
def test_the_same_again_is_harmless_and_another_thing_is_refused(stage: Stage, name: str) -> None:
    assert ACTIONS[name](stage).status == "saved"
    before = stage.stored()
    for again, act in ACTIONS.items():
        if name in MAY_GROW.get(again, ()):
            continue
        receipt = act(stage)
        expected = ("refused", True) if again != name else ("duplicate", False)
        assert (receipt.status, receipt.message is not None) == expected, (again, receipt)
        assert stage.stored() == before, again


@pytest.mark.parametrize(
    "other",
    [
        lambda on: on.flag(on.ada, comment="something else"),
        lambda on: on.flag(on.ada, 1),
        lambda on: on.flag(on.ada, 3),
        lambda on: on.flag(on.bob),
        lambda on: on.flag(on.ada_there),
    ],
)
def test_a_flag_is_one_thing_too(stage: Stage, other: Act) -> None:
    assert [stage.flag(stage.ada).status for _ in range(2)] == ["saved", "duplicate"]
    before = stage.stored()
    assert other(stage).status == "refused"
    assert stage.stored() == before


def test_two_people_at_once_do_not_share_a_batch(stage: Stage) -> None:
    requests = []
    for grant, place in ((stage.ada, 0), (stage.bob, 1), (stage.ada, 2)):
        id_ = f"{grant.annotator_id}-{place}-member"
        answer = Answer(id_, *stage.pair(grant, place), "present")
        requests.append(verdicts._Request(grant, [answer], ID))
    said = verdicts._decide_together(stage.workspace, stage.ada.dataset_id, requests)
    assert [receipt.status for (receipt,) in said] == ["saved", "refused", "saved"]


def test_what_shares_a_batch_already_is_undone_by_its_own_maker(stage: Stage) -> None:
    stage.say(stage.ada, "member-1", ID, 1)
    for grant, id_, place in ((stage.bob, "member-2", 2), (stage.ada_there, "member-3", 1)):
        stage.say(grant, id_, "elsewhere", place)
    with stage.workspace.database.write() as session:  # as earlier versions let it happen
        for one in session.scalars(select(Decision).filter_by(batch_id="elsewhere")):
            one.batch_id = ID
    assert undo.undo(stage.workspace, stage.ada, "undo-id-1", ID).count == 1
    with stage.workspace.database.read() as session:
        undone = session.scalars(select(Decision).where(Decision.undone_by_id.is_not(None)))
        assert {one.client_id for one in undone} == {"undone-1", "undone-2", "member-1"}
    assert undo.undo(stage.workspace, stage.bob, "undo-id-2", ID).count == 1


def test_members_of_a_batch_do_not_take_an_id_that_is_taken(stage: Stage) -> None:
    _, category_id = stage.pair(stage.ada, 1)
    stage.say(stage.bob, verdicts.member_id(ID, category_id), None, 4)
    before = stage.stored()
    with pytest.raises(ConflictError, match="under a new id"):
        stage.absent(stage.ada)
    assert stage.stored() == before


def test_a_verdict_is_not_called_like_its_batch(stage: Stage) -> None:
    pair = stage.pair(stage.ada, 0)
    receipts = verdicts.decide(stage.workspace, stage.ada, [Answer(ID, *pair, "present")], ID)
    assert [one.status for one in receipts] == ["refused"]
