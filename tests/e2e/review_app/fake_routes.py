"""The HTTP contract of the review component, played in memory.

What it stores also goes to a journal file, so that a killed and restarted server knows it again.
Tests steer it through ``/api/test``: ``POST`` merges settings, ``GET`` tells what arrived.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

Json = dict[str, Any]

CATEGORIES = ("dog", "cat", "umbrella", "person", "bicycle")
COLORS = ("#35506b", "#6b4a35", "#3f6b35", "#5c356b", "#6b6435")
SIZES = ((640, 480), (480, 640), (640, 360), (500, 500))


@dataclass
class Settings:
    """Changed by tests while the server runs."""

    cards: int = 60
    fail: int = 0  # answer this status to every call of the component
    fail_queue: int = 0  # the same for the queue alone
    delay: float = 0.0  # seconds before a decision is answered
    epoch: int = 1  # of tokens: a higher one expires those given out before
    run: int = 4
    stale: list[int] = field(default_factory=list)  # proposals decided by someone else
    refused: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)  # images whose file is damaged
    lost: list[int] = field(default_factory=list)  # proposals whose lease somebody else has
    category: str = ""  # name of every category, when set
    file_name: str = ""


class FakeServer:
    """Cards 1 to ``cards``, and what was decided of them."""

    def __init__(self, journal: Path) -> None:
        self.settings = Settings()
        self.journal = journal
        self.events: list[Json] = []
        self.posts = 0
        self.queries: list[str] = []
        if journal.exists():
            self.events = [json.loads(line) for line in journal.read_text().splitlines()]

    def reset(self) -> None:
        self.__init__(self.journal)  # type: ignore[misc]
        self.events = []
        self.journal.unlink(missing_ok=True)

    def token(self) -> str:
        return f"token-{self.settings.epoch}"

    def store(self, event: Json) -> None:
        with self.journal.open("a") as file:
            file.write(json.dumps(event) + "\n")
        self.events.append(event)

    def seen(self, client_id: str) -> bool:
        return any(event["client_id"] == client_id for event in self.events)

    def standing(self) -> dict[int, Json]:
        """The decisions that are not undone, by proposal."""
        undone = {event["undoes"] for event in self.events if "undoes" in event}
        decisions = [e for e in self.events if "verdict" in e and e["client_id"] not in undone]
        return {event["proposal_id"]: event for event in decisions}

    def card(self, number: int) -> Json:
        s = self.settings
        name = s.category or CATEGORIES[number % len(CATEGORIES)]
        width, height = SIZES[number % len(SIZES)]
        return {
            "proposal_id": number,
            "image_id": 1000 + number,
            "category_id": 1 + number % len(CATEGORIES),
            "category": name,
            "supercategory": "animal" if name in ("dog", "cat") else None,
            "state": "absent" if number % 5 == 0 else "present",
            "score": 0.08 if number % 5 == 0 else 0.91,
            "probability": None if number % 7 == 0 else 0.88,
            "model_run_id": s.run,
            "file_name": s.file_name or f"folder/{number:04d}.jpg",
            "width": width,
            "height": height,
            "image_url": f"/api/images/{1000 + number}?size=960",
            "heatmap_url": f"/api/heatmaps/{number}",
            "disputes": False,
            "others": [],
            "flag": None,
            "known": [
                {
                    "category_id": 90,
                    "category": s.category or "person",
                    "state": "present",
                    "source": "import",
                },
                {"category_id": 91, "category": "horse", "state": "absent", "source": "human"},
            ][: number % 3],
        }

    def queue(self, strategy: str, category: int | None, after: int, limit: int) -> Json:
        decided = self.standing()
        cards = [self.card(n) for n in range(1, self.settings.cards + 1) if n not in decided]
        if strategy == "absent":
            cards = [card for card in cards if card["state"] == "absent"]
        if category is not None:
            cards = [card for card in cards if card["category_id"] == category]
        page = [card for card in cards if card["proposal_id"] > after][:limit]
        return {
            "cards": page,
            "cursor": str(page[-1]["proposal_id"]) if len(page) == limit else None,
            "left": None if after else {"queue": len(cards), "category": None, "all": len(cards)},
            "model_run_id": self.settings.run,
        }

    def decide(self, decision: Json) -> Json:
        client_id, proposal = decision["client_id"], decision["proposal_id"]
        answer = {"client_id": client_id, "status": "saved", "message": None}
        if self.seen(client_id):
            return answer | {"status": "duplicate"}
        if proposal in self.settings.refused:
            return answer | {"status": "refused", "message": "the image was removed"}
        if proposal in self.settings.stale or proposal in self.standing():
            return answer | {"status": "stale"}
        self.store(decision)
        return answer

    def members(self, name: str) -> list[Json]:
        """The standing decisions of one id, or of one batch."""
        found = self.standing().values()
        return [e for e in found if name in (e["client_id"], e.get("batch_id"))]

    def undo(self, undo: Json) -> Json:
        answer: Json = {"client_id": undo["client_id"], "status": "saved", "message": None}
        if self.seen(undo["client_id"]):
            return answer | {"status": "duplicate", "card": None}
        found = self.members(undo["undoes"])
        if not found:
            return answer | {"status": "refused", "message": "no such decision", "card": None}
        for number, event in enumerate(found):
            own_id = undo["client_id"] if not number else f"{undo['client_id']}-{number}"
            self.store({"client_id": own_id, "undoes": event["client_id"]})
        card = None if "batch_id" in found[0] else self.card(found[0]["proposal_id"])
        return answer | {"card": card, "count": len(found)}

    def redo(self, redo: Json) -> Json:
        answer: Json = {"client_id": redo["client_id"], "status": "saved", "message": None}
        if self.seen(redo["client_id"]):
            return answer | {"status": "duplicate"}
        names = (redo["redoes"],)
        events = [e for e in self.events if "verdict" in e]
        again = [e for e in events if e["client_id"] in names or e.get("batch_id") in names]
        for number, event in enumerate(again):
            own_id = redo["client_id"] if not number else f"{redo['client_id']}-{number}"
            batch = {"batch_id": redo["client_id"]} if "batch_id" in event else {}
            self.store({**event, "client_id": own_id, **batch})
        return answer | {"count": len(again)}


SERVER = FakeServer(Path(os.environ["CLSL_FAKE_JOURNAL"]))
PHOTOS = os.environ.get("CLSL_FAKE_PHOTOS", "")


def problem(request: Request) -> Response | None:
    """The failure that the settings or the token ask for."""
    settings = SERVER.settings
    if settings.fail:
        return PlainTextResponse("out of order", settings.fail)
    token = request.headers.get("x-clsl-token") or request.query_params.get("token")
    if token != SERVER.token():
        return JSONResponse({"error": "the token has expired"}, 401)
    return None


async def get_queue(request: Request) -> Response:
    settings = SERVER.settings
    SERVER.queries.append(str(request.url.query))
    if failure := problem(request):
        return failure
    if settings.fail_queue:
        return JSONResponse({"error": "no queue today"}, settings.fail_queue)
    query = request.query_params
    category = int(query["category"]) if "category" in query else None
    after, limit = int(query.get("after", 0)), int(query["limit"])
    return JSONResponse(SERVER.queue(query["strategy"], category, after, limit))


async def post_decisions(request: Request) -> Response:
    if failure := problem(request):
        return failure
    body = await request.json()
    batch = {"batch_id": body["batch_id"]} if "batch_id" in body else {}
    SERVER.posts += 1
    results = [SERVER.decide({**decision, **batch}) for decision in body["decisions"]]
    await asyncio.sleep(SERVER.settings.delay)
    return JSONResponse({"results": results})


async def post_undo(request: Request) -> Response:
    if failure := problem(request):
        return failure
    return JSONResponse(SERVER.undo(await request.json()))


async def post_redo(request: Request) -> Response:
    if failure := problem(request):
        return failure
    return JSONResponse(SERVER.redo(await request.json()))


async def post_leases(request: Request) -> Response:
    if failure := problem(request):
        return failure
    return JSONResponse({"lost": SERVER.settings.lost})


async def get_history(request: Request) -> Response:
    return problem(request) or JSONResponse({"entries": [], "cursor": None})


def draw(number: int, width: int, height: int) -> Image.Image:
    """A photograph when a folder is given, else a coloured plate with its number."""
    if PHOTOS:
        files = sorted(Path(PHOTOS).glob("*.jpg"))
        return Image.open(files[number % len(files)]).convert("RGB")
    plate = Image.new("RGB", (width, height), COLORS[number % len(COLORS)])
    ImageDraw.Draw(plate).text((width // 2, height // 2), str(number), "white", font_size=120)
    return plate


async def get_image(request: Request) -> Response:
    if failure := problem(request):
        return failure
    number = int(request.path_params["id"]) - 1000
    if number in SERVER.settings.broken:
        return JSONResponse({"error": "The file is damaged."}, 422)
    buffer = io.BytesIO()
    card = SERVER.card(number)
    draw(number, card["width"], card["height"]).save(buffer, "WEBP", quality=70)
    return Response(buffer.getvalue(), media_type="image/webp")


async def get_heatmap(request: Request) -> Response:
    if failure := problem(request):
        return failure
    grid = Image.new("RGBA", (7, 7), (255, 140, 0, 0))
    for row in range(2, 5):
        for column in range(3, 6):
            grid.putpixel((column, row), (255, 90, 0, 220))
    buffer = io.BytesIO()
    grid.save(buffer, "PNG")
    return Response(buffer.getvalue(), media_type="image/png")


async def test_state(request: Request) -> Response:
    state = {"events": SERVER.events, "posts": SERVER.posts, "queries": SERVER.queries}
    return JSONResponse(state)


async def test_settings(request: Request) -> Response:
    changes = await request.json()
    if changes.pop("reset", False):
        SERVER.reset()
    for name, value in changes.items():
        setattr(SERVER.settings, name, value)
    return JSONResponse({})


ROUTES = [
    Route("/api/queue", get_queue),
    Route("/api/decisions", post_decisions, methods=["POST"]),
    Route("/api/undo", post_undo, methods=["POST"]),
    Route("/api/redo", post_redo, methods=["POST"]),
    Route("/api/leases", post_leases, methods=["POST"]),
    Route("/api/history", get_history),
    Route("/api/images/{id}", get_image),
    Route("/api/heatmaps/{id}", get_heatmap),
    Route("/api/test", test_state),
    Route("/api/test", test_settings, methods=["POST"]),
]
