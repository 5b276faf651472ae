"""A damaged file beside the database, a bad disk: one clear line, never a traceback."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.services.jobs.bell import connect_huey
from app.services.operations import upkeep
from app.services.operations.upkeep import Fault
from tests.builders import make_collection, make_dataset, make_workspace

ROOT = Path(__file__).parents[2]


def clsl(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person does."""
    command = [sys.executable, "-m", "app.cli.main", "--data-dir", str(data), *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CLSL_BACKBONE": "builtin"}
    found = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "Traceback" not in found.stderr, found.stderr
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a dataset, which nobody has open."""
    workspace = make_workspace(tmp_path / "data")
    make_dataset(workspace)
    workspace.close()
    return tmp_path / "data"


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage\n" * 999)


def cut(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(5000)
    path.with_name(path.name + "-wal").unlink(missing_ok=True)


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE task (id INTEGER PRIMARY KEY)")


@pytest.mark.parametrize("damage", [garbage, cut, foreign])
def test_a_damaged_queue_is_set_aside_and_the_doctor_says_so(
    data: Path, damage: Callable[[Path], None]
) -> None:
    connect_huey(None, data).storage.close()
    damage(data / "queue.db")
    connect_huey(None, data).storage.close()
    workspace = make_workspace(data)
    check = next(one for one in upkeep.checks(workspace) if one.name == "queue")
    with pytest.raises(Fault, match="a damaged one was set aside"):
        check.look()
    assert check.mend is not None
    assert "1 removed" in check.mend()
    assert check.look() == "whole"
    assert not list(data.glob("queue.db.damaged*"))
    workspace.close()


@pytest.mark.slow
def test_commands_go_on_with_a_damaged_queue(data: Path) -> None:
    garbage(data / "queue.db")
    assert clsl(data, "stats", "set").returncode == 0
    assert "a damaged one was set aside" in clsl(data, "doctor").stdout


@pytest.mark.slow
def test_a_locked_queue_is_waited_for(data: Path) -> None:
    with closing(sqlite3.connect(data / "queue.db", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        command = [sys.executable, "-m", "app.cli.main", "--data-dir", str(data), "stats", "set"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=14)
        connection.rollback()
    _, said = process.communicate(timeout=100)
    assert (process.returncode, said) == (0, b"")


@contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """A disk of its own, where this machine lets one be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


COMMANDS = [
    ("stats", "set"),
    ("doctor",),
    ("doctor", "--fix"),
    ("jobs",),
    ("runs", "set"),
    ("embed", "set"),
    ("export", "set", "OUT/labels.json"),
    ("backup", "OUT/backup.zip"),
    ("snapshot", "set", "now"),
    ("import", "SOURCE/instances.json", "--images", "SOURCE/images", "--name", "second"),
    ("propose", "set"),
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_no_command_ends_in_a_traceback_on_a_bad_disk(tmp_path: Path, fault: str) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    make_collection(tmp_path / "source")
    with disk(place, "size=8m"):
        workspace = make_workspace(place / "data")
        make_dataset(workspace)
        workspace.close()
        if fault == "full":
            with (
                (place / "filler").open("wb", buffering=0) as stream,
                pytest.raises(OSError, match="No space"),
            ):
                while True:
                    stream.write(b"x" * 4096)
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        for words in COMMANDS:
            named = [
                one.replace("OUT", str(place)).replace("SOURCE", str(tmp_path / "source"))
                for one in words
            ]
            found = clsl(place / "data", *named)  # which looks for tracebacks
            if found.returncode:
                assert found.stderr.strip() or found.stdout.strip(), words
