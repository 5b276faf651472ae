"""A real workspace with the real routes, in front of which a test can let things go wrong.

Its dataset has the proposals 1 to ``cards``: number n is about image 1000 + n and category
1 + n modulo 5, every fifth is held to be absent, and the queue ``uncertain`` asks them in the order
of their numbers. Tests steer it through ``/api/test``: ``POST`` merges settings, ``GET`` tells what
is stored. What goes wrong does so outside the routes: a server out of order, a slow line, a file
that is damaged, another person who is quicker.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app import api
from app.api import page_script
from app.services.access.grants import Access, Grant, read_secret
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.types import LabelSource, LabelState
from db.models import (
    Annotator,
    Category,
    Dataset,
    Decision,
    EmbeddingRun,
    Image,
    Label,
    Lease,
    ModelRun,
    Proposal,
    ProposalStatus,
    RunStatus,
    Verdict,
)
from tests.builders import make_workspace

Json = dict[str, Any]

DATASET, ADA, BOB = 1, 1, 2
CATEGORIES = ("dog", "cat", "umbrella", "person", "bicycle")
COLORS = ("#35506b", "#6b4a35", "#3f6b35", "#5c356b", "#6b6435")
SIZES = ((640, 480), (480, 640), (640, 360), (500, 500))
KNOWN = {90: ("person", LabelState.PRESENT), 91: ("horse", LabelState.ABSENT)}
"""Categories of which something is known in pictures already: of every third nothing."""
FIRST_RUN = 4
GRID = (7, 7)
DRAWN_ANEW = {"reset", "cards", "category", "file_name", "broken"}


@dataclass
class Settings:
    """Changed by tests while the server runs."""

    cards: int = 60
    category: str = ""  # name of every category, when set
    file_name: str = ""  # of every picture
    run: int = FIRST_RUN  # the model run that serves
    epoch: int = 1  # of tokens: a higher one expires those given out before
    fail: int = 0  # the server answers this status to every call but those about leases
    fail_queue: int = 0  # the same for the queue alone
    delay: float = 0.0  # seconds until the answer to a decision arrives
    stale: list[int] = field(default_factory=list)  # proposals that Bob decides a moment earlier
    removed: list[int] = field(default_factory=list)  # whose image vanishes a moment earlier
    lost: list[int] = field(default_factory=list)  # that Bob holds when leases are renewed
    broken: list[int] = field(default_factory=list)  # whose file is damaged


class Stage:
    """The workspace, and what a test has asked for."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings()
        self.workspace = make_workspace(folder / "data", requests_per_second=0)
        self.pictures = folder / "pictures"
        self.renew_keys()
        self.posts = 0
        self.queries: list[str] = []
        with self.workspace.database.read() as session:
            known = session.get(Dataset, DATASET)
        if known is None:
            self.draw()

    def token(self) -> str:
        """A key for Ada."""
        return self.workspace.access.issue(Grant(ADA, DATASET))

    def change(self, changes: Json) -> None:
        """Take over what a test asks for."""
        if changes.get("reset"):
            self.settings, self.posts, self.queries = Settings(), 0, []
        wanted = {name: value for name, value in changes.items() if name != "reset"}
        self.settings = replace(self.settings, **wanted)
        if DRAWN_ANEW & set(changes):
            self.draw()
        if "run" in wanted:
            self.serve_another(wanted["run"])
        self.renew_keys()

    def renew_keys(self) -> None:
        """Whatever was given out in another epoch opens nothing."""
        secret = f"{read_secret(self.workspace.data_dir)}{self.settings.epoch}"
        self.workspace = replace(self.workspace, access=Access(secret, 3600))

    def draw(self) -> None:
        """Make everything anew."""
        self.draw_pictures()
        with self.workspace.database.write() as session:
            for table in (Decision, Lease, Label, Proposal, ModelRun, Dataset, Annotator):
                session.execute(delete(table))
            session.add_all([Annotator(id=ADA, name="Ada"), Annotator(id=BOB, name="Bob")])
            session.add(
                Dataset(
                    id=DATASET,
                    name="stage",
                    format="coco",
                    image_root=str(self.pictures),
                    header={},
                    retrain_after=0,
                )
            )
            session.flush()
            self.draw_rows(session)
            self.draw_run(session, FIRST_RUN)
        self.draw_heatmaps()

    def numbers(self) -> range:
        """Of the cards."""
        return range(1, self.settings.cards + 1)

    def file_name(self, number: int) -> str:
        """Of a card's picture."""
        return self.settings.file_name or f"folder/{number:04d}.jpg"

    def draw_rows(self, session: Session) -> None:
        """Images, categories, and what is known already."""
        names = dict(enumerate(CATEGORIES, start=1)) | {id_: KNOWN[id_][0] for id_ in KNOWN}
        categories = [
            {
                "id": id_,
                "dataset_id": DATASET,
                "position": id_,
                "source_id": str(id_),
                "name": self.settings.category or name,
                "record": {},
            }
            for id_, name in names.items()
        ]
        images = [
            {
                "id": 1000 + number,
                "dataset_id": DATASET,
                "position": number,
                "source_id": str(number),
                "file_name": self.file_name(number),
                "width": SIZES[number % len(SIZES)][0],
                "height": SIZES[number % len(SIZES)][1],
                "record": {},
            }
            for number in self.numbers()
        ]
        labels = [
            {
                "image_id": 1000 + number,
                "category_id": id_,
                "state": KNOWN[id_][1],
                "source": LabelSource.IMPORT,
            }
            for number in self.numbers()
            for id_ in list(KNOWN)[: number % 3]
        ]
        for table, rows in ((Category, categories), (Image, images), (Label, labels)):
            session.execute(insert(table), rows)

    def draw_run(self, session: Session, run_id: int) -> None:
        """A run that serves and proposes whatever nobody has decided."""
        embedding = session.scalar(select(EmbeddingRun.id)) or self.draw_embedding(session)
        session.add(
            ModelRun(
                id=run_id,
                dataset_id=DATASET,
                embedding_run_id=embedding,
                status=RunStatus.READY,
                serving=True,
                trigger="test",
                new_decisions=0,
                last_decision_id=0,
                known_present=0,
                known_absent=0,
                config={},
                seed=0,
                code_version="test",
                directory=f"runs/{run_id}",
            )
        )
        session.flush()
        decided = set(session.scalars(select(Decision.image_id)))
        first = 0 if run_id == FIRST_RUN else 10_000 * run_id
        rows = [
            proposal(run_id, first, number)
            for number in self.numbers()
            if 1000 + number not in decided
        ]
        session.execute(insert(Proposal), rows)

    def draw_embedding(self, session: Session) -> int:
        """The features that nobody has made."""
        embedding = EmbeddingRun(
            dataset_id=DATASET,
            backbone_key="stage",
            spec={"name": "builtin", "grid": list(GRID)},
            description="made for a test",
            directory="nowhere",
            status=RunStatus.READY,
        )
        session.add(embedding)
        session.flush()
        return embedding.id

    def draw_pictures(self) -> None:
        """One plate for each colour and size, under the names of all pictures."""
        shutil.rmtree(self.pictures, ignore_errors=True)
        plates = self.pictures / "plates"
        plates.mkdir(parents=True)
        for color in COLORS:
            for size in SIZES:
                Pillow.new("RGB", size, color).save(plates / plate(color, size))
        for number in self.numbers():
            path = self.pictures / self.file_name(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            if number in self.settings.broken:
                path.write_bytes(b"\xff\xd8\xff no picture at all")
            elif not path.exists():
                color = COLORS[number % len(COLORS)]
                path.hardlink_to(plates / plate(color, SIZES[number % len(SIZES)]))

    def draw_heatmaps(self) -> None:
        """One for all proposals."""
        maps = np.zeros((1, *GRID), np.uint8)
        maps[0, 2:5, 3:6] = 220
        folder = self.workspace.data_dir / f"runs/{FIRST_RUN}"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "heatmaps.npy", maps.reshape(1, -1))

    def serve_another(self, run_id: int) -> None:
        """A training has finished: another run serves."""
        with self.workspace.database.write(DATASET) as session:
            session.execute(update(ModelRun).values(serving=False))
            self.draw_run(session, run_id)

    def decided_by_others(self) -> None:
        """Bob decides what he is to, and what is removed goes."""
        stale, self.settings.stale = self.settings.stale, []
        answers = [
            Answer(f"by-bob-{number:04d}", 1000 + number, 1 + number % 5, "present", number)
            for number in stale
        ]
        if answers:
            verdicts.decide(self.workspace, Grant(BOB, DATASET), answers)
        with self.workspace.database.write(DATASET) as session:
            gone = [1000 + number for number in self.settings.removed]
            session.execute(delete(Image).where(Image.id.in_(gone)))

    def held_by_others(self) -> None:
        """Bob has what he is to."""
        held = [1000 + number for number in self.settings.lost]
        with self.workspace.database.write(DATASET) as session:
            taken = update(Lease).where(Lease.image_id.in_(held))
            session.execute(taken.values(annotator_id=BOB, client="the window of Bob"))

    def events(self) -> list[Json]:
        """Ada's decisions in the order in which they were stored."""
        query = select(Decision).where(Decision.annotator_id == ADA).order_by(Decision.id)
        with self.workspace.database.read() as session:
            found = session.scalars(query).all()
        by_id = {one.id: one.client_id for one in found}
        return [event(one, by_id) for one in found]


