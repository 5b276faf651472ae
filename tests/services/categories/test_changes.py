"""Categories are renamed and merged, and an undo brings back exactly what was there."""

import random
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from app.services.access import rights
from app.services.access.rights import Actor, Forbidden, Role
from app.services.categories import changes
from app.services.categories.changes import Policy, Rule
from app.services.reviewing import undo, verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, InputError, NotFoundError
from clsl_core.types import LabelSource, LabelState
from db.models import (
    AuditEvent,
    Category,
    CategoryChange,
    Decision,
    Image,
    Label,
    Proposal,
    ProposalStatus,
)
from db.queries import labels, upkeep
from tests.builders import coco_document, make_dataset, make_grant, make_proposals

P, A, U = LabelState.PRESENT, LabelState.ABSENT, LabelState.UNKNOWN


def ids(workspace: Workspace) -> tuple[list[int], dict[str, int]]:
    """Image ids in order, and category ids by the name that they have now."""
    with workspace.database.read() as session:
        images = list(session.scalars(select(Image.id).order_by(Image.position)))
        rows = session.execute(select(Category.name, Category.id))
        return images, {name: id_ for name, id_ in rows}


def put(workspace: Workspace, states: dict[tuple[int, int], LabelState]) -> None:
    """These labels, and no others."""
    with workspace.database.write() as session:
        session.execute(delete(Label))
        rows = [
            {"image_id": i, "category_id": c, "state": state, "source": LabelSource.IMPORT}
            for (i, c), state in states.items()
            if state is not U
        ]
        if rows:
            session.execute(insert(Label), rows)


def everything(workspace: Workspace) -> dict[str, Any]:
    """All that a change of categories may touch."""
    with workspace.database.read() as session:
        return {
            "labels": sorted(
                (one.image_id, one.category_id, one.state, one.source, one.decision_id)
                for one in session.scalars(select(Label).where(Label.decision_id.is_not(None)))
            )
            + sorted(
                (one.image_id, one.category_id, one.state, one.source, str(one.provenance))
                for one in session.scalars(select(Label).where(Label.decision_id.is_(None)))
            ),
            "categories": sorted(
                (one.id, one.source_id, one.name, str(one.record), one.merged_into_id)
                for one in session.scalars(select(Category))
            ),
            "proposals": sorted((one.id, one.status) for one in session.scalars(select(Proposal))),
            "decisions": sorted(
                (one.id, one.verdict, one.category_id, one.undone_by_id)
                for one in session.scalars(select(Decision))
            ),
        }


def known(workspace: Workspace, dataset_id: int) -> dict[tuple[int, int], int]:
    """The labels that the rest of the program sees."""
    with workspace.database.read() as session:
        return {(i, c): state for i, c, state in labels.triples(session, dataset_id)}


def test_a_rename_changes_the_name_alone(workspace: Workspace) -> None:
    make_dataset(workspace)
    before = everything(workspace)
    made = changes.rename(workspace, "set", "green", "  lime ")
    after = everything(workspace)
    assert [row[:2] for row in after["categories"]] == [row[:2] for row in before["categories"]]
    assert [row[2] for row in after["categories"]] == ["red", "lime", "blue"]
    assert after["labels"] == before["labels"]
    assert made.what == "green → lime"
    assert changes.undo(workspace, "set").changes == ("green → lime",)
    assert everything(workspace) == before
    with workspace.database.read() as session:
        actions = list(session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))
    assert actions[-2:] == ["rename category", "undo category change"]


def test_a_name_that_is_taken_suggests_a_merge(workspace: Workspace) -> None:
    make_dataset(workspace)
    with pytest.raises(ConflictError, match="merge them"):
        changes.rename(workspace, "set", "green", "red")
    with pytest.raises(InputError, match="already"):
        changes.rename(workspace, "set", "green", "green")
    for name in ("", "  ", "x" * 201, "a\nb", "\u202egreen"):
        with pytest.raises(InputError, match="printable"):
            changes.rename(workspace, "set", "green", name)
    with pytest.raises(NotFoundError, match="no category called"):
        changes.rename(workspace, "set", "nothing", "something")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANNOTATOR, Role.REVIEWER])
def test_only_administrators_change_categories(workspace: Workspace, role: Role) -> None:
    make_dataset(workspace)
    with rights.acting(Actor("eve", role)):
        with pytest.raises(Forbidden):
            changes.rename(workspace, "set", "green", "lime")
        with pytest.raises(Forbidden):
            changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
        with pytest.raises(Forbidden):
            changes.undo(workspace, "set")


def test_of_two_with_one_name_the_id_in_the_file_tells(workspace: Workspace) -> None:
    document = coco_document()
    document["categories"][1]["name"] = "red"
    make_dataset(workspace, document=document)
    with pytest.raises(InputError, match="id:1 and id:2"):
        changes.rename(workspace, "set", "red", "crimson")
    changes.rename(workspace, "set", "id:2", "crimson")
    assert [one.name for one in changes.listed(workspace, "set")] == ["red", "crimson", "blue"]


