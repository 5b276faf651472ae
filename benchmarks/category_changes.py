"""How long it takes to preview, merge, rename and undo categories of a large dataset.

    python -m benchmarks.category_changes --labels 1000000

The labels are drawn at random over ten categories; three of them go into a fourth. Every pair that
is unknown has an open proposal. Prints a table and writes JSON with ``--output``.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.services.categories import changes
from app.services.categories.changes import Policy
from app.services.jobs.bell import SilentBell
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from benchmarks import postgres_server
from clsl_core.types import LabelSource, LabelState
from db.models import (
    Category,
    Dataset,
    EmbeddingRun,
    Image,
    Label,
    ModelRun,
    Proposal,
    RunStatus,
)

CATEGORIES = 10
BATCH = 10_000


def fill(workspace: Workspace, labels: int) -> None:
    """A dataset called ``set``, two thirds of whose pairs are known, the others proposed."""
    images = labels * 3 // (2 * CATEGORIES)
    chance = random.Random(0)
    with workspace.database.write() as session:
        dataset = Dataset(name="set", format="coco", image_root=".", header={})
        session.add(dataset)
        session.flush()
        columns = {"dataset_id": dataset.id, "record": {}}
        session.execute(
            insert(Category),
            [
                columns | {"position": i, "source_id": str(i), "name": f"category {i}"}
                for i in range(CATEGORIES)
            ],
        )
        for start in range(0, images, BATCH):
            rows = [
                columns | {"position": i, "source_id": str(i), "file_name": f"{i}.jpg"}
                for i in range(start, min(start + BATCH, images))
            ]
            session.execute(insert(Image), rows)
        run = _run(session, dataset.id)
        for start in range(1, images + 1, BATCH):
            known: list[dict[str, object]] = []
            unknown: list[dict[str, object]] = []
            for image in range(start, min(start + BATCH, images + 1)):
                for category in range(1, CATEGORIES + 1):
                    pair: dict[str, object] = {"image_id": image, "category_id": category}
                    state = chance.choice(list(LabelState))
                    if state is LabelState.UNKNOWN:
                        thought = {"state": LabelState.PRESENT, "score": chance.random()}
                        unknown.append(pair | thought | {"model_run_id": run.id})
                    else:
                        known.append(pair | {"state": state, "source": LabelSource.IMPORT})
            session.execute(insert(Label), known)
            session.execute(insert(Proposal), unknown)


def _run(session: Session, dataset_id: int) -> ModelRun:
    """A serving run that nobody trained."""
    embedding = EmbeddingRun(
        dataset_id=dataset_id, backbone_key="none", spec={}, description="", directory="nowhere"
    )
    session.add(embedding)
    session.flush()
    run = ModelRun(
        dataset_id=dataset_id,
        embedding_run_id=embedding.id,
        status=RunStatus.READY,
        serving=True,
        trigger="benchmark",
        new_decisions=0,
        last_decision_id=0,
        known_present=0,
        known_absent=0,
        config={},
        seed=0,
        code_version="benchmark",
    )
    session.add(run)
    session.flush()
    return run


def measure(workspace: Workspace) -> dict[str, float]:
    """Seconds of each operation."""
    sources, target = [f"category {i}" for i in (1, 2, 3)], "category 0"
    return {
        "preview": _seconds(lambda: changes.preview_merge(workspace, "set", sources, target)),
        "merge": _seconds(lambda: changes.merge(workspace, "set", sources, target, Policy.SAME)),
        "undo of the merge": _seconds(lambda: changes.undo(workspace, "set")),
        "rename": _seconds(lambda: changes.rename(workspace, "set", target, "another")),
        "list": _seconds(lambda: changes.listed(workspace, "set")),
    }


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return round(time.perf_counter() - began, 3)


def run(labels: int, url: str | None) -> dict[str, float]:
    """Fill a workspace and measure on it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), database_url=url, backbone="builtin")
        workspace = Workspace.open(settings, SilentBell())
        try:
            fill(workspace, labels)
            return measure(workspace)
        finally:
            workspace.close()


def main() -> None:
    """Measure on SQLite, and on PostgreSQL where its programs are installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found = {"SQLite": run(options.labels, None)}
    programs = postgres_server.binaries()
    if programs is not None:
        server = postgres_server.Server(programs)
        try:
            found["PostgreSQL"] = run(options.labels, server.create())
        finally:
            server.stop()
    for database, seconds in found.items():
        for what, spent in seconds.items():
            print(f"{database:<12}{what:<20}{spent:>9.3f} s")
    if options.output is not None:
        options.output.write_text(json.dumps({"labels": options.labels, "seconds": found}))


if __name__ == "__main__":
    main()
