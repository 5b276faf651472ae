"""The models page and the notices, drawn and clicked without a browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import context
from app.services.jobs.table import JobKind, JobStatus
from app.services.learning import model_runs, notices
from app.services.workspace import Workspace
from clsl_core.errors import TrainingError
from clsl_core.statistics.run_gate import GateDecision
from db.models import Job, ModelRun, Notice
from tests.app.test_pages import draw, texts
from tests.builders import make_dataset, make_grant, make_proposals, make_run

CURVES = [{"epoch": i, "loss": 1 / (i + 1), "held_out_ap": 0.5 + i / 10} for i in range(3)]
KEPT = GateDecision("keep", "It is worse by *far*.", 0.9, 0.6, -0.3, -0.4, -0.2, 1.0, 40, 90, 30)


@pytest.fixture(autouse=True)
def opened(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages see the test's workspace."""
    monkeypatch.setenv("CLSL_DATA_DIR", str(workspace.data_dir))
    context.open_workspace.cache_clear()
    yield
    context.open_workspace().close()
    context.open_workspace.cache_clear()


@pytest.fixture
def dataset_id(workspace: Workspace) -> int:
    """A dataset with the serving run 1 and run 2, which the gate kept back."""
    dataset_id = make_dataset(workspace).dataset_id
    first = make_proposals(workspace, dataset_id)
    with workspace.database.write() as session:
        serving = session.get_one(ModelRun, first.id)
        serving.curves, serving.metrics = CURVES, {"held_out_ap": {"blend": 0.75}}
        serving.seconds, serving.peak_memory, serving.checksum = 12.5, 2_000_000_000, "ab" * 32
        embedding_id = serving.embedding_run_id
    with workspace.database.write() as session:
        second = make_run(session, dataset_id, serving=False, embedding_id=embedding_id)
        second.curves, second.config = CURVES, {"epochs": 3}
        second.directory = "runs/1/2"
        second.gate = {"decision": "keep", "reason": KEPT.reason, "difference": -0.3}
    return dataset_id


def tables(app: AppTest) -> str:
    return "\n".join(frame.value.to_string() for frame in app.dataframe)


def test_the_page_says_what_a_run_is_and_why_it_does_not_serve(
    workspace: Workspace, dataset_id: int
) -> None:
    app = draw("models")
    assert r"It is worse by \*far\*" in texts(app)
    assert "kept back" in tables(app)
    assert "-30.0" in tables(app)
    assert [one.proto.popover.label for one in app.get("popover")] == ["Serve anyway", "Delete"]
    app.selectbox(key="look-at-run").set_value(1).run()
    assert not app.exception
    for fact in ("12.5 s", "2,000 MB", "ab" * 32, "not measured"):
        assert fact in tables(app)
    assert app.get("vega_lite_chart") or app.get("arrow_vega_lite_chart")


def draw_with(workspace: Workspace, metrics: dict[str, Any]) -> AppTest:
    """The page with what the newest run measured."""
    with workspace.database.write() as session:
        session.get_one(ModelRun, 2).metrics = metrics
    app = draw("models")
    assert not app.exception
    return app


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("text", "The words alone order"),
        ("linear", "The linear model alone orders"),
        ("ensemble", "Everything but the head orders"),
        ("a later one", "The part 'a later one' orders"),
    ],
)
def test_a_part_that_orders_the_proposals_is_named_with_its_lead(
    workspace: Workspace, dataset_id: int, part: str, words: str
) -> None:
    lead = {"map": 0.5, "difference": 0.031, "low": 0.012, "high": 0.05}
    found = {"ordered_by": part, "parts": {"parts": {part: lead}}}
    said = texts(draw_with(workspace, found)).replace("\\", "")
    assert f"{words} these proposals" in said
    assert "by 3.1 points of mean average precision (interval 1.2 to 5.0)." in said


def test_fits_that_did_not_converge_are_a_warning(workspace: Workspace, dataset_id: int) -> None:
    fits = {
        "stacking": {"fitted": 80, "kept_at_start": 2},
        "linear models": {"fitted": 400, "kept_at_start": 0},
    }
    app = draw_with(workspace, {"ordered_by": "all", "fits": fits})
    (warning,) = [one.value.replace("\\", "") for one in app.warning]
    assert warning == "2 of 80 fits (stacking) did not converge and were left at their start."
    fits["stacking"]["kept_at_start"] = 0
    app = draw_with(workspace, {"ordered_by": "all", "fits": fits})
    assert not app.warning
    assert "order these proposals" not in texts(app)