CASES = [
    # red (stays), green, blue: same/target, same/present, same/unknown, wider
    (P, U, U, P, P, P, P),
    (U, P, U, P, P, P, P),
    (A, U, U, A, A, A, U),
    (U, A, U, A, A, A, U),
    (A, A, A, A, A, A, A),
    (U, A, A, A, A, A, U),
    (A, P, U, A, P, U, P),
    (P, A, A, P, P, U, P),
    (U, P, A, U, P, U, P),
    (U, U, U, U, U, U, U),
]


@pytest.mark.parametrize(
    ("policy", "rule", "column"),
    [
        (Policy.SAME, Rule.TARGET, 3),
        (Policy.SAME, Rule.PRESENT, 4),
        (Policy.SAME, Rule.UNKNOWN, 5),
        (Policy.WIDER, Rule.TARGET, 6),
    ],
)
def test_what_follows_from_three(
    workspace: Workspace, policy: Policy, rule: Rule, column: int
) -> None:
    document = coco_document(images=len(CASES))
    dataset_id = make_dataset(workspace, document=document).dataset_id
    images, category = ids(workspace)
    names = ("red", "green", "blue")
    put(
        workspace,
        {
            (image, category[name]): case[place]
            for image, case in zip(images, CASES, strict=True)
            for place, name in enumerate(names)
        },
    )
    before = everything(workspace)
    preview = changes.preview_merge(workspace, "set", ["green", "blue"], "red")
    assert preview.contradictions == 3
    assert [name for name, _ in preview.examples] == ["006.jpg", "007.jpg", "008.jpg"]
    assert preview.examples[2][1] == (("green", "present"), ("blue", "absent"))
    changes.merge(workspace, "set", ["green", "blue"], "red", policy, rule)
    found = known(workspace, dataset_id)
    expected = {
        (image, category["red"]): int(case[column])
        for image, case in zip(images, CASES, strict=True)
        if case[column] is not U
    }
    assert found == expected
    chosen = preview.chosen(policy, rule)
    assert chosen.present == sum(state > 0 for state in expected.values())
    assert chosen.absent == sum(state < 0 for state in expected.values())
    assert chosen.changed == sum(case[0] is not case[column] for case in CASES)
    changes.undo(workspace, "set")
    assert everything(workspace) == before


