"""The bell on Redis: heard in another process, and no job is lost when the server is killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.services.jobs.bell import HueyBell, connect_huey
from app.services.jobs.table import JobKind, JobStatus
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import DatabaseError
from tests.builders import make_dataset
from tests.ports import free_port
from tests.services.conftest import Workers, wait_for

redis = pytest.importorskip("redis")


class Server:
    """A Redis of one's own, on a port of one's own, that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("there is no redis-server: install Debian's package redis-server")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_for(self._answers)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(redis.Redis(port=self.port).ping())
        except redis.ConnectionError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "redis").mkdir()
    made = Server(tmp_path / "redis")
    yield made
    made.kill()


@pytest.fixture
def workers(server: Server, tmp_path: Path) -> Iterator[Workers]:
    settings = Settings(data_dir=tmp_path / "data", backbone="builtin", queue_url=server.url)
    made = Workers(Workspace.open(settings))
    yield made
    made.end()


def export(workspace: Workspace, dataset_id: int) -> int:
    return workspace.jobs.submit(JobKind.EXPORT, dataset_id, {"format": "coco"}).id


def test_messages_are_json_and_arrive_in_order(server: Server, tmp_path: Path) -> None:
    handled: list[int] = []
    ringing = HueyBell(connect_huey(server.url, tmp_path))
    there = connect_huey(server.url, tmp_path)
    HueyBell(there, handled.append)
    for job_id in (3, 1, 2):
        ringing.ring(job_id)
    (key,) = redis.Redis(port=server.port).keys("*")
    for message in redis.Redis(port=server.port).lrange(key, 0, -1):
        assert json.loads(message)["args"] in ([1], [2], [3])
    while (task := there.dequeue()) is not None:
        there.execute(task)
    assert handled == [3, 1, 2]


@pytest.mark.slow
def test_a_worker_hears_it_and_a_killed_server_costs_no_job(
    server: Server, workers: Workers
) -> None:
    workspace = workers.workspace
    dataset_id = make_dataset(workspace).dataset_id
    first = export(workspace, dataset_id)
    workers.start()
    wait_for(lambda: workspace.jobs.get(first).status is JobStatus.SUCCEEDED)
    began = time.monotonic()
    second = export(workspace, dataset_id)
    wait_for(lambda: workspace.jobs.get(second).status is JobStatus.SUCCEEDED)
    assert time.monotonic() - began < 20  # the bell, not the sweep of each minute
    server.kill()
    third = export(workspace, dataset_id)
    assert workspace.jobs.get(third).status is JobStatus.QUEUED
    server.start()
    workspace.jobs.sweep()
    wait_for(lambda: workspace.jobs.get(third).status is JobStatus.SUCCEEDED)
    fourth = export(workspace, dataset_id)
    wait_for(lambda: workspace.jobs.get(fourth).status is JobStatus.SUCCEEDED)


def test_a_server_that_is_not_there_says_what_to_do(server: Server, tmp_path: Path) -> None:
    server.kill()
    with pytest.raises(DatabaseError, match="CLSL_QUEUE_URL"):
        connect_huey(server.url, tmp_path)
    server.start()
