"""``clsl categories`` from end to end, in one process."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.main import cli
from app.services.workspace import Workspace
from tests.builders import make_dataset, make_workspace


@pytest.fixture
def data(tmp_path: Path) -> Path:
    workspace: Workspace = make_workspace(tmp_path / "data")
    make_dataset(workspace)
    workspace.close()
    return tmp_path / "data"


def clsl(data: Path, *arguments: object) -> Result:
    environment = {"CLSL_DATA_DIR": str(data), "COLUMNS": "200"}
    return CliRunner().invoke(cli, ["categories", *map(str, arguments)], env=environment)


def names(data: Path) -> list[tuple[str, str | None]]:
    found = json.loads(clsl(data, "list", "set", "--json").stdout)
    return [(one["name"], one["merged_into"]) for one in found["categories"]]


def test_rename_merge_map_and_undo(data: Path, tmp_path: Path) -> None:
    assert "green → lime" in clsl(data, "rename", "set", "green", "lime").stdout
    before = names(data)
    dry = clsl(data, "merge", "set", "lime", "--into", "red", "--dry-run")
    assert "wider" in dry.stdout
    assert names(data) == before
    made = clsl(data, "merge", "set", "lime", "--into", "red", "--as", "wider")
    assert "lime into red (wider; 1 labels)" in made.stdout
    assert names(data) == [("red", None), ("lime", "red"), ("blue", None)]
    table = tmp_path / "map.csv"
    table.write_text("from;to\nred;warm\nblue;cold\n")
    assert "red → warm" in clsl(data, "map", "set", table, "--dry-run").stdout
    assert names(data)[0] == ("red", None)
    assert clsl(data, "map", "set", table).exit_code == 0
    assert names(data) == [("warm", None), ("lime", "warm"), ("cold", None)]
    listed = clsl(data, "list", "set").stdout
    assert "blue → cold" in listed
    assert "undone: blue → cold\nundone: red → warm" in clsl(data, "undo", "set").stdout
    assert "1 labels are as they were" in clsl(data, "undo", "set").stdout
    assert "undone: green → lime" in clsl(data, "undo", "set", 1).stdout
    assert names(data) == [("red", None), ("green", None), ("blue", None)]


def test_errors_are_told(data: Path, tmp_path: Path) -> None:
    assert "merge them" in str(clsl(data, "rename", "set", "green", "red").exception)
    table = tmp_path / "map.csv"
    table.write_text("from,to\nno,x\n")
    refused = clsl(data, "map", "set", table)
    assert refused.exit_code != 0
    assert "line 2" in str(refused.exception)
    assert "cannot be read" in str(clsl(data, "map", "set", tmp_path / "none.csv").exception)
