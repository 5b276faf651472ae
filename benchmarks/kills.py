"""Kill the program at random while people work: is every acknowledged verdict there, once?

Starts the program with its worker on a synthetic collection. Clients answer and, as the review
page does, send a verdict again until it is acknowledged. Meanwhile the app, the worker or the
database server is killed with SIGKILL at a random moment, and started again.

    python -m benchmarks.kills --kills 100 --json OUT
    python -m benchmarks.kills --postgres --kills 100 --json OUT
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy.exc import SQLAlchemyError

from app.services.access.grants import Grant
from app.services.jobs.table import JobKind
from app.services.operations import doctor
from app.services.people.annotators import enter
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from benchmarks.annotators import TRAINED, Tally, check, make_learnable, run_command
from benchmarks.review_latency import REPOSITORY, make_collection
from clsl_core.errors import ClslError
from db.models import EmbeddingRun, RunStatus

if TYPE_CHECKING:
    from benchmarks.postgres_server import Server

CLIENTS = 5
START_SECONDS = 120.0


class App:
    """The program in a process of its own, always at the same address."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://localhost:{self.port}"
        self._folder = folder
        self._environment = environment
        self.start()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
        command += ["--server.headless=true", f"--server.port={self.port}"]
        end = time.monotonic() + START_SECONDS
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log
            )
        while time.monotonic() < end:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.address}/api/ready", timeout=5).status_code == 200:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        log_text = (self._folder / "server.log").read_text()[-3000:]
        raise SystemExit(f"the program did not start again:\n{log_text}")

    @property
    def worker(self) -> int | None:
        """The worker's process id."""
        return next(iter(children(self._process.pid)), None)

    def kill(self) -> None:
        """As a power cut for this process."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """As Ctrl-C."""
        self._process.terminate()
        self._process.wait()


def children(pid: int) -> list[int]:
    """Processes that a process has started (Linux)."""
    with suppress(OSError):
        texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        return sorted(int(child) for text in texts for child in text.split())
    return []


def kill_server(server: Server) -> None:
    """All processes of the database server at once."""
    pids = [server.process.pid, *children(server.process.pid)]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait()
    end = time.monotonic() + 20
    while any(_lives(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.02)  # their shared memory bars the next server


def _lives(pid: int) -> bool:
    """Whether a process is there and no zombie (Linux)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class Person:
    """Answers cards; an unacknowledged verdict is sent until it is acknowledged."""

    def __init__(self, address: str, token: str, number: int, over: threading.Event) -> None:
        headers = {"X-CLSL-Token": token, "X-CLSL-Client": f"window-{number:04}"}
        self._http = httpx.Client(base_url=address, headers=headers, timeout=40)
        self._over = over
        self.tally = Tally()
        self.sent_again = 0

    def work(self) -> None:
        """Until it is over, and nothing waits any more."""
        after: str | None = None
        while not self._over.is_set():
            query = {"strategy": "mixed", "limit": "10"} | ({"after": after} if after else {})
            page = self._until_answered("GET", "/api/queue", params=query)
            if not page["cards"]:
                return
            after = page["cursor"]
            for card in page["cards"]:
                self._answer(card)
                if self._over.is_set():
                    return

    def _answer(self, card: dict[str, Any]) -> None:
        keys = ("image_id", "category_id", "proposal_id")
        verdict = {"client_id": str(uuid.uuid4()), "verdict": "absent"}
        body = {"decisions": [verdict | {key: card[key] for key in keys}]}
        answer = self._until_answered("POST", "/api/decisions", json=body)
        status = answer["results"][0]["status"]
        self.tally.statuses[status] += 1
        if status in ("saved", "duplicate"):
            self.tally.acknowledged.append(verdict["client_id"])

    def _until_answered(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        while True:
            try:
                answer = self._http.request(method, path, **how)
                if answer.status_code == 200:
                    found: dict[str, Any] = answer.json()
                    return found
                self.tally.errors[str(answer.status_code)] += 1
            except httpx.HTTPError as error:
                self.tally.errors[type(error).__name__] += 1
            self.sent_again += 1
            time.sleep(0.1)


def keep_training(workspace: Workspace, dataset_id: int, over: threading.Event) -> None:
    """One training after the other, whatever dies meanwhile."""
    while not over.wait(0.5):
        with suppress(ClslError, SQLAlchemyError):
            if not workspace.jobs.live(dataset_id):
                workspace.jobs.submit(JobKind.TRAIN, dataset_id, {"trigger": "benchmark"})


def kill_at_random(app: App, server: Server | None, kills: int, seed: int) -> Counter[str]:
    """Kill one after the other, each time after a random pause, and start it again."""
    rng = random.Random(seed)
    killed: Counter[str] = Counter()
    while killed.total() < kills:
        time.sleep(rng.uniform(0.2, 2.0))
        victim = rng.choice(["app", "worker", "database"] if server else ["app", "worker"])
        if victim == "app":
            app.kill()
            app.start()
        elif victim == "worker":
            pid = _worker_of(app)
            if pid is None:
                continue
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        elif server is not None:
            kill_server(server)
            server.start()
        killed[victim] += 1
        if killed.total() % 10 == 0:
            print(f"{killed.total()} kills", file=sys.stderr)
    return killed


def _worker_of(app: App) -> int | None:
    """The worker, once its keeper has started it."""
    for _ in range(50):
        if app.worker is not None:
            return app.worker
        time.sleep(0.1)
    return None


def run(workspace: Workspace, folder: Path, server: Server | None, kills: int) -> dict[str, Any]:
    """Load, kills, and what is left."""
    environment = os.environ | {"CLSL_DATA_DIR": str(folder), "CLSL_BACKBONE": "builtin"}
    environment["CLSL_REQUESTS_PER_SECOND"] = "0"
    if workspace.settings.database_url is not None:
        environment["CLSL_DATABASE_URL"] = workspace.settings.database_url
    small = make_learnable(folder, TRAINED)
    run_command(workspace, "import", small, "--images", folder / "small", "--name", "learnable")
    run_command(workspace, "embed", "learnable", "--backbone", "builtin")
    dataset_id = enter(workspace, "learnable", "person 0").dataset_id
    with workspace.database.write() as session:  # the synthetic collection has no features
        session.get_one(EmbeddingRun, 1).status = RunStatus.FAILED
    app = App(folder, environment)
    over = threading.Event()
    people = []
    for number in range(CLIENTS):
        grant = enter(workspace, "large", f"person {number}")
        token = workspace.access.issue(Grant(grant.annotator_id, grant.dataset_id))
        people.append(Person(app.address, token, number, over))
    threads = [threading.Thread(target=person.work) for person in people]
    threads.append(threading.Thread(target=keep_training, args=(workspace, dataset_id, over)))
    for thread in threads:
        thread.daemon = True
    for thread in threads:
        thread.start()
    began = time.monotonic()
    try:
        killed = kill_at_random(app, server, kills, seed=0)
    except BaseException:
        app.kill()
        raise
    finally:
        over.set()
        for thread in threads:
            thread.join(timeout=120)
    seconds = time.monotonic() - began
    for job in workspace.jobs.live():
        workspace.jobs.cancel(job.id)
    end = time.monotonic() + 120
    while workspace.jobs.live() and time.monotonic() < end:
        time.sleep(0.5)
    app.stop()
    tallies = [person.tally for person in people]
    found = doctor.examine(workspace.settings, fix=False)
    # What a kill may leave behind is not wrong: leases end by themselves.
    wrong = [f"{one.check}: {one.found}" for one in found if not one.ok and one.check != "leases"]
    return {
        "kills": dict(killed),
        "seconds": round(seconds),
        "sent_again": sum(person.sent_again for person in people),
        "statuses": dict(sum((tally.statuses for tally in tallies), Counter())),
        "errors": dict(sum((tally.errors for tally in tallies), Counter())),
        **check(workspace, tallies),
        "doctor": wrong or "clean",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it, print the figures, write them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--proposals", type=int, default=200_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--json", type=Path, dest="output")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url, server = None, None
        if options.postgres:
            from benchmarks import postgres_server

            server = postgres_server.Server(postgres_server.find(), postgres_server.DURABLE)
            stack.callback(server.stop)
            url = server.create()
        print(f"making {options.images} images, {options.proposals} proposals", file=sys.stderr)
        make_collection(folder, options.images, options.proposals, url)
        settings = Settings(data_dir=folder, backbone="builtin", database_url=url)
        workspace = Workspace.open(settings)
        stack.callback(workspace.close)
        result = run(workspace, folder, server, options.kills)
    result |= {"database": "postgresql" if options.postgres else "sqlite"}
    result |= {"machine": platform.machine(), "processors": os.cpu_count()}
    text = json.dumps(result, indent=2)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
