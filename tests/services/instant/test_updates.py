"""Proposals follow verdicts at once: order, newcomers, undo, new categories, nothing else."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import select

from app.services.access.grants import Grant
from app.services.instant.order import FRONT
from app.services.instant.tables import InstantTable
from app.services.reviewing import undo, verdicts
from app.services.reviewing.queue import QueueQuery, next_cards
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.types import LabelState
from db.models import Category, Image, ModelRun, Proposal, ProposalStatus
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

IMAGES = 120


def begun(workspace: Workspace) -> Grant:
    """A collection in which every other picture looks alike, and a run that says nothing."""
    document = coco_document(images=IMAGES)
    document["annotations"] = []
    dataset_id = make_dataset(workspace, document=document).dataset_id
    run = make_proposals(workspace, dataset_id, turn=lambda place: place)
    with workspace.database.write() as session:
        session.get_one(ModelRun, run.id).directory = "runs/made"
        ids = list(session.scalars(select(Image.id).order_by(Image.id)))
        categories = list(session.scalars(select(Category.id).order_by(Category.id)))
    alike = np.arange(IMAGES) % 2
    vectors = np.stack([alike, 1 - alike], 1) * 1.0
    InstantTable(
        image_ids=np.asarray(ids),
        category_ids=np.asarray(categories),
        logits=np.linspace(0.1, -0.1, len(categories) * IMAGES)
        .reshape(len(categories), IMAGES)
        .astype(np.float16),
        vectors=vectors.astype(np.float16),
        calibration=np.zeros((0, 2), np.float32),
    ).save(workspace.data_dir / "runs/made")
    return make_grant(workspace, dataset_id)


pytestmark = pytest.mark.filled(by=begun)


@pytest.fixture
def grant(known: Grant) -> Grant:
    return known


def first(workspace: Workspace, model: type[Image] | type[Category], place: int = 0) -> int:
    with workspace.database.read() as session:
        return int(session.scalars(select(model.id).order_by(model.id)).all()[place])


def order(workspace: Workspace, category_id: int) -> list[int]:
    """Images of a category's open proposals, the likeliest first."""
    with workspace.database.read() as session:
        query = select(Proposal.image_id).where(
            Proposal.category_id == category_id,
            Proposal.status == ProposalStatus.OPEN,
            Proposal.state == LabelState.PRESENT,
        )
        return list(session.scalars(query.order_by(Proposal.chance.desc(), Proposal.id)))


def facts(workspace: Workspace) -> set[tuple[object, ...]]:
    with workspace.database.read() as session:
        rows = session.scalars(select(Proposal)).all()
        return {(row.id, row.score, row.probability, row.status, row.lot) for row in rows}


def decide(
    workspace: Workspace, grant: Grant, image_id: int, category_id: int, verdict: str
) -> str:
    client_id = f"verdict-{image_id}-{category_id}"
    answer = Answer(client_id, image_id, category_id, verdict)
    assert verdicts.decide(workspace, grant, [answer])[0].status == "saved"
    return client_id


