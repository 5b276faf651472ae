"""Real worker processes for tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.services.jobs.table import JobKind, JobStatus, JobView
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from tests.builders import put_migrated_file

ROOT = Path(__file__).parents[2]


class Workers:
    """A workspace with a real queue, and worker processes that serve it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        folder = str(self.workspace.data_dir)
        command = [sys.executable, "-m", "app.cli.main", "--data-dir", folder, "worker"]
        own = self.workspace.settings
        urls = {"CLSL_DATABASE_URL": own.database_url, "CLSL_QUEUE_URL": own.queue_url}
        environment = os.environ | {name: url for name, url in urls.items() if url is not None}
        self.processes.append(subprocess.Popen(command, cwd=ROOT, env=environment))
        return self.processes[-1]

    def end(self) -> None:
        """End those that are left, and close the workspace."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.workspace.close()

    @staticmethod
    def kill(process: subprocess.Popen[bytes]) -> None:
        """End a worker as a power cut does."""
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def newest(self, kind: JobKind) -> JobView | None:
        """The newest job of a kind."""
        return next((job for job in self.workspace.jobs.recent() if job.kind is kind), None)

    def in_the_middle(self, kind: JobKind, done: int) -> bool:
        """Whether a job of a kind is at work and has come as far as ``done``."""
        job = self.newest(kind)
        return job is not None and job.status is JobStatus.RUNNING and done <= job.done < job.total


def wait_for(what: Callable[[], bool], seconds: float = 240) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def workers(tmp_path: Path, database_url: str | None) -> Iterator[Workers]:
    """Workers on an empty workspace; those that a test leaves behind are ended."""
    settings = Settings(data_dir=tmp_path / "data", backbone="builtin", database_url=database_url)
    if database_url is None:
        put_migrated_file(settings.data_dir)
    settings.data_dir.mkdir(exist_ok=True)
    workspace = Workspace.open(settings)
    made = Workers(workspace)
    yield made
    made.end()
