"""What is missing, from a sample stratified by score, against a truth that the test knows."""

import uuid

import numpy as np
import pytest
from sqlalchemy import delete, select

from app.services.access.grants import Grant
from app.services.instant.tables import InstantTable
from app.services.quality import sample_audit
from app.services.quality.completeness import CategoryCompleteness
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import InputError, NotFoundError
from db.models import Category, CompletenessAudit, Decision, Image, Label, ModelRun
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

IMAGES, CATEGORIES = 150, 3
UNKNOWN = IMAGES * CATEGORIES - IMAGES

Truth = dict[tuple[int, int], bool]


def begun(workspace: Workspace) -> Grant:
    """150 pictures with one imported category each: 300 unknown pairs."""
    dataset_id = make_dataset(workspace, document=coco_document(IMAGES, CATEGORIES)).dataset_id
    make_proposals(workspace, dataset_id)
    return make_grant(workspace, dataset_id)


pytestmark = pytest.mark.filled(by=begun)


@pytest.fixture
def grant(known: Grant) -> Grant:
    return known


@pytest.fixture
def truth(workspace: Workspace, grant: Grant) -> Truth:
    """What is in the pictures; the run's scores know it with much doubt."""
    rng = np.random.default_rng(5)
    with workspace.database.write() as session:
        images = np.array(session.scalars(select(Image.id).order_by(Image.id)).all())
        categories = np.array(session.scalars(select(Category.id)).all())
        present = rng.random((len(categories), len(images))) < 0.15
        logits = rng.normal(np.where(present, 0.0, -2.5), 1.0)
        run = session.scalars(select(ModelRun)).one()
        run.directory = "runs/made"
        table = InstantTable(
            image_ids=images,
            category_ids=categories,
            logits=logits.astype(np.float16),
            vectors=np.zeros((len(images), 2), np.float16),
            calibration=np.zeros((0, 2), np.float32),
        )
    table.save(workspace.data_dir / "runs/made")
    return {
        (int(image), int(category)): bool(present[c, i])
        for c, category in enumerate(categories)
        for i, image in enumerate(images)
    }


def answer_all(
    workspace: Workspace, grant: Grant, truth: Truth, category_id: int | None = None
) -> int:
    """An oracle answers the sample; how many pairs it was."""
    given = 0
    while asked := sample_audit.to_check(workspace, grant, category_id, 100):
        say(workspace, grant, [(one.image_id, one.category_id) for one in asked], truth)
        given += len(asked)
    return given


def say(workspace: Workspace, grant: Grant, pairs: list[tuple[int, int]], truth: Truth) -> None:
    answers = [
        Answer(uuid.uuid4().hex, *pair, "present" if truth[pair] else "absent") for pair in pairs
    ]
    for start in range(0, len(answers), 100):
        found = verdicts.decide(workspace, grant, answers[start : start + 100])
        assert {one.status for one in found} <= {"saved"}


def found_by(
    workspace: Workspace, grant: Grant, category_id: int | None = None
) -> CategoryCompleteness:
    found = sample_audit.estimate(workspace, grant, category_id)
    assert found is not None
    return found


def known(workspace: Workspace) -> set[tuple[int, int]]:
    with workspace.database.read() as session:
        return {(one.image_id, one.category_id) for one in session.scalars(select(Label))}


def start_over(workspace: Workspace) -> None:
    with workspace.database.write() as session:
        session.execute(delete(CompletenessAudit))
        session.execute(delete(Label).where(Label.decision_id.is_not(None)))
        session.execute(delete(Decision))


def test_without_scores_there_is_no_sample(workspace: Workspace, grant: Grant) -> None:
    assert sample_audit.estimate(workspace, grant, None) is None
    assert sample_audit.to_check(workspace, grant, None) == []
    with pytest.raises(NotFoundError, match="no model run has left its scores"):
        sample_audit.draw(workspace, grant, None, 50)


def test_the_sample_is_answered_first(workspace: Workspace, grant: Grant, truth: Truth) -> None:
    assert sample_audit.draw(workspace, grant, None, 50, seed=1) == 50
    assert found_by(workspace, grant).waiting == 50
    first = sample_audit.to_check(workspace, grant, None, 1)[0]
    skip = Answer(uuid.uuid4().hex, first.image_id, first.category_id, "skip")
    verdicts.decide(workspace, grant, [skip])
    assert found_by(workspace, grant).missing is None
    assert answer_all(workspace, grant, truth) == 49
    assert found_by(workspace, grant).missing is not None


def test_all_checked_leaves_no_doubt(workspace: Workspace, grant: Grant, truth: Truth) -> None:
    with workspace.database.read() as session:
        red = session.scalars(select(Category.id).where(Category.name == "red")).one()
    assert sample_audit.draw(workspace, grant, red, 10_000) == IMAGES * 2 // 3
    answer_all(workspace, grant, truth, red)
    row = found_by(workspace, grant, red)
    assert (row.category, row.missing, row.low, row.high, row.stop) == ("red", 0, 0, 0, True)
    with pytest.raises(InputError, match="nothing is unknown"):
        sample_audit.draw(workspace, grant, red, 10)


@pytest.mark.one_database
def test_unbiased_and_covering(workspace: Workspace, grant: Grant, truth: Truth) -> None:
    """40 samples of 80 of 300 pairs; others are answered too, which must not matter."""
    pairs = sorted(set(truth) - known(workspace))
    liked = [pair for pair in pairs if truth[pair]][:15]
    errors, covered = [], 0
    for seed in range(40):
        start_over(workspace)
        sample_audit.draw(workspace, grant, None, 80, seed)
        answer_all(workspace, grant, truth)
        say(workspace, grant, [pair for pair in liked if pair not in known(workspace)], truth)
        left = sum(truth[pair] for pair in set(pairs) - known(workspace))
        row = found_by(workspace, grant)
        assert row.missing is not None
        assert row.low is not None
        assert row.high is not None
        errors.append(row.missing - left)
        covered += row.low <= left <= row.high
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(len(errors))
    assert covered >= 34  # of 40 at 95 %: fewer has a chance below 1 %