def within(seconds: float, true: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("verdict", ["present", "absent"])
def test_pictures_that_look_alike_move(workspace: Workspace, grant: Grant, verdict: str) -> None:
    category_id, image_id = first(workspace, Category), first(workspace, Image)
    other = order(workspace, first(workspace, Category, 1))
    decide(workspace, grant, image_id, category_id, verdict)
    assert workspace.instant.update(grant.dataset_id, category_id)
    half = len(order(workspace, category_id)) // 2
    parity = {id_ % 2 for id_ in order(workspace, category_id)[: half - 1]}
    assert parity == {image_id % 2 if verdict == "present" else 1 - image_id % 2}
    assert order(workspace, first(workspace, Category, 1)) == other


def test_it_happens_by_itself_soon_after_a_verdict(workspace: Workspace, grant: Grant) -> None:
    category_id = first(workspace, Category)
    before = order(workspace, category_id)
    decide(workspace, grant, before[0], category_id, "absent")
    within(10, lambda: order(workspace, category_id)[:5] != before[1:6])
    assert workspace.instant.stamp(grant.dataset_id) == 1


def test_an_undone_verdict_leaves_no_trace(workspace: Workspace, grant: Grant) -> None:
    category_id, image_id = first(workspace, Category), first(workspace, Image)
    update = workspace.instant.update
    update(grant.dataset_id, category_id)
    before = order(workspace, category_id)
    client_id = decide(workspace, grant, image_id, category_id, "absent")
    update(grant.dataset_id, category_id)
    assert [id_ for id_ in before if id_ != image_id] != order(workspace, category_id)
    undo.undo(workspace, grant, "undo-of-the-verdict", client_id)
    update(grant.dataset_id, category_id)
    assert order(workspace, category_id) == before


def test_scores_and_the_control_arm_stay_as_they_were(workspace: Workspace, grant: Grant) -> None:
    category_id, image_id = first(workspace, Category), first(workspace, Image)
    with workspace.database.write() as session:
        for row in session.scalars(select(Proposal).where(Proposal.image_id % 5 == 0)):
            row.control = True
        drawn = {row.id: row.chance for row in session.scalars(select(Proposal)) if row.control}
    decide(workspace, grant, image_id, category_id, "present")
    before = facts(workspace)
    workspace.instant.update(grant.dataset_id, category_id)
    assert facts(workspace) == before
    with workspace.database.read() as session:
        assert {
            row.id: row.chance for row in session.scalars(select(Proposal)) if row.control
        } == drawn


def test_pictures_at_the_front_get_a_proposal(workspace: Workspace, grant: Grant) -> None:
    category_id, image_id = first(workspace, Category), first(workspace, Image)
    with workspace.database.write() as session:
        rows = session.scalars(select(Proposal).where(Proposal.category_id == category_id)).all()
        for place, row in enumerate(rows):
            if place % 3 == 0:
                session.delete(row)
            elif place % 3 == 1:
                row.state, row.score, row.chance = LabelState.ABSENT, 0.6, 0.6
    decide(workspace, grant, image_id, category_id, "present")
    workspace.instant.update(grant.dataset_id, category_id)
    front = order(workspace, category_id)[:FRONT]
    assert len(front) == FRONT
    assert {id_ % 2 for id_ in front} == {image_id % 2}
    again = workspace.instant.update(grant.dataset_id, category_id)
    assert (again, order(workspace, category_id)[:FRONT]) == (0, front)


def test_a_category_the_run_does_not_know_begins_with_its_first_verdict(
    workspace: Workspace, grant: Grant
) -> None:
    with workspace.database.write() as session:
        category = Category(
            dataset_id=grant.dataset_id, name="novel", source_id="99", position=99, record={}
        )
        session.add(category)
        session.flush()
        category_id = category.id
    image_id = first(workspace, Image, 7)
    decide(workspace, grant, image_id, category_id, "present")
    workspace.instant.update(grant.dataset_id, category_id)
    found = order(workspace, category_id)
    assert len(found) == FRONT
    assert {id_ % 2 for id_ in found} == {image_id % 2}
    assert image_id not in found


def test_turns_are_handed_out_anew_within_the_category(workspace: Workspace, grant: Grant) -> None:
    category_id, image_id = first(workspace, Category), first(workspace, Image, 1)

    def turns() -> list[tuple[int, int]]:
        with workspace.database.read() as session:
            query = select(Proposal.turn, Proposal.image_id).where(
                Proposal.category_id == category_id, Proposal.status == ProposalStatus.OPEN
            )
            return sorted((row[0], row[1]) for row in session.execute(query))

    decide(workspace, grant, image_id, category_id, "present")
    before = turns()
    workspace.instant.update(grant.dataset_id, category_id)
    assert [turn for turn, _ in turns()] == [turn for turn, _ in before]
    assert [id_ for _, id_ in turns()] == order(workspace, category_id)


def test_a_page_after_a_change_begins_at_the_front(workspace: Workspace, grant: Grant) -> None:
    category_id = first(workspace, Category)
    query = QueueQuery(category_id=category_id, limit=10)
    page = next_cards(workspace, grant, query)
    after = QueueQuery(category_id=category_id, limit=10, after=page.cursor)
    seen = {card.image_id for card in page.cards}
    assert not seen & {card.image_id for card in next_cards(workspace, grant, after).cards}
    decide(workspace, grant, first(workspace, Image, 1), category_id, "present")
    workspace.instant.update(grant.dataset_id, category_id)
    fresh = next_cards(workspace, grant, after)
    assert [card.image_id for card in fresh.cards] == order(workspace, category_id)[:10]
    assert fresh.left is None


def test_a_run_without_a_table_is_left_alone(workspace: Workspace, grant: Grant) -> None:
    (workspace.data_dir / "runs/made/instant/logits.npy").write_bytes(b"no table")
    category_id, image_id = first(workspace, Category), first(workspace, Image)
    decide(workspace, grant, image_id, category_id, "present")
    assert workspace.instant.update(grant.dataset_id, category_id) == 0
