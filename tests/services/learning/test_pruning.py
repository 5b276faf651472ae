"""Old model runs lose their files, never the ones that are needed."""

import pytest

from app.services.jobs.table import JobKind, JobStatus
from app.services.learning import model_runs
from app.services.learning.pruning import prune
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError
from db.models import Job, ModelRun, Proposal, RunStatus
from tests.builders import make_dataset, make_proposals, make_run, make_workspace

RUNS = 8


@pytest.fixture
def dataset_id(workspace: Workspace) -> int:
    """A dataset whose first run serves and has proposed, with younger ones."""
    dataset_id = make_dataset(workspace).dataset_id
    first = make_proposals(workspace, dataset_id)
    with workspace.database.write() as session:
        for _ in range(RUNS - 1):
            made = make_run(session, dataset_id, serving=False, embedding_id=first.embedding_run_id)
            session.add(made)
        for run in session.query(ModelRun):
            run.directory = f"runs/{dataset_id}/{run.id}"
            folder = workspace.data_dir / run.directory / "model"
            folder.mkdir(parents=True)
            (folder / "recovery.json").write_text("{}")
    return dataset_id


def with_files(workspace: Workspace, dataset_id: int) -> list[int]:
    on_disk = sorted(int(one.name) for one in (workspace.data_dir / f"runs/{dataset_id}").iterdir())
    runs = model_runs.all_runs(workspace, "set")
    assert [run.id for run in reversed(runs) if not run.pruned] == on_disk
    return on_disk


def test_the_newest_and_the_serving_one_stay(workspace: Workspace, dataset_id: int) -> None:
    assert prune(workspace, dataset_id) == RUNS - 5 - 1
    assert with_files(workspace, dataset_id) == [1, 4, 5, 6, 7, 8]
    assert prune(workspace, dataset_id) == 0
    with workspace.database.read() as session:
        assert session.query(ModelRun).count() == RUNS
        assert session.query(Proposal).count() > 0


def test_what_is_pinned_or_worked_on_stays(workspace: Workspace, dataset_id: int) -> None:
    with workspace.database.write() as session:
        session.get_one(ModelRun, 2).pinned = True
        payload = {"model_run": 3}
        session.add(
            Job(
                kind=JobKind.PROPOSE,
                dataset_id=dataset_id,
                payload=payload,
                status=JobStatus.RUNNING,
            )
        )
    assert prune(workspace, dataset_id) == 0
    assert with_files(workspace, dataset_id) == list(range(1, RUNS + 1))


def test_a_run_that_failed_counts_for_nothing(workspace: Workspace, dataset_id: int) -> None:
    with workspace.database.write() as session:
        for run_id in (6, 7, 8):
            run = session.get_one(ModelRun, run_id)
            run.status, run.directory = RunStatus.FAILED, None
    assert prune(workspace, dataset_id) == 0


@pytest.mark.sqlite_only
@pytest.mark.parametrize(("keep", "left"), [(0, RUNS), (1, 2), (3, 4)])
def test_how_many_is_a_setting(workspace: Workspace, dataset_id: int, keep: int, left: int) -> None:
    other = make_workspace(workspace.data_dir, keep_runs=keep)
    prune(other, dataset_id)
    assert len(with_files(other, dataset_id)) == left
    other.close()


def test_a_run_without_files_cannot_serve_and_says_why(
    workspace: Workspace, dataset_id: int
) -> None:
    prune(workspace, dataset_id)
    with pytest.raises(ConflictError, match="CLSL_KEEP_RUNS"):
        model_runs.put_in_charge(workspace, dataset_id, 2)
    run = next(one for one in model_runs.all_runs(workspace, "set") if one.id == 2)
    assert run.state == "trained, without files"
