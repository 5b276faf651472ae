"""Tables beside the database that cannot be read: said, done without, and found by the doctor."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.services.access.grants import Grant
from app.services.instant.tables import InstantTable
from app.services.learning import neighbours
from app.services.operations import upkeep
from app.services.operations.upkeep import Fault
from app.services.pictures import rendering
from app.services.workspace import Workspace
from clsl_core.errors import NotFoundError
from clsl_core.files import DamagedFile, load_array
from db.models import ModelRun, Proposal
from tests.builders import make_dataset, make_grant, make_proposals


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY\x01\x00garbage" * 9)


def archive(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 and no more")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def no_rows(path: Path) -> None:
    np.save(path, np.zeros(0), allow_pickle=False)


def scalar(path: Path) -> None:
    np.save(path, np.float32(1), allow_pickle=False)


def objects(path: Path) -> None:
    np.save(path, np.array([[{}]], dtype=object), allow_pickle=True)


DAMAGES = [empty, garbage, archive, cut, scalar, objects]
Damage = Callable[[Path], None]


@pytest.fixture
def grant(workspace: Workspace) -> Grant:
    """Somebody on a dataset whose serving run has all its tables."""
    dataset_id = make_dataset(workspace).dataset_id
    run = make_proposals(workspace, dataset_id, heatmap_row=lambda i: i)
    folder = workspace.data_dir / "runs" / "1" / "1"
    folder.mkdir(parents=True)
    np.save(folder / "heatmaps.npy", np.full((8, 4), 99, np.uint8))
    neighbours.store(folder, [1, 2, 3, 4], np.array([[1, 2], [0, 2], [3, 0], [2, 1]]))
    InstantTable(
        np.arange(1, 5),
        np.arange(1, 4),
        np.zeros((3, 4), np.float16),
        np.zeros((4, 2), np.float16),
        np.zeros((0, 2), np.float32),
    ).save(folder)
    with workspace.database.write() as session:
        session.get_one(ModelRun, run.id).directory = "runs/1/1"
    return make_grant(workspace, dataset_id)


def folder_of(workspace: Workspace) -> Path:
    return workspace.data_dir / "runs" / "1" / "1"


def doctor_says(workspace: Workspace) -> str:
    check = next(one for one in upkeep.checks(workspace) if one.name == "tables of runs")
    try:
        return check.look()
    except Fault as error:
        return str(error)


def look(workspace: Workspace, grant: Grant) -> tuple[bytes, list[int], InstantTable | None]:
    with workspace.database.read() as session:
        run = session.get_one(ModelRun, 1)
        proposal = session.query(Proposal).first()
        assert proposal is not None
    picture = rendering.heatmap(workspace, grant, proposal.id)
    near = neighbours.nearest_images(workspace, run, 1)
    return picture.content, near, InstantTable.open(folder_of(workspace))


def test_whole_ones_are_read(workspace: Workspace, grant: Grant) -> None:
    content, near, table = look(workspace, grant)
    assert content.startswith(b"\x89PNG")
    assert near == [2, 3]
    assert table is not None
    assert doctor_says(workspace) == "whole"


@pytest.mark.sqlite_only
@pytest.mark.parametrize("damage", [*DAMAGES, no_rows])
def test_heat_maps(workspace: Workspace, grant: Grant, damage: Damage) -> None:
    damage(folder_of(workspace) / "heatmaps.npy")
    with pytest.raises(DamagedFile, match=r"heatmaps\.npy is damaged.*clsl doctor"):
        look(workspace, grant)
    assert "heatmaps.npy (of run 1: `clsl propose` makes it anew)" in doctor_says(workspace)


@pytest.mark.sqlite_only
def test_heat_maps_of_another_grid_are_none(workspace: Workspace, grant: Grant) -> None:
    np.save(folder_of(workspace) / "heatmaps.npy", np.zeros((8, 9), np.uint8))
    with pytest.raises(NotFoundError):
        look(workspace, grant)


@pytest.mark.sqlite_only
@pytest.mark.parametrize("damage", [*DAMAGES, no_rows])
def test_neighbours(workspace: Workspace, grant: Grant, damage: Damage) -> None:
    damage(folder_of(workspace) / "neighbours.npy")
    assert look(workspace, grant)[1] == []
    assert "neighbours.npy" in doctor_says(workspace)


@pytest.mark.sqlite_only
@pytest.mark.parametrize("name", list(InstantTable.__dataclass_fields__))
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_instant_updates_start_from(
    workspace: Workspace, grant: Grant, name: str, damage: Damage
) -> None:
    path = folder_of(workspace) / "instant" / f"{name}.npy"
    damage(path)
    assert look(workspace, grant)[2] is None
    if name != "calibration" or damage is not cut:  # an empty one has nothing to be cut off
        assert f"instant/{name}.npy" in doctor_says(workspace)


def test_any_damaged_array_is_one_kind_of_error(tmp_path: Path) -> None:
    assert load_array(tmp_path / "none.npy", 2) is None
    for damage in DAMAGES:
        np.save(tmp_path / "a.npy", np.ones((3, 3)))
        damage(tmp_path / "a.npy")
        for mapped in (True, False):
            with pytest.raises(DamagedFile):
                load_array(tmp_path / "a.npy", 2, mapped=mapped)
