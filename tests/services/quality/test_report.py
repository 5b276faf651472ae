"""What the quality page says, against verdicts counted by hand."""

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import event, select

from app.services.access.grants import Grant
from app.services.quality import report
from app.services.reviewing import undo, verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.types import LabelState
from db.models import ModelRun, Proposal
from db.queries import quality
from tests.builders import make_dataset, make_grant, make_proposals


def begun(workspace: Workspace) -> Grant:
    """4 × 3 pairs: 4 imported as present; the first two of 8 proposals are the control arm."""
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(
        workspace,
        dataset_id,
        state=lambda i: LabelState.ABSENT if i == 7 else LabelState.PRESENT,
        control=lambda i: i < 2,
        probability=lambda i: 0.95 if i < 4 else 0.55,
    )
    return make_grant(workspace, dataset_id)


pytestmark = pytest.mark.filled(by=begun)


@pytest.fixture
def grant(known: Grant) -> Grant:
    return known


def say(workspace: Workspace, grant: Grant, words: Sequence[str]) -> list[str]:
    """Answer the proposals in the order they were made; the ids of the answers."""
    with workspace.database.read() as session:
        found = session.scalars(select(Proposal).order_by(Proposal.id)).all()
    made = [
        Answer(uuid.uuid4().hex, one.image_id, one.category_id, verdict, one.id)
        for one, verdict in zip(found, words, strict=False)
    ]
    assert {one.status for one in verdicts.decide(workspace, grant, made)} == {"saved"}
    return [one.client_id for one in made]


def test_nothing_said_yet(workspace: Workspace, grant: Grant) -> None:
    shown = report.quality_of(workspace, "set")
    assert sum(row.labels for row in shown.labels) == 4
    assert {(row.state, row.source) for row in shown.labels} == {("present", "import")}
    assert (shown.acceptance, shown.agreement, shown.learning, shown.reliability) == ((),) * 4
    assert shown.calibration_error is None
    assert [row.per_positive for row in shown.effort] == [None, None]


def test_labels_by_state_and_source(workspace: Workspace, grant: Grant) -> None:
    say(workspace, grant, ["present", "absent", "absent"])
    totals: dict[tuple[str, str], int] = {}
    for row in report.quality_of(workspace, "set").labels:
        totals[row.state, row.source] = totals.get((row.state, row.source), 0) + row.labels
    assert totals == {("present", "import"): 4, ("present", "human"): 1, ("absent", "human"): 2}


def test_acceptance_agreement_effort(workspace: Workspace, grant: Grant) -> None:
    said = ["present", "absent", "present", "present", "skip", "absent", "present", "absent"]
    ids = say(workspace, grant, said)
    undo.undo(workspace, grant, uuid.uuid4().hex, ids[6])
    shown = report.quality_of(workspace, "set")
    assert sum(row.verdicts for row in shown.acceptance) == 5  # PRESENT, no skip, none undone
    assert sum(row.accepted for row in shown.acceptance) == 3
    assert all(row.low <= row.share <= row.high for row in shown.acceptance)
    (block,) = shown.agreement
    assert (block.verdict, block.verdicts, block.agreed) == (6, 6, 4)
    chosen, control = shown.effort
    assert (chosen.verdicts, chosen.recovered, chosen.per_positive) == (4, 2, 2.0)
    assert (control.verdicts, control.recovered, control.per_positive) == (2, 1, 2.0)


def test_blocks_follow_one_another(workspace: Workspace, grant: Grant) -> None:
    say(workspace, grant, ["present", "present", "absent", "absent", "present"])
    with workspace.database.read() as session:
        blocks = quality.agreement_blocks(session, grant.dataset_id, 2)
    assert [(one.number, one.count, one.agreed) for one in blocks] == [
        (0, 2, 2),
        (1, 2, 0),
        (2, 1, 1),
    ]


def test_reliability_of_what_was_shown(workspace: Workspace, grant: Grant) -> None:
    say(workspace, grant, ["present"] * 4 + ["present", "absent", "absent", "present"])
    low, high = report.quality_of(workspace, "set").reliability
    assert [(bar.count, bar.share) for bar in (low, high)] == [(4, 0.25), (4, 1.0)]
    assert [bar.stated for bar in (low, high)] == pytest.approx([0.55, 0.95])
    error = report.quality_of(workspace, "set").calibration_error
    assert error == pytest.approx(0.5 * 0.3 + 0.5 * 0.05)


def test_the_learning_curve_reads_the_runs(workspace: Workspace, grant: Grant) -> None:
    with workspace.database.write() as session:
        run = session.scalars(select(ModelRun)).one()
        run.metrics = {"held_out_ap": {"blend": 0.625}}
        run.known_present, run.known_absent = 30, 12
    (row,) = report.quality_of(workspace, "set").learning
    assert (row.held_out_ap, row.known_labels) == (0.625, 42)


def test_categories_seen_together(workspace: Workspace, grant: Grant) -> None:
    say(workspace, grant, ["present"])  # the first picture carries a second category now
    rows = {(row.given, row.category): row for row in report.quality_of(workspace, "set").together}
    assert len(rows) == 9
    assert all(row.share == 1.0 for pair, row in rows.items() if pair[0] == pair[1])
    assert rows["red", "green"].images == rows["green", "red"].images == 1
    assert rows["red", "green"].share == 0.5  # two pictures carry red
    assert rows["red", "blue"].images == 0


def test_no_count_reads_the_table_of_proposals(
    workspace: Workspace, grant: Grant, backend: str
) -> None:
    if backend != "sqlite":
        pytest.skip("the words of SQLite's plan")
    say(workspace, grant, ["present"] * 4)
    plans: list[str] = []

    def explain(_a: object, cursor: Any, statement: str, parameters: Any, *_b: object) -> None:
        if statement.startswith("SELECT"):
            other = cursor.connection.cursor()
            other.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(str(row[3]) for row in other.fetchall())

    event.listen(workspace.database.engine, "after_cursor_execute", explain)
    try:
        report.quality_of(workspace, "set")
    finally:
        event.remove(workspace.database.engine, "after_cursor_execute", explain)
    assert any("SEARCH proposal USING INTEGER PRIMARY KEY" in step for step in plans)
    assert not [step for step in plans if step.startswith(("SCAN proposal", "SCAN decision"))]
