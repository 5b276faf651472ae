"""What is missing, from the control arm, against a truth that the test knows."""

import uuid

import numpy as np
import pytest
from sqlalchemy import delete, select, update

from app.services.access.grants import Grant
from app.services.quality.completeness import completeness_of
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from db.models import Decision, Label, Proposal, ProposalStatus
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

IMAGES, CATEGORIES = 90, 3
UNKNOWN = IMAGES * CATEGORIES - IMAGES


@pytest.fixture
def grant(workspace: Workspace) -> Grant:
    """90 pictures with one imported category each, 180 unknown pairs, all proposed."""
    dataset_id = make_dataset(workspace, document=coco_document(IMAGES, CATEGORIES)).dataset_id
    make_proposals(workspace, dataset_id)
    return make_grant(workspace, dataset_id)


def draw_control(workspace: Workspace, chosen: list[int]) -> None:
    """Begin anew with another control arm."""
    with workspace.database.write() as session:
        session.execute(delete(Label).where(Label.decision_id.is_not(None)))
        session.execute(delete(Decision))
        waits = {"status": ProposalStatus.OPEN, "control": False}
        session.execute(update(Proposal).values(**waits))
        session.execute(update(Proposal).where(Proposal.id.in_(chosen)).values(control=True))


def answer(workspace: Workspace, grant: Grant, ids: list[int], truth: dict[int, bool]) -> None:
    """An oracle answers some proposals."""
    with workspace.database.read() as session:
        rows = session.scalars(select(Proposal).where(Proposal.id.in_(ids))).all()
    made = [
        Answer(
            uuid.uuid4().hex,
            one.image_id,
            one.category_id,
            "present" if truth[one.id] else "absent",
            one.id,
        )
        for one in rows
    ]
    for start in range(0, len(made), 100):
        verdicts.decide(workspace, grant, made[start : start + 100])


def proposal_ids(workspace: Workspace) -> list[int]:
    with workspace.database.read() as session:
        return list(session.scalars(select(Proposal.id).order_by(Proposal.id)))


def test_no_model_no_estimate(workspace: Workspace) -> None:
    make_dataset(workspace)
    assert completeness_of(workspace, "set").together is None


def test_no_estimate_before_the_arm_is_answered(workspace: Workspace, grant: Grant) -> None:
    ids = proposal_ids(workspace)
    draw_control(workspace, ids[:20])
    answer(workspace, grant, ids[:19], dict.fromkeys(ids, True))
    found = completeness_of(workspace, "set")
    assert found.together is not None
    assert (found.together.waiting, found.together.missing, found.recall) == (1, None, ())
    with workspace.database.read() as session:
        last = session.get_one(Proposal, ids[19])
    skip = Answer(uuid.uuid4().hex, last.image_id, last.category_id, "skip", last.id)
    verdicts.decide(workspace, grant, [skip])
    found = completeness_of(workspace, "set")
    assert found.together is not None
    assert found.together.waiting == 0
    assert found.together.missing == UNKNOWN - 19  # all answered ones were positive


def test_everything_answered_leaves_no_doubt(workspace: Workspace, grant: Grant) -> None:
    ids = proposal_ids(workspace)
    truth = {id_: id_ % 4 == 0 for id_ in ids}
    draw_control(workspace, ids)
    answer(workspace, grant, ids, truth)
    found = completeness_of(workspace, "set")
    for row in (found.together, *found.categories):
        assert row is not None
        assert (row.missing, row.low, row.high, row.share, row.stop) == (0, 0, 0, 1, True)
    assert found.together is not None
    assert found.together.found == IMAGES + sum(truth.values())
    assert "stop here" in found.together.reason
    assert found.recall[0].share == pytest.approx(IMAGES / found.together.found)
    assert found.recall[-1].share == 1.0
    assert len(found.categories) == CATEGORIES


def test_positives_found_outside_the_arm_are_not_missing(
    workspace: Workspace, grant: Grant
) -> None:
    ids = proposal_ids(workspace)
    truth = {id_: i % 3 == 0 for i, id_ in enumerate(ids)}
    control, others = ids[:60], ids[60:150]
    draw_control(workspace, control)
    answer(workspace, grant, control + others, truth)
    row = completeness_of(workspace, "set").together
    assert row is not None
    known = sum(truth[id_] for id_ in control + others)
    assert row.missing == pytest.approx(UNKNOWN * 20 / 60 - known)
    assert row.missing == sum(truth[id_] for id_ in ids[150:])


@pytest.mark.one_database
def test_unbiased_and_covering(workspace: Workspace, grant: Grant) -> None:
    """40 arms of 60 pairs; people also answer what the model likes, which must not matter."""
    ids = proposal_ids(workspace)
    rng = np.random.default_rng(3)
    truth = {id_: bool(rng.random() < 0.45 - 0.4 * i / len(ids)) for i, id_ in enumerate(ids)}
    liked = ids[:40]
    errors, covered = [], 0
    for _ in range(40):
        control = [int(id_) for id_ in rng.choice(ids, 60, replace=False)]
        draw_control(workspace, control)
        said = sorted({*control, *liked})
        answer(workspace, grant, said, truth)
        left = sum(truth[id_] for id_ in set(ids) - set(said))
        row = completeness_of(workspace, "set").together
        assert row is not None
        assert row.missing is not None
        assert row.low is not None
        assert row.high is not None
        errors.append(row.missing - left)
        covered += row.low <= left <= row.high
    spread = np.std(errors) / np.sqrt(len(errors))
    # An estimate below 0 is shown as 0; it does not come to that here.
    assert abs(np.mean(errors)) < 3 * spread
    assert covered >= 34  # of 40 at 95 %: fewer has a chance below 1 %
