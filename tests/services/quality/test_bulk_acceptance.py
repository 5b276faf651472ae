"""Many proposals accepted at once: the promise is kept, people's labels stay, undo restores all."""

import uuid
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, func, select, update

from app.services.access.grants import Grant
from app.services.exporting import export
from app.services.importing.ingest import ImportRequest, import_file
from app.services.instant.tables import InstantTable
from app.services.quality import bulk_acceptance
from app.services.reviewing import undo, verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import InputError, NotFoundError
from clsl_core.statistics.bulk_audit import AuditConfig
from clsl_core.types import LabelSource, LabelState
from db.models import (
    AcceptanceAudit,
    Category,
    Decision,
    Image,
    Label,
    ModelRun,
    Proposal,
    ProposalStatus,
)
from db.queries import decisions, labels
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

IMAGES = 600
CONFIG = AuditConfig(target=0.8, min_proposals=60, min_positives=20)

Truth = dict[int, bool]


def begun(workspace: Workspace) -> Grant:
    """600 pictures, each with one of two categories; the other one is proposed for all 600."""
    dataset_id = make_dataset(workspace, document=coco_document(IMAGES, 2)).dataset_id
    make_proposals(workspace, dataset_id)
    return make_grant(workspace, dataset_id)


pytestmark = pytest.mark.filled(by=begun)


@pytest.fixture
def grant(known: Grant) -> Grant:
    return known


def category(workspace: Workspace, name: str = "red") -> int:
    with workspace.database.read() as session:
        return session.scalars(select(Category.id).where(Category.name == name)).one()


def frame(workspace: Workspace, category_id: int) -> list[int]:
    """The images with an open proposal, best first."""
    with workspace.database.read() as session:
        query = select(Proposal.image_id).where(
            Proposal.category_id == category_id, Proposal.status == ProposalStatus.OPEN
        )
        return list(session.scalars(query.order_by(Proposal.score.desc())))


def offer(workspace: Workspace, category_id: int) -> bulk_acceptance.Offer:
    found = bulk_acceptance.offers(workspace, "set", CONFIG)
    return next(one for one in found if one.category_id == category_id)


def audit(workspace: Workspace, grant: Grant, category_id: int, truth: Truth, seed: int) -> int:
    """An oracle checks what is asked until nothing more is; how many verdicts that took."""
    bulk_acceptance.begin(workspace, grant, category_id, CONFIG, seed)
    given = 0
    while asked := bulk_acceptance.checks(workspace, grant, category_id, limit=100):
        answers = [
            Answer(
                uuid.uuid4().hex,
                one.image_id,
                one.category_id,
                "present" if truth[one.image_id] else "absent",
                one.proposal_id,
            )
            for one in asked
        ]
        assert {one.status for one in verdicts.decide(workspace, grant, answers)} == {"saved"}
        given += len(answers)
    return given


def labels_now(workspace: Workspace) -> dict[tuple[int, int], tuple[LabelState, LabelSource]]:
    with workspace.database.read() as session:
        rows = session.scalars(select(Label))
        return {(one.image_id, one.category_id): (one.state, one.source) for one in rows}


def start_over(workspace: Workspace) -> None:
    with workspace.database.write() as session:
        session.execute(delete(AcceptanceAudit))
        session.execute(delete(Label).where(Label.decision_id.is_not(None)))
        session.execute(delete(Decision))
        session.execute(update(Proposal).values(status=ProposalStatus.OPEN))


def test_rare_and_small_categories_are_left_to_people(workspace: Workspace, grant: Grant) -> None:
    rare = bulk_acceptance.offers(
        workspace, "set", AuditConfig(min_proposals=60, min_positives=301)
    )
    assert [one.state for one in rare] == ["excluded", "excluded"]
    assert "Rare category: 300 known positives" in rare[0].reason
    small = bulk_acceptance.offers(workspace, "set")  # of 300 proposals
    assert "too few" in small[0].reason


def test_nothing_is_accepted_before_the_sample_is_checked(
    workspace: Workspace, grant: Grant
) -> None:
    red = category(workspace)
    assert (offer(workspace, red).begun, offer(workspace, red).state) == (False, "ask")
    with pytest.raises(NotFoundError, match="no audit of 'red' has begun"):
        bulk_acceptance.apply(workspace, grant, red, "batch-id-1")
    bulk_acceptance.begin(workspace, grant, red, CONFIG)
    assert offer(workspace, red).begun
    with pytest.raises(InputError, match="No proposals qualify yet"):
        bulk_acceptance.apply(workspace, grant, red, "batch-id-1")


def test_accepted_as_one_and_undone_as_one(workspace: Workspace, grant: Grant) -> None:
    red = category(workspace)
    images = frame(workspace, red)
    truth = {id_: i % 25 != 24 for i, id_ in enumerate(images)}
    given = audit(workspace, grant, red, truth, seed=1)
    before = labels_now(workspace)
    found = offer(workspace, red)
    assert found.precision_low is not None
    assert found.precision_low >= 0.8
    receipt = bulk_acceptance.apply(workspace, grant, red, "batch-id-1")
    assert (receipt.status, receipt.count) == ("saved", found.qualify)
    assert found.qualify > 100
    assert given < 150
    after = labels_now(workspace)
    assert {pair: after[pair] for pair in before} == before
    new = {pair: value for pair, value in after.items() if pair not in before}
    assert len(new) == receipt.count
    assert set(new.values()) == {(LabelState.PRESENT, LabelSource.MODEL_AUDITED)}
    assert bulk_acceptance.apply(workspace, grant, red, "batch-id-1").status == "duplicate"
    waiting = len(frame(workspace, red))
    assert undo.undo(workspace, grant, "undo-id-1", "batch-id-1").count == receipt.count
    assert labels_now(workspace) == before
    assert len(frame(workspace, red)) == waiting + receipt.count
    assert undo.redo(workspace, grant, "redo-id-1", "batch-id-1").count == receipt.count
    assert labels_now(workspace) == after


