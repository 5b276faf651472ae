"""The HTTP contract of the review component, played in memory.

What it stores also goes to a journal file, so that a killed and restarted server knows it again.
Tests steer it through ``/api/test``: ``POST`` merges settings, ``GET`` tells what arrived.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.api import page_script
from app.services.people.preferences import CARD_KEYS, KEYS

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
    leases: bool = False  # whether a card shown in one tab is kept from the others
    others: int = 0  # further proposals of each picture, at most four
    disputes: bool = False  # whether the cards contradict labels
    categories: int = 0  # further categories without proposals
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
        self.clients: dict[str, set[int]] = {}  # what each tab holds
        self.released: list[str] = []
        self.renewed: list[list[int]] = []
        self.keys: dict[str, str] = {}
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
        return any(client_id in (e["client_id"], e.get("batch_id")) for e in self.events)

    def standing(self) -> dict[int | str, Json]:
        """The decisions that are not undone, by proposal; of added labels by image and category."""
        undone = {event["undoes"] for event in self.events if "undoes" in event}
        decisions = [e for e in self.events if "verdict" in e and e["client_id"] not in undone]
        return {e["proposal_id"] or f"{e['image_id']}/{e['category_id']}": e for e in decisions}

    def flag(self, image_id: int) -> Json | None:
        """The open flag of an image."""
        found = None
        for event in self.events:
            if event.get("flags") == image_id:
                found = {"comment": event["comment"], "annotator": "Ada"}
            elif event.get("unflags") == image_id:
                found = None
        return found

    def others(self, number: int, decided: dict[int | str, Json]) -> list[Json]:
        """The further proposals of a card's picture: 10 x number + 1 and on, from 10,000."""
        ids = [10_000 + 10 * number + place for place in range(1, self.settings.others + 1)]
        return [self.other(id_) for id_ in ids if id_ not in decided]

    def other(self, id_: int) -> Json:
        number, place = divmod(id_ - 10_000, 10)
        which = (number + place) % len(CATEGORIES)
        return {
            "proposal_id": id_,
            "category_id": 1 + which,
            "category": self.settings.category or CATEGORIES[which],
            "supercategory": None,
            "state": "present",
            "score": 0.8 - place / 10,
            "probability": 0.75 - place / 10,
            "heatmap_url": f"/api/heatmaps/{id_}",
        }

    def card_of(self, id_: int) -> Json:
        """A card that asks this proposal alone."""
        if id_ < 10_000:
            return self.card(id_)
        number = (id_ - 10_000) // 10
        return {**self.card(number), **self.other(id_)}

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
            "disputes": s.disputes,
            "others": [],
            "flag": self.flag(1000 + number),
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

    def queue(self, query: Mapping[str, str], client: str) -> Json:
        decided, after, limit = self.standing(), int(query.get("after", 0)), int(query["limit"])
        cards = [self.card(n) for n in range(1, self.settings.cards + 1) if n not in decided]
        if query["strategy"] == "absent":
            cards = [card for card in cards if card["state"] == "absent"]
        if query["strategy"] == "flagged":
            cards = [card for card in cards if card["flag"]]
        category = int(query["category"]) if "category" in query else None
        if category is not None:
            cards = [card for card in cards if card["category_id"] == category]
        elif query.get("siblings") == "1":
            for card in cards:
                card["others"] = self.others(card["proposal_id"], decided)
        count = len(cards)
        taken = self.taken(client)
        page = [c for c in cards if c["proposal_id"] > after and c["proposal_id"] not in taken]
        page = page[:limit]
        self.clients.setdefault(client, set()).update(card["proposal_id"] for card in page)
        left = {"queue": count, "category": None if category is None else count, "all": count}
        return {
            "cards": page,
            "cursor": str(page[-1]["proposal_id"]) if len(page) == limit else None,
            "left": None if after else left,
            "model_run_id": self.settings.run,
        }

    def taken(self, client: str) -> set[int]:
        """What other tabs hold."""
        if not self.settings.leases:
            return set()
        return {id_ for other, ids in self.clients.items() if other != client for id_ in ids}

    def decide(self, decision: Json) -> Json:
        client_id, proposal = decision["client_id"], decision["proposal_id"]
        answer = {"client_id": client_id, "status": "saved", "message": None}
        if self.seen(client_id):
            return answer | {"status": "duplicate"}
        if proposal in self.settings.refused:
            return answer | {"status": "refused", "message": "the image was removed"}
        if proposal and (proposal in self.settings.stale or proposal in self.standing()):
            return answer | {"status": "stale"}
        self.store(decision)
        return answer

    def absent(self, request: Json) -> Json:
        """The proposals of the picture and one more category, as far as they have no label."""
        client_id, image_id = request["client_id"], request["image_id"]
        answer: Json = {"client_id": client_id, "status": "saved", "message": None, "count": 0}
        if self.seen(client_id):
            return answer | {"status": "duplicate"}
        decided, number = self.standing(), image_id - 1000
        asked = [self.card(number), *self.others(number, decided)]
        pairs = [(chip["proposal_id"], chip["category_id"]) for chip in asked] + [(None, 92)]
        open_ = [pair for pair in pairs if (pair[0] or f"{image_id}/{pair[1]}") not in decided]
        for place, (proposal_id, category_id) in enumerate(open_):
            self.store(
                {
                    "client_id": f"{client_id}-{place}",
                    "batch_id": client_id,
                    "proposal_id": proposal_id,
                    "image_id": image_id,
                    "category_id": category_id,
                    "verdict": "absent",
                }
            )
        return answer | {"count": len(open_)}

    def raise_flag(self, flag: Json) -> Json:
        """A flag, or with no comment the end of all flags of the image."""
        answer = {"client_id": flag["client_id"], "status": "saved", "message": None}
        if self.seen(flag["client_id"]):
            return answer | {"status": "duplicate"}
        event = {"client_id": flag["client_id"]}
        if "comment" in flag:
            event |= {"flags": flag["image_id"], "comment": flag["comment"]}
            event |= {"category_id": flag["category_id"]}
        else:
            event |= {"unflags": flag["image_id"]}
        self.store(event)
        return answer

    def history(self) -> list[Json]:
        """Decisions and batches, newest first."""
        standing = {e["client_id"] for e in self.standing().values()}
        groups: dict[str, list[Json]] = {}
        for event in self.events:
            if "verdict" in event:
                groups.setdefault(event.get("batch_id", event["client_id"]), []).append(event)
        return [self.entry(id_, several, standing) for id_, several in reversed(groups.items())]

    def entry(self, id_: str, events: list[Json], standing: set[str]) -> Json:
        undone = not any(event["client_id"] in standing for event in events)
        first, single = events[0], len({event["category_id"] for event in events}) == 1
        names = [*CATEGORIES, "", *[""] * 90]
        return {
            "id": id_,
            "batch": "batch_id" in first,
            "count": len(events),
            "verdict": first["verdict"],
            "exceptions": 0,
            "category": names[first["category_id"] - 1] if single else None,
            "category_id": first["category_id"] if single else None,
            "image_id": first["image_id"],
            "file_name": f"folder/{first['image_id'] - 1000:04d}.jpg",
            "proposal_id": first["proposal_id"],
            "decided_at": "2026-01-01T00:00:00+00:00",
            "undone": undone,
            "undoable": not undone,
        }

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
        is_question = "batch_id" not in found[0] and found[0]["proposal_id"]
        card = self.card_of(found[0]["proposal_id"]) if is_question else None
        return answer | {"card": card, "count": len(found)}

    def redo(self, redo: Json) -> Json:
        answer: Json = {"client_id": redo["client_id"], "status": "saved", "message": None}
        if self.seen(redo["client_id"]):
            return answer | {"status": "duplicate"}
        names = (redo["redoes"],)
        events = [e for e in self.events if "verdict" in e]
        again = [e for e in events if e["client_id"] in names or e.get("batch_id") in names]
        if not again:
            return answer | {"status": "refused", "message": "no such decision", "count": 0}
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
    client = request.headers.get("x-clsl-client", "")
    return JSONResponse(SERVER.queue(request.query_params, client))


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


