"""The whole loop with an oracle: the real program, its HTTP routes and its worker.

    python -m benchmarks.loop --file instances.json --images DIR --json OUT.json

A share of the positive labels is hidden from the file. It is imported, and the program embeds,
trains and proposes in its worker. An oracle takes cards from ``GET /api/queue`` in their order and
answers them by ``POST /api/decisions``; after every round the model is trained again, and serves
when the gate lets it. Beside OUT.json lies OUT.svg: what was found against verdicts given, beside
what a random order is expected to find, and the held-out average precision of each run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.services.access.grants import Grant
from app.services.datasets import overview
from app.services.learning import model_runs, triggers
from app.services.people.annotators import enter
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from benchmarks.annotators import run_command
from benchmarks.curves import Curve, Panel, draw
from benchmarks.review_latency import program
from benchmarks.runs import say
from benchmarks.table import print_table
from clsl_core.errors import ClslError
from clsl_core.files import atomic_file
from clsl_core.types import JsonObject

NAME = "loop"
CARDS = 25
PATIENCE = 1800.0  # seconds for a training

Pair = tuple[str, str]
"""File name and category name."""


@dataclass
class Oracle:
    """A person who knows every label.

    Attributes:
        http: With the key of the person.
        truth: Pairs that are present.
        places: Verdict numbers, from 1, at which a missing positive was found.
    """

    http: httpx.Client
    truth: set[Pair]
    given: int = 0
    places: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def answer(self, count: int) -> bool:
        """Give so many verdicts in queue order; False when the queue is at its end."""
        goal = self.given + count
        while self.given < goal:
            query = {"strategy": "likely", "limit": str(min(CARDS, goal - self.given))}
            cards = self._call("GET", "/api/queue", params=query)["cards"]
            if not cards:
                return False
            self._decide(cards)
        return True

    def _decide(self, cards: Sequence[JsonObject]) -> None:
        verdicts = []
        for card in cards:
            present = (card["file_name"], card["category"]) in self.truth
            self.given += 1
            if present:
                self.places.append(self.given)
            keys = ("image_id", "category_id", "proposal_id")
            verdict = {
                "client_id": str(uuid.uuid4()),
                "verdict": "present" if present else "absent",
            }
            verdicts.append(verdict | {key: card[key] for key in keys})
        began = time.perf_counter()
        results = self._call("POST", "/api/decisions", json={"decisions": verdicts})["results"]
        self.seconds.append(time.perf_counter() - began)
        for result in results:
            if result["status"] != "saved":
                raise ClslError(f"a verdict was not saved: {result}")

    def _call(self, method: str, path: str, **how: Any) -> JsonObject:
        answer = self.http.request(method, path, **how)
        answer.raise_for_status()
        found: JsonObject = answer.json()
        return found


def hide(document: JsonObject, share: float, seed: int) -> tuple[JsonObject, set[Pair], set[Pair]]:
    """The file without a share of its image-category pairs; all pairs, and the hidden ones."""
    files = {image["id"]: image["file_name"] for image in document["images"]}
    names = {category["id"]: category["name"] for category in document["categories"]}
    pairs = sorted({(a["image_id"], a["category_id"]) for a in document["annotations"]})
    drawn = np.random.default_rng(seed).random(len(pairs)) < share
    hidden = {pair for pair, gone in zip(pairs, drawn, strict=True) if gone}
    kept = [a for a in document["annotations"] if (a["image_id"], a["category_id"]) not in hidden]

    def named(chosen: set[tuple[int, int]]) -> set[Pair]:
        return {(files[image_id], names[category_id]) for image_id, category_id in chosen}

    return {**document, "annotations": kept}, named(set(pairs)), named(hidden)


def train(workspace: Workspace, dataset_id: int) -> float:
    """Let the worker embed, train and propose; seconds until it was done."""
    began = time.monotonic()
    triggers.start(workspace, dataset_id, "benchmark")
    while workspace.jobs.live(dataset_id):
        if time.monotonic() - began > PATIENCE:
            raise ClslError(f"the worker was not done after {PATIENCE:.0f} s")
        time.sleep(0.2)
    return time.monotonic() - began


def measure(folder: Path, options: argparse.Namespace) -> JsonObject:
    """Import, and go round."""
    document = json.loads(options.file.read_text("utf-8"))
    given, truth, hidden = hide(document, options.hide, options.seed)
    file = folder / "given.json"
    file.write_text(json.dumps(given))
    settings = Settings(data_dir=folder / "data", backbone=options.backbone)
    workspace = Workspace.open(settings)
    run_command(workspace, "import", file, "--images", options.images.resolve(), "--name", NAME)
    overview.set_retrain_after(workspace, NAME, 0)  # trained after each round, no sooner
    grant = enter(workspace, NAME, "oracle")
    token = workspace.access.issue(Grant(grant.annotator_id, grant.dataset_id))
    with program(folder / "data", worker="true", backbone=options.backbone) as address:
        headers = {"X-CLSL-Token": token, "X-CLSL-Client": "window-oracle"}
        with httpx.Client(base_url=address, headers=headers, timeout=60) as http:
            oracle = Oracle(http, truth)
            rounds = _rounds(workspace, grant.dataset_id, oracle, len(hidden), options)
    pairs = len(document["images"]) * len(document["categories"]) - len(truth) + len(hidden)
    runs = [_run(view) for view in reversed(model_runs.all_runs(workspace, NAME))]
    workspace.close()
    return {
        "images": len(document["images"]),
        "categories": len(document["categories"]),
        "missing": len(hidden),
        "unknown": pairs,
        "backbone": options.backbone,
        "seed": options.seed,
        "rounds": rounds,
        "places": oracle.places,
        "request_ms": float(np.median(oracle.seconds) * 1000),
        "runs": runs,
    }


def _rounds(
    workspace: Workspace, dataset_id: int, oracle: Oracle, missing: int, options: argparse.Namespace
) -> list[JsonObject]:
    rounds = []
    for number in range(options.rounds):
        seconds = train(workspace, dataset_id)
        before = len(oracle.places)
        more = oracle.answer(options.every)
        record = {
            "round": number + 1,
            "verdicts": oracle.given,
            "found": len(oracle.places),
            "found_in_round": len(oracle.places) - before,
            "training_seconds": round(seconds, 1),
        }
        say(f"{record} of {missing}")
        rounds.append(record)
        if not more:
            break
    return rounds


def _run(view: model_runs.ModelRunView) -> JsonObject:
    """What the program itself notes of a run."""
    gate = view.gate or {}
    return {
        "id": view.id,
        "state": view.state,
        "new_decisions": view.new_decisions,
        "held_out_ap": (view.metrics or {}).get("held_out_ap", {}).get("blend"),
        "gate": gate.get("decision"),
        "gate_says": gate.get("reason"),
    }


def report(result: JsonObject) -> None:
    """Print a table in Markdown."""
    print(
        f"{result['images']} images × {result['categories']} categories, {result['missing']} "
        f"positives missing among {result['unknown']} unknown pairs, {result['backbone']}\n"
    )
    rate = result["missing"] / result["unknown"]
    print_table(
        ["round", "verdicts", "missing found", "by chance", "in this round", "training s", "gate"],
        [
            [
                str(row["round"]),
                f"{row['verdicts']:,}",
                f"{row['found']} ({row['found'] / result['missing']:.0%})",
                f"{row['verdicts'] * rate:.0f}",
                str(row["found_in_round"]),
                f"{row['training_seconds']:.0f}",
                str(run["gate"] or ""),
            ]
            for row, run in zip(result["rounds"], result["runs"], strict=False)
        ],
    )


def panels(result: JsonObject) -> list[Panel]:
    """What was found, and how good the runs thought they were."""
    missing, end = result["missing"], result["rounds"][-1]["verdicts"]
    found = [(0.0, 0.0)]
    found += [(float(place), (i + 1) / missing) for i, place in enumerate(result["places"])]
    chance = [(0.0, 0.0), (float(end), end / result["unknown"])]
    trained = [
        (float(i + 1), run["held_out_ap"])
        for i, run in enumerate(result["runs"])
        if run["held_out_ap"] is not None
    ]
    return [
        Panel(
            "missing positives found",
            "verdicts",
            "share found",
            [Curve("proposals", found), Curve("by chance", chance)],
        ),
        Panel("held-out labels of each run", "run", "AP", [Curve("blend", trained)]),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when it went round."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loop", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--file", type=Path, required=True, help="COCO instances JSON")
    parser.add_argument("--images", type=Path, required=True, help="folder of its pictures")
    parser.add_argument("--hide", type=float, default=0.5, help="share of positives to hide")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--every", type=int, default=200, help="verdicts in a round")
    parser.add_argument("--backbone", default="builtin")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = measure(Path(folder), options)
        except (ClslError, httpx.HTTPError, OSError, ValueError) as error:
            say(f"loop: {error}")
            return 1
    report(result)
    if options.json is not None:
        with atomic_file(options.json) as file:
            file.write(json.dumps(result, indent=1).encode())
        draw(options.json.with_suffix(".svg"), panels(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
