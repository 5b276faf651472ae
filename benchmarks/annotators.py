"""Many people at once, through the real program: how long a verdict takes to be safe, and is it.

Starts the program on a synthetic collection. Each client has a key of its own, takes cards and
answers them at a steady rate, while a worker trains and another process imports. As the page does,
it asks for more cards while it answers those it has, and waits only where none is left. Afterwards
the database is compared with what was acknowledged.

    python -m benchmarks.annotators --clients 20 --rate 2 --seconds 60 --json OUT
    python -m benchmarks.annotators --postgres --clients 20 --rate 2 --seconds 60 --json OUT

``--postgres`` starts a server of its own, with its usual durability; ``--search`` doubles the
rate until it is not held any more.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image as Pillow
from sqlalchemy import func, select

from app.services.access.grants import Grant
from app.services.people.annotators import enter
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from benchmarks.review_latency import REPOSITORY, make_collection, program, spread
from clsl_core.errors import ConflictError
from db.models import Decision, Job, JobKind, JobStatus, Verdict
from db.queries import upkeep

HELD_MS = 200.0
CARDS = 20
LOW = 8  # held cards below which the page asks for more
TRAINED = 400
IMPORTED = 20_000
TIMEOUT = 60.0


@dataclass
class Tally:
    """What one client saw.

    Attributes:
        late: Milliseconds from the moment a verdict was due to its acknowledgement.
        statuses: Acknowledgements by their status.
        acknowledged: Client ids that were said to be saved.
        errors: Answers that were none.
    """

    late: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class Client:
    """One person with one window."""

    def __init__(self, address: str, token: str, number: int) -> None:
        headers = {"X-CLSL-Token": token, "X-CLSL-Client": f"window-{number:04}"}
        self._http = httpx.Client(base_url=address, headers=headers, timeout=TIMEOUT)
        self.tally = Tally()
        self._cards: list[dict[str, Any]] = []
        self._after: str | None = None

    def work(self, rate: float, begin: float, seconds: float, number: int, of: int) -> None:
        """Answer at a steady rate, evenly shifted against the other clients."""
        first = begin + number / (rate * of)
        with ThreadPoolExecutor(1) as aside:
            more = aside.submit(lambda: None)
            for turn in range(int(seconds * rate)):
                due = first + turn / rate
                time.sleep(max(0.0, due - time.monotonic()))
                if not self._cards:
                    more.result()
                self._answer(due)
                if len(self._cards) < LOW and more.done():
                    more = aside.submit(self._fetch)

    def prepare(self) -> None:
        """The first cards, before the clock runs."""
        self._fetch()

    def _fetch(self) -> None:
        query = {"strategy": "mixed", "limit": str(CARDS)}
        if self._after is not None:
            query["after"] = self._after
        page = self._call("GET", "/api/queue", params=query)
        if page is not None:
            self._cards += page["cards"]
            self._after = page["cursor"]

    def _answer(self, due: float) -> None:
        if not self._cards:
            self.tally.errors["no cards"] += 1
            return
        card = self._cards.pop(0)
        keys = ("image_id", "category_id", "proposal_id")
        verdict = {"client_id": str(uuid.uuid4()), "verdict": "absent", "seconds": 0.5}
        body = {"decisions": [verdict | {key: card[key] for key in keys}]}
        answer = self._call("POST", "/api/decisions", json=body)
        if answer is None:
            return
        status = str(answer["results"][0]["status"])
        self.tally.late.append(1000 * (time.monotonic() - due))
        self.tally.statuses[status] += 1
        if status in ("saved", "duplicate"):
            self.tally.acknowledged.append(str(verdict["client_id"]))

    def _call(self, method: str, path: str, **how: Any) -> dict[str, Any] | None:
        """One request; what goes wrong is counted, and sent once more as the page does."""
        for _ in range(2):
            try:
                answer = self._http.request(method, path, **how)
                if answer.status_code == 200:
                    found: dict[str, Any] = answer.json()
                    return found
                self.tally.errors[f"{path}: {answer.status_code}"] += 1
            except httpx.HTTPError as error:
                self.tally.errors[f"{path}: {type(error).__name__}"] += 1
        return None

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def run_clients(workspace: Workspace, address: str, options: argparse.Namespace) -> list[Tally]:
    """All clients, each on a thread of its own, for the given time."""
    clients = []
    for number in range(options.clients):
        grant = enter(workspace, "large", f"person {number}")
        token = workspace.access.issue(Grant(grant.annotator_id, grant.dataset_id))
        clients.append(Client(address, token, number))
    for client in clients:
        client.prepare()
    begin = time.monotonic() + 0.5
    threads = [
        threading.Thread(
            target=client.work,
            args=(options.rate, begin, options.seconds, number, options.clients),
        )
        for number, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    return [client.tally for client in clients]


def check(workspace: Workspace, tallies: Sequence[Tally]) -> dict[str, int]:
    """Compare what was acknowledged with what is stored."""
    acknowledged = Counter(itertools.chain.from_iterable(t.acknowledged for t in tallies))
    with workspace.database.read() as session:
        stored = Counter(session.scalars(select(Decision.client_id)))
        query = (
            select(func.count())
            .where(Decision.verdict != Verdict.SKIP)
            .group_by(Decision.image_id, Decision.category_id)
            .having(func.count() > 1)
        )
        doubled = len(session.scalars(query).all())
        wrong = upkeep.contradicting_labels(session) + upkeep.verdicts_without_label(session)
    return {
        "acknowledged": acknowledged.total(),
        "lost": sum(1 for id_ in acknowledged if stored[id_] == 0),
        "stored_twice": sum(1 for count in stored.values() if count > 1),
        "pairs_judged_twice": doubled,
        "labels_unlike_their_verdict": wrong,
    }


def make_learnable(folder: Path, images: int) -> Path:
    """A COCO file of small pictures whose colour is their category."""
    rng = np.random.default_rng(0)
    (folder / "small").mkdir(parents=True)
    colours = rng.integers(0, 256, (8, 3))
    document: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": k + 1, "name": f"colour {k}"} for k in range(8)],
    }
    for number in range(images):
        pixels = np.clip(colours[number % 8] + rng.integers(-30, 30, (48, 64, 3)), 0, 255)
        Pillow.fromarray(pixels.astype(np.uint8)).save(folder / "small" / f"{number}.png")
        document["images"].append({"id": number, "file_name": f"{number}.png"})
        document["annotations"].append(
            {"id": number, "image_id": number, "category_id": number % 8 + 1}
        )
    file = folder / "small.json"
    file.write_text(json.dumps(document))
    return file


def make_import(folder: Path, images: int) -> Path:
    """A COCO file of many images (the synthetic collection's pictures again)."""
    document = {
        "images": [
            {"id": i, "file_name": f"{i % 400:04}.jpg", "width": 640, "height": 480}
            for i in range(images)
        ],
        "annotations": [
            {"id": i, "image_id": i // 5, "category_id": i % 80 + 1, "bbox": [1, 2, 30, 40]}
            for i in range(5 * images)
        ],
        "categories": [{"id": k + 1, "name": f"thing {k}"} for k in range(80)],
    }
    file = folder / "import.json"
    file.write_text(json.dumps(document))
    return file


@contextmanager
def background(workspace: Workspace, folder: Path) -> Iterator[dict[str, Any]]:
    """A worker that trains, again and again, and an import in another process."""
    facts: dict[str, Any] = {}
    over = threading.Event()

    def keep_training() -> None:
        dataset_id = facts["dataset_id"]
        while not over.is_set():
            if not workspace.jobs.live(dataset_id):
                with suppress(ConflictError):
                    workspace.jobs.submit(JobKind.TRAIN, dataset_id, {"trigger": "benchmark"})
            over.wait(0.5)

    small = make_learnable(folder, TRAINED)
    run_command(workspace, "import", small, "--images", folder / "small", "--name", "learnable")
    run_command(workspace, "embed", "learnable", "--backbone", "builtin")
    large = make_import(folder, IMPORTED)
    facts["dataset_id"] = enter(workspace, "learnable", "person 0").dataset_id
    thread = threading.Thread(target=keep_training)
    thread.start()
    began = time.monotonic()
    importing = subprocess.Popen(
        _command("import", large, "--images", folder / "pictures", "--name", "imported"),
        cwd=REPOSITORY,
        env=_environment(workspace),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield facts
        facts["import_ended_first"] = importing.poll() is not None
        said, _ = importing.communicate(timeout=600)
        facts["import"] = said.strip()
        facts["import_s"] = round(time.monotonic() - began, 1)
    finally:
        over.set()
        thread.join()
        if importing.poll() is None:
            importing.send_signal(signal.SIGINT)
            importing.wait()
    with workspace.database.read() as session:
        query = select(Job.status, func.count()).where(Job.kind == JobKind.TRAIN)
        rows = session.execute(query.group_by(Job.status)).all()
    found = {row[0]: row[1] for row in rows}
    facts["trainings"] = {status.value: count for status, count in found.items()}
    if found.get(JobStatus.FAILED):
        raise SystemExit("a training failed; see server.log")


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "app.cli.main", *map(str, arguments)]


def _environment(workspace: Workspace) -> dict[str, str]:
    found = os.environ | {"CLSL_DATA_DIR": str(workspace.data_dir), "CLSL_BACKBONE": "builtin"}
    if workspace.settings.database_url is not None:
        found["CLSL_DATABASE_URL"] = workspace.settings.database_url
    return found


def run_command(workspace: Workspace, *arguments: object) -> None:
    """``clsl`` on a workspace, in a process of its own."""
    subprocess.run(
        _command(*arguments),
        cwd=REPOSITORY,
        env=_environment(workspace),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def summarise(tallies: Sequence[Tally], options: argparse.Namespace) -> dict[str, Any]:
    """Figures of one run."""
    late = [milliseconds for tally in tallies for milliseconds in tally.late]
    errors: Counter[str] = sum((tally.errors for tally in tallies), Counter())
    statuses: Counter[str] = sum((tally.statuses for tally in tallies), Counter())
    return {
        "clients": options.clients,
        "verdicts_per_second": options.clients * options.rate,
        "seconds": options.seconds,
        "acknowledgement_ms": {**spread(late), "max": round(max(late), 1)},
        "statuses": dict(statuses),
        "errors": dict(errors),
    }


def held(result: dict[str, Any]) -> bool:
    """Whether every verdict was saved, in time."""
    return (
        not result["errors"]
        and set(result["statuses"]) == {"saved"}
        and result["acknowledgement_ms"]["p95"] <= HELD_MS
    )


def measure(workspace: Workspace, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The run that was asked for under load, then the highest rate without."""
    settings = {"worker": "true", "backbone": "builtin", "requests_per_second": "0"}
    if workspace.settings.database_url is not None:
        settings["database_url"] = workspace.settings.database_url
    result: dict[str, Any] = {}
    with program(folder, **settings) as address:
        if options.idle:
            tallies = run_clients(workspace, address, options)
        else:
            with background(workspace, folder) as facts:
                tallies = run_clients(workspace, address, options)
            result["background"] = facts
        result |= summarise(tallies, options) | check(workspace, tallies)
        if options.search:
            result["search"] = []
            for factor in (1, 2, 4, 8, 16, 32):
                step = argparse.Namespace(
                    clients=options.clients, rate=options.rate * factor, seconds=10.0
                )
                found = summarise(run_clients(workspace, address, step), step)
                result["search"].append(found | {"held": held(found)})
                if not held(found):
                    break
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it, print the figures, write them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rate", type=float, default=2.0, help="verdicts a second of each")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--proposals", type=int, default=200_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--idle", action="store_true", help="no training, no import")
    parser.add_argument("--search", action="store_true", help="also the highest rate held")
    parser.add_argument("--json", type=Path, dest="output")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = None
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
        result = measure(workspace, options, folder)
    result |= {"database": "postgresql" if options.postgres else "sqlite", "held": held(result)}
    result |= {"machine": platform.machine(), "processors": os.cpu_count()}
    text = json.dumps(result, indent=2)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