def test_the_source_travels_with_the_file(
    workspace: Workspace, grant: Grant, tmp_path: Path
) -> None:
    red = category(workspace)
    audit(workspace, grant, red, dict.fromkeys(frame(workspace, red), True), seed=1)
    count = bulk_acceptance.apply(workspace, grant, red, "batch-id-1").count
    file = tmp_path / "out.json"
    export.export_dataset(workspace, "set", file, "coco")
    request = ImportRequest(str(file), str(workspace.data_dir / "source-set" / "images"), "again")
    again = import_file(workspace, request).dataset_id
    with workspace.database.read() as session:
        query = (
            select(func.count())
            .select_from(Label)
            .join(Category, Category.id == Label.category_id)
            .where(Category.dataset_id == again, Label.source == LabelSource.MODEL_AUDITED)
        )
        assert session.scalars(query).one() == count > 0


def test_what_nobody_saw_counts_as_no_verdict(workspace: Workspace, grant: Grant) -> None:
    red = category(workspace)
    truth = dict.fromkeys(frame(workspace, red), True)
    given = audit(workspace, grant, red, truth, seed=1)
    bulk_acceptance.apply(workspace, grant, red, "batch-id-1")
    with workspace.database.read() as session:
        assert decisions.count_after(session, grant.dataset_id, 0) == given
        assert len(labels.decided_after(session, red, 0)) == given
        assert session.scalars(select(func.count(Decision.id))).one() == 300


def test_a_training_in_between_changes_nothing(workspace: Workspace, grant: Grant) -> None:
    """The audit keeps its scores when verdicts move chances and when the proposals are gone."""
    red = category(workspace)
    truth = dict.fromkeys(frame(workspace, red), True)
    bulk_acceptance.begin(workspace, grant, red, CONFIG, seed=4)
    asked = bulk_acceptance.checks(workspace, grant, red, limit=1000)
    with workspace.database.write() as session:
        session.execute(update(Proposal).values(chance=0.0))
    assert bulk_acceptance.checks(workspace, grant, red, limit=1000) == asked
    with workspace.database.write() as session:
        session.execute(delete(Proposal))
    again = bulk_acceptance.checks(workspace, grant, red, limit=1000)
    assert [one.image_id for one in again] == [one.image_id for one in asked]
    assert {one.proposal_id for one in again} == {None}
    assert len(truth) == offer(workspace, red).proposals


def test_it_goes_beyond_the_stored_proposals(workspace: Workspace, grant: Grant) -> None:
    """Where the run left its scores; the control arm and what is known stay out."""
    red = category(workspace)
    unknown = frame(workspace, red)
    with workspace.database.write() as session:
        images = np.array(session.scalars(select(Image.id).order_by(Image.id)).all())
        session.scalars(select(ModelRun)).one().directory = "runs/made"
        rows = session.scalars(select(Proposal).where(Proposal.category_id == red)).all()
        for one in rows[50:]:
            session.delete(one)
        for one in rows[:3]:
            one.control = True
    logits = np.where(np.arange(IMAGES) % 4 < 2, 3.0, -3.0)[None, :]
    table = InstantTable(
        image_ids=images,
        category_ids=np.array([red]),
        logits=logits.astype(np.float16),
        vectors=np.zeros((IMAGES, 2), np.float16),
        calibration=np.zeros((0, 2), np.float32),
    )
    table.save(workspace.data_dir / "runs/made")
    likely = {int(id_) for id_, logit in zip(images, logits[0], strict=True) if logit > 0}
    expected = (likely & set(unknown)) - {one.image_id for one in rows[:3]}
    assert len(expected) > 100
    assert offer(workspace, red).proposals == len(expected)
    assert bulk_acceptance.begin(workspace, grant, red, CONFIG) == len(expected)
    asked = {one.image_id for one in bulk_acceptance.checks(workspace, grant, red, 1000)}
    assert asked
    assert asked <= expected


@pytest.mark.one_database
@pytest.mark.parametrize("precision", [0.79, 0.98])
def test_the_promise_is_kept(workspace: Workspace, grant: Grant, precision: float) -> None:
    """30 audits with an oracle; the scores are useless, so no set is better than the whole."""
    red = category(workspace)
    images = frame(workspace, red)
    rng = np.random.default_rng(11)
    broken = applied = 0
    for seed in range(30):
        start_over(workspace)
        wrong = set(rng.choice(images, round((1 - precision) * len(images)), replace=False))
        truth = {id_: id_ not in wrong for id_ in images}
        audit(workspace, grant, red, truth, seed)
        if not offer(workspace, red).qualify:
            continue
        bulk_acceptance.apply(workspace, grant, red, f"batch-id-{seed}")
        applied += 1
        with workspace.database.read() as session:
            query = select(Label.image_id).where(Label.source == LabelSource.MODEL_AUDITED)
            accepted = session.scalars(query).all()
        broken += sum(truth[id_] for id_ in accepted) < CONFIG.target * len(accepted)
    assert broken <= 4  # of 30 at 5 %: more has a chance below 2 %
    assert precision < CONFIG.target or applied >= 25
