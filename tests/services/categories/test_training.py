"""A model run that knows a category which was merged away works on without it."""

import pytest
from sqlalchemy import select

from app.services.categories import changes
from app.services.categories.changes import Policy
from app.services.learning import embedding, model_runs, proposing, training
from app.services.quality import completeness, report
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from db.models import Category, ModelRun, Proposal, ProposalStatus
from tests.builders import coco_document, make_dataset, make_grant


def trained(workspace: Workspace) -> int:
    """A dataset with answers and a run in charge."""
    document = coco_document(images=40, categories=4)
    made = make_dataset(workspace, document=document, grain=20.0)
    grant = make_grant(workspace, made.dataset_id)
    for number, (image, category) in enumerate([(1, 2), (2, 1), (3, 1), (4, 1), (5, 2), (6, 3)]):
        answer = Answer(f"answer-{number}", image, category, "absent")
        verdicts.decide(workspace, grant, [answer])
    embedding.embed(workspace, made.dataset_id)
    training.train(workspace, made.dataset_id)
    proposing.propose(workspace, made.dataset_id)
    return made.dataset_id


pytestmark = pytest.mark.filled(by=trained)


@pytest.fixture
def dataset_id(known: int) -> int:
    return known


def ids(workspace: Workspace) -> dict[str, int]:
    with workspace.database.read() as session:
        return {name: id_ for name, id_ in session.execute(select(Category.name, Category.id))}


def waiting(workspace: Workspace) -> set[int]:
    """The categories that people are asked about."""
    with workspace.database.read() as session:
        query = (
            select(Proposal.category_id)
            .join(ModelRun, ModelRun.id == Proposal.model_run_id)
            .where(ModelRun.serving, Proposal.status != ProposalStatus.DECIDED)
        )
        return set(session.scalars(query))


def newest(workspace: Workspace) -> ModelRun:
    with workspace.database.read() as session:
        return session.scalars(select(ModelRun).order_by(ModelRun.id.desc())).first()  # type: ignore[return-value]


def test_the_serving_run_skips_what_is_hidden(workspace: Workspace, dataset_id: int) -> None:
    green = ids(workspace)["green"]
    assert green in waiting(workspace)
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    assert green not in waiting(workspace)
    serving = newest(workspace)
    proposing.propose(workspace, dataset_id, model_run=serving.id, ordered=True)
    assert waiting(workspace)
    assert green not in waiting(workspace)
    assert workspace.instant.update(dataset_id, green) == 0
    grant_of = make_grant(workspace, dataset_id, "bob")
    verdicts.decide(workspace, grant_of, [Answer("answer-x", 20, ids(workspace)["red"], "absent")])
    workspace.instant.update(dataset_id, ids(workspace)["red"])
    assert green not in waiting(workspace)
    report.quality_of(workspace, "set")
    completeness.completeness_of(workspace, "set")
    model_runs.all_runs(workspace, "set")
    changes.undo(workspace, "set")
    workspace.instant.update(dataset_id, green)
    proposing.propose(workspace, dataset_id, model_run=serving.id, ordered=True)
    assert green in waiting(workspace)


def test_training_learns_from_the_merged_labels(workspace: Workspace, dataset_id: int) -> None:
    category = ids(workspace)
    before = newest(workspace)
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    training.train(workspace, dataset_id)
    run = newest(workspace)
    assert run.id != before.id
    rest = [category[name] for name in ("red", "blue", "grey")]
    assert run.snapshot["categories"] == rest
    # Ten images carry each category; of one with green somebody said that red is absent: it stays.
    shown = [one for one in changes.listed(workspace, "set") if one.merged_into is None]
    assert run.known_present == sum(one.present for one in shown) == 39
    assert run.known_absent == sum(one.absent for one in shown)
    proposing.propose(workspace, dataset_id, model_run=run.id, ordered=True)
    assert waiting(workspace) <= set(rest)
    changes.undo(workspace, "set")
    training.train(workspace, dataset_id)
    assert newest(workspace).snapshot["categories"] == before.snapshot["categories"]
    proposing.propose(workspace, dataset_id)


def test_a_merge_while_a_run_proposes_is_respected(
    workspace: Workspace, dataset_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    green = ids(workspace)["green"]
    training.train(workspace, dataset_id)
    run = newest(workspace)
    made = proposing._make_proposals

    def meanwhile(*arguments: object) -> object:
        found = made(*arguments)  # type: ignore[arg-type]
        changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
        return found

    monkeypatch.setattr(proposing, "_make_proposals", meanwhile)
    proposing.propose(workspace, dataset_id, model_run=run.id, ordered=True)
    assert waiting(workspace)
    assert green not in waiting(workspace)