def test_labels_keep_who_gave_them(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    grant = make_grant(workspace, dataset_id)
    images, category = ids(workspace)
    put(workspace, {(images[0], category["green"]): P})
    verdicts.decide(workspace, grant, [Answer("answer-1", images[0], category["blue"], "present")])
    verdicts.decide(workspace, grant, [Answer("answer-2", images[1], category["blue"], "absent")])
    before = everything(workspace)
    changes.merge(workspace, "set", ["green", "blue"], "red", Policy.SAME)
    with workspace.database.read() as session:
        label = session.get_one(Label, (images[0], category["red"]))
        decision = session.scalars(select(Decision).where(Decision.client_id == "answer-1")).one()
        assert (label.state, label.source, label.decision_id) == (P, LabelSource.HUMAN, decision.id)
    assert everything(workspace)["decisions"] == before["decisions"]
    changes.undo(workspace, "set")
    assert everything(workspace) == before


def test_newer_decisions_stand_after_an_undo(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    grant = make_grant(workspace, dataset_id)
    images, category = ids(workspace)
    red, green = category["red"], category["green"]
    put(workspace, {(images[0], green): P, (images[1], green): P, (images[2], red): A})
    before = known(workspace, dataset_id)
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    verdicts.decide(workspace, grant, [Answer("answer-1", images[0], red, "absent")])
    verdicts.decide(workspace, grant, [Answer("answer-2", images[3], red, "present")])
    undone = changes.undo(workspace, "set")
    assert (undone.restored, undone.kept) == (1, 1)
    expected = before | {(images[0], red): int(A), (images[3], red): int(P)}
    assert known(workspace, dataset_id) == expected


def test_a_decision_that_is_taken_back_finds_no_trace_of_an_undone_merge(
    workspace: Workspace,
) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    grant = make_grant(workspace, dataset_id)
    images, category = ids(workspace)
    put(workspace, {(images[0], category["green"]): P})
    before = known(workspace, dataset_id)
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    verdicts.decide(workspace, grant, [Answer("answer-1", images[0], category["red"], "absent")])
    changes.undo(workspace, "set")
    assert undo.undo(workspace, grant, "an-undo-1", "answer-1").status == "saved"
    assert known(workspace, dataset_id) == before


def test_nobody_decides_about_a_hidden_category(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    grant = make_grant(workspace, dataset_id)
    images, category = ids(workspace)
    green = category["green"]
    verdicts.decide(workspace, grant, [Answer("answer-1", images[0], green, "present")])
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    (receipt,) = verdicts.decide(
        workspace, grant, [Answer("answer-2", images[1], green, "present")]
    )
    assert receipt.status == "refused"
    assert "merged" in str(receipt.message)
    assert undo.undo(workspace, grant, "an-undo-1", "answer-1").status == "refused"
    changes.undo(workspace, "set")
    assert undo.undo(workspace, grant, "an-undo-2", "answer-1").status == "saved"


def test_proposals_of_the_hidden_and_the_answered_wait_no_more(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    images, category = ids(workspace)
    red, green = category["red"], category["green"]
    make_proposals(workspace, dataset_id)
    before = everything(workspace)
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    with workspace.database.read() as session:
        waiting = session.execute(
            select(Proposal.image_id, Proposal.category_id).where(
                Proposal.status == ProposalStatus.OPEN
            )
        )
        pairs = {(row[0], row[1]) for row in waiting}
    assert all(category_id != green for _, category_id in pairs)
    # Image 1 has green in the file: red is answered there.
    assert (images[1], red) not in pairs
    assert (images[2], red) in pairs
    changes.undo(workspace, "set")
    assert everything(workspace) == before


def test_what_came_later_is_undone_first(workspace: Workspace) -> None:
    make_dataset(workspace)
    first = changes.rename(workspace, "set", "green", "lime")
    second = changes.rename(workspace, "set", "red", "green")
    third = changes.merge(workspace, "set", ["blue"], "lime", Policy.WIDER)
    for early in (first, second):
        if early is first:
            with pytest.raises(ConflictError, match="undo that one first"):
                changes.undo(workspace, "set", early.id)
    changes.undo(workspace, "set", third.id)
    with pytest.raises(ConflictError, match="undone already"):
        changes.undo(workspace, "set", third.id)
    changes.undo(workspace, "set", second.id)
    changes.undo(workspace, "set", first.id)
    with pytest.raises(NotFoundError, match="all is undone"):
        changes.undo(workspace, "set")
    assert [one.undone_by for one in changes.history(workspace, "set")] == ["the program"] * 3


def test_an_error_half_way_changes_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(workspace)
    before = everything(workspace)

    def fails(*_: object) -> int:
        raise RuntimeError("half way")

    monkeypatch.setattr(changes.category_changes, "close_proposals", fails)
    with pytest.raises(RuntimeError, match="half way"):
        changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    assert everything(workspace) == before
    with workspace.database.read() as session:
        assert session.scalars(select(CategoryChange)).all() == []


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(Policy), st.sampled_from(Rule)),
        min_size=1,
        max_size=5,
    ),
)
def test_undoing_everything_gives_back_what_was(
    workspace: Workspace, seed: int, steps: list[tuple[int, Policy, Rule]]
) -> None:
    """Steps: how many categories are merged (0: one is renamed), and how."""
    name = f"set {uuid.uuid4().hex}"
    document = coco_document(images=8, categories=5)
    dataset_id = make_dataset(workspace, name, document).dataset_id
    chance = random.Random(seed)
    with workspace.database.write() as session:
        images = list(session.scalars(select(Image.id).where(Image.dataset_id == dataset_id)))
        categories = list(
            session.scalars(select(Category.id).where(Category.dataset_id == dataset_id))
        )
        session.execute(delete(Label).where(Label.category_id.in_(categories)))
        rows = [
            {"image_id": i, "category_id": c, "state": state, "source": LabelSource.IMPORT}
            for i in images
            for c in categories
            if (state := chance.choice([P, A, U])) is not U
        ]
        session.execute(insert(Label), rows)
    make_proposals(workspace, dataset_id)
    grant = make_grant(workspace, dataset_id, name)
    for image in images:
        verdict = chance.choice(["present", "absent", "skip"])
        answer = Answer(uuid.uuid4().hex, image, chance.choice(categories), verdict)
        verdicts.decide(workspace, grant, [answer])
    before = everything(workspace)
    for number, (others, policy, rule) in enumerate(steps):
        shown = [one.name for one in changes.listed(workspace, name) if one.merged_into is None]
        chance.shuffle(shown)
        target, sources = shown[0], shown[1 : 1 + others]
        if sources:
            changes.merge(workspace, name, sources, target, policy, rule)
        else:
            changes.rename(workspace, name, target, f"name {number}")
    assert everything(workspace)["decisions"] == before["decisions"]
    assert _doctor_finds(workspace) == []
    for _ in steps:
        changes.undo(workspace, name)
    assert everything(workspace) == before
    assert _doctor_finds(workspace) == []


def _doctor_finds(workspace: Workspace) -> list[str]:
    """What is wrong between labels and decisions."""
    with workspace.database.read() as session:
        wrong = upkeep.contradicting_labels(session), upkeep.verdicts_without_label(session)
        return [*upkeep.orphans(session), *(f"{n} wrong" for n in wrong if n)]