def plate(color: str, size: tuple[int, int]) -> str:
    """The file of a plate."""
    return f"{color[1:]}-{size[0]}x{size[1]}.jpg"


def proposal(run_id: int, first: int, number: int) -> Json:
    """The columns of a proposal; in every queue a smaller number comes first."""
    absent = number % 5 == 0
    return {
        "id": first + number,
        "model_run_id": run_id,
        "image_id": 1000 + number,
        "category_id": 1 + number % 5,
        "state": LabelState.ABSENT if absent else LabelState.PRESENT,
        "score": 0.08 if absent else 0.91,
        "probability": None if number % 7 == 0 else 0.88,
        "chance": 0.88 - number / 1_000_000,
        "margin": number / 10_000,
        "turn": number,
        "lot": number,
        "heatmap_row": 0,
        "status": ProposalStatus.OPEN,
    }


def event(one: Decision, by_id: dict[int, str]) -> Json:
    """A decision as the page sent it, or what it undoes."""
    if one.verdict is Verdict.UNDO:
        return {"client_id": one.client_id, "undoes": by_id[one.undoes_id or 0]}
    said = {
        "client_id": one.client_id,
        "proposal_id": one.proposal_id,
        "image_id": one.image_id,
        "category_id": one.category_id,
        "verdict": one.verdict.value,
        "seconds": one.seconds,
    }
    return said if one.batch_id is None else said | {"batch_id": one.batch_id}