async def post_absent(request: Request) -> Response:
    if failure := problem(request):
        return failure
    return JSONResponse(SERVER.absent(await request.json()))


async def post_flag(request: Request) -> Response:
    if failure := problem(request):
        return failure
    return JSONResponse(SERVER.raise_flag(await request.json()))


async def post_leases(request: Request) -> Response:
    if failure := problem(request):
        return failure
    body, client = await request.json(), request.headers.get("x-clsl-client", "")
    if body.get("release"):
        SERVER.released.append(client)
        SERVER.clients.pop(client, None)
        return JSONResponse({"lost": []})
    SERVER.renewed.append(body["proposals"])
    away = SERVER.taken(client) | set(SERVER.settings.lost) | set(SERVER.standing())
    return JSONResponse({"lost": [id_ for id_ in body["proposals"] if id_ in away]})


async def get_history(request: Request) -> Response:
    if failure := problem(request):
        return failure
    entries = SERVER.history()[: int(request.query_params["limit"])]
    return JSONResponse({"entries": entries, "cursor": None})


async def get_categories(request: Request) -> Response:
    if failure := problem(request):
        return failure
    names = [*CATEGORIES, *(f"thing {number:04d}" for number in range(SERVER.settings.categories))]
    names[5:] = [SERVER.settings.category or "zebra", *names[5:]]
    known = [{"id": 91, "name": "horse", "supercategory": "animal"}]
    ids = [*range(1, 6), *range(101, 101 + len(names))]
    listed = [
        {"id": id_, "name": name, "supercategory": None}
        for id_, name in zip(ids, names, strict=False)
    ]
    return JSONResponse({"categories": listed + known})