def test_a_kept_run_is_put_in_charge_by_hand(workspace: Workspace, dataset_id: int) -> None:
    app = draw("models")
    app.button(key="serve-2").click().run()
    assert not app.exception
    (job,) = workspace.jobs.live()
    assert (job.kind, job.payload["model_run"], job.payload["ordered"]) == (
        JobKind.PROPOSE,
        2,
        True,
    )


def test_pin_unpin_and_delete(workspace: Workspace, dataset_id: int) -> None:
    app = draw("models")
    app.selectbox(key="look-at-run").set_value(1).run()
    assert not [one for one in app.button if one.key == "delete-1"]  # it serves
    app.button(key="pin-1").click().run()
    assert model_runs.all_runs(workspace, "set")[1].state == "serves, pinned"
    app.button(key="unpin-1").click().run()
    assert model_runs.all_runs(workspace, "set")[1].state == "serves"
    app.selectbox(key="look-at-run").set_value(2).run()
    app.button(key="delete-2").click().run()
    assert not app.exception
    assert [run.id for run in model_runs.all_runs(workspace, "set")] == [1]


def test_two_runs_side_by_side(workspace: Workspace, dataset_id: int) -> None:
    app = draw("models", **{"runs-shown": "Two runs side by side"})
    assert "on labels that neither had learned from" in texts(app)
    assert "Settings in which they differ" in texts(app)
    assert "epochs" in tables(app)
    app.selectbox(key="compare-first").set_value(2).run()
    assert "Choose two different runs" in texts(app)


def test_set_times_are_typed_and_explained(workspace: Workspace, dataset_id: int) -> None:
    app = draw("models")
    field = f"schedule-{dataset_id}"
    app.text_input(key=field).set_value("0 3 * * *").run()
    assert r"03\:00 every day" in texts(app)
    app.text_input(key=field).set_value("at three").run()
    assert "is not a cron expression" in texts(app)
    assert "Look at run" in [one.label for one in app.selectbox]  # the rest of the page is there
    app.text_input(key=field).set_value("").run()
    assert "At no set times" in texts(app)


def test_a_training_that_runs_can_be_followed_by_one_more(
    workspace: Workspace, dataset_id: int
) -> None:
    first = workspace.jobs.submit(JobKind.TRAIN, dataset_id)
    app = draw("models")
    assert app.button(key="train-now").disabled
    with workspace.database.write() as session:
        session.get_one(Job, first.id).status = JobStatus.RUNNING
    app = draw("models")
    button = app.button(key="train-now")
    assert (button.label, button.disabled) == ("Train once more after this", False)
    button.click().run()
    assert [job.kind for job in workspace.jobs.live()] == [JobKind.TRAIN, JobKind.EMBED]
    assert app.button(key="train-now").disabled


def test_a_notice_is_shown_once_to_everybody(workspace: Workspace, dataset_id: int) -> None:
    with workspace.database.write() as session:
        session.add(Notice(dataset_id=dataset_id, good=True, message="before anybody was here"))
    for name in ("ada", "bob"):
        make_grant(workspace, dataset_id, name)
    with workspace.database.write() as session:
        notices.tell_of_run(session, session.get_one(ModelRun, 2), KEPT)
    for name in ("ada", "bob"):
        app = draw("review", annotator=name)
        (line,) = [one.value for one in app.sidebar.caption]
        assert "does not serve. It is worse by" in line.replace("\\", "")
        assert "before anybody" not in texts(app)
        app.run()  # it stays in sight …
        assert "does not serve" in texts(app)
        app.button(key="notices-put-away").click().run()  # … until it is put away
        assert "does not serve" not in texts(app)
        assert "does not serve" not in texts(draw("jobs", annotator=name))
    assert notices.take(workspace, "nobody") == []


def test_better_and_failed_are_told_in_figures_and_reasons(
    workspace: Workspace, dataset_id: int
) -> None:
    make_grant(workspace, dataset_id)
    better = GateDecision("serve", "…", 0.6, 0.62, 0.0234, -0.01, 0.05, 0.1, 40, 90, 30)
    with workspace.database.write() as session:
        notices.tell_of_run(session, session.get_one(ModelRun, 1), better)

    def fail(context: object) -> dict[str, object]:
        raise TrainingError("nothing to learn from")

    job = workspace.jobs.submit(JobKind.TRAIN, dataset_id)
    workspace.jobs.run(job.id, "worker:1", {JobKind.TRAIN: fail})
    good, bad = notices.take(workspace, "ada")
    assert "+2.3 points on 90 held-out labels (95 % interval -1.0 to +5.0)" in good.message
    assert (good.good, bad.good) == (True, False)
    assert bad.message.startswith(f"Train (job {job.id}) failed: nothing to learn from. It is not")
    assert notices.take(workspace, "ada") == []