STAGE = Stage(Path(os.environ["CLSL_STAGE"]))
Endpoint = Callable[[Request], Awaitable[Response]]


def _workspace() -> Workspace:
    return STAGE.workspace


def troubled(path: str, endpoint: Endpoint) -> Endpoint:
    """A route with what a test lets go wrong before and after it."""

    async def answer(request: Request) -> Response:
        settings = STAGE.settings
        if settings.fail and path != "/api/leases":
            return PlainTextResponse("out of order", settings.fail)
        if path == "/api/queue":
            STAGE.queries.append(request.url.query)
            if settings.fail_queue:
                return JSONResponse({"error": "no queue today"}, settings.fail_queue)
        if path == "/api/leases" and settings.lost:
            await run_in_threadpool(STAGE.held_by_others)
        if path != "/api/decisions":
            return await endpoint(request)
        if settings.stale or settings.removed:
            await run_in_threadpool(STAGE.decided_by_others)
        STAGE.posts += 1
        response = await endpoint(request)
        await asyncio.sleep(settings.delay)
        return response

    return answer


async def tell(_request: Request) -> Response:
    """What is stored, and what was asked."""
    events = await run_in_threadpool(STAGE.events)
    return JSONResponse({"events": events, "posts": STAGE.posts, "queries": STAGE.queries})


async def steer(request: Request) -> Response:
    """Take over a test's settings."""
    await run_in_threadpool(STAGE.change, await request.json())
    return JSONResponse({})


ROUTES = [
    page_script.ROUTE,
    Route("/api/test", tell),
    Route("/api/test", steer, methods=["POST"]),
    *(
        Route(one.path, troubled(one.path, one.endpoint), methods=one.methods)
        for one in api.routes(_workspace)
    ),
]