async def get_boxes(request: Request) -> Response:
    """Two boxes in pixels of a file twice as large as what is shown; the second is a crowd."""
    if failure := problem(request):
        return failure
    width, height = SIZES[(int(request.path_params["id"]) - 1000) % len(SIZES)]
    name = SERVER.settings.category or "dog"
    boxes = [
        {"category_id": 1, "category": name, "bbox": [width, height / 2, width / 2, height]},
        {"category_id": 4, "category": "person", "bbox": [10, 10, width / 4, height / 4]},
    ]
    return JSONResponse(
        {
            "width": 2 * width,
            "height": 2 * height,
            "boxes": [box | {"crowd": place == 1} for place, box in enumerate(boxes)],
        }
    )


async def preferences(request: Request) -> Response:
    if failure := problem(request):
        return failure
    if request.method == "POST":
        wanted = (await request.json())["keys"]
        actions = {key: action for action, key in (KEYS | wanted).items() if action in CARD_KEYS}
        if len(actions) < len(CARD_KEYS):
            return JSONResponse({"error": "two actions on one key"}, 400)
        SERVER.keys = wanted
    return JSONResponse({"keys": KEYS | SERVER.keys})


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
    state = {
        "events": SERVER.events,
        "posts": SERVER.posts,
        "queries": SERVER.queries,
        "clients": list(SERVER.clients),
        "released": SERVER.released,
        "renewed": SERVER.renewed,
    }
    return JSONResponse(state)


async def test_settings(request: Request) -> Response:
    changes = await request.json()
    if changes.pop("reset", False):
        SERVER.reset()
    for name, value in changes.items():
        setattr(SERVER.settings, name, value)
    return JSONResponse({})


ROUTES = [
    page_script.ROUTE,
    Route("/api/queue", get_queue),
    Route("/api/decisions", post_decisions, methods=["POST"]),
    Route("/api/undo", post_undo, methods=["POST"]),
    Route("/api/redo", post_redo, methods=["POST"]),
    Route("/api/absent", post_absent, methods=["POST"]),
    Route("/api/flags", post_flag, methods=["POST"]),
    Route("/api/unflag", post_flag, methods=["POST"]),
    Route("/api/leases", post_leases, methods=["POST"]),
    Route("/api/history", get_history),
    Route("/api/categories", get_categories),
    Route("/api/boxes/{id}", get_boxes),
    Route("/api/preferences", preferences, methods=["GET", "POST"]),
    Route("/api/images/{id}", get_image),
    Route("/api/heatmaps/{id}", get_heatmap),
    Route("/api/test", test_state),
    Route("/api/test", test_settings, methods=["POST"]),
]
