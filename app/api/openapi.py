"""The routes as an OpenAPI description, for clients and for the tests that try to break them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Schema = dict[str, Any]

ID: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
CLIENT_ID: Schema = {"type": "string", "minLength": 8, "maxLength": 64}
TEXT: Schema = {"type": "string", "maxLength": 1000, "pattern": "^[^\\u0000]*$"}
SECONDS: Schema = {"type": ["number", "null"], "minimum": 0}
CHANCE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
STRATEGIES = [
    "likely",
    "uncertain",
    "mixed",
    "absent",
    "random",
    "disagreements",
    "flagged",
    "similar",
]
RECEIPT: Schema = {
    "type": "object",
    "required": ["client_id", "status", "message"],
    "properties": {
        "client_id": {"type": "string"},
        "status": {"enum": ["saved", "duplicate", "stale", "refused"]},
        "message": {"type": ["string", "null"]},
    },
}
VERDICT: Schema = {
    "type": "object",
    "required": ["client_id", "image_id", "category_id", "verdict"],
    "properties": {
        "client_id": CLIENT_ID,
        "image_id": ID,
        "category_id": ID,
        "proposal_id": {**ID, "type": ["integer", "null"]},
        "verdict": {"enum": ["present", "absent", "skip"]},
        "seconds": SECONDS,
    },
}
PICTURE: Schema = {"image/webp": {}, "image/png": {}}


def _object(required: str = "", **properties: Schema) -> Schema:
    found: Schema = {"type": "object", "properties": properties}
    return {**found, "required": required.split()} if required else found


def _query(name: str, schema: Schema, about: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": about}


def _path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": ID}


_ERRORS = {
    "400": "The request is not as it must be.",
    "401": "No valid key.",
    "403": "Another site's page sent it.",
    "404": "There is no such thing in the dataset.",
    "409": "It contradicts the present state.",
    "413": "The body is too large.",
    "429": "Too many requests: see Retry-After.",
    "500": "An error of the program; its number is in the log.",
    "503": "The database or the disk is away: try again.",
}
_ERROR: Schema = _object("error", error={"type": "string"})


def _operation(
    about: str,
    answer: Schema | None,
    *,
    body: Schema | None = None,
    parameters: list[Schema] | None = None,
    content: Schema | None = None,
    open_: bool = False,
    but: str = "",
) -> Schema:
    good = content or {"application/json": {"schema": answer or {"type": "object"}}}
    found: Schema = {
        "summary": about,
        "parameters": parameters or [],
        "responses": {"200": {"description": "Done.", "content": good}},
    }
    if not open_:
        found["security"] = [{"key": []}]
        window = {"type": "string", "pattern": "^[A-Za-z0-9-]{8,64}$"}
        name = {"name": "X-CLSL-Client", "in": "header", "schema": window}
        found["parameters"] = [*found["parameters"], name]
        error = {"application/json": {"schema": _ERROR}}
        found["responses"] |= {
            code: {"description": about, "content": error} for code, about in _ERRORS.items()
        }
        missing = found["responses"]["404"]  # a path that is none of ours is answered as text
        found["responses"]["404"] = {**missing, "content": {**error, "text/plain": {}}}
    if but:
        found["responses"][but] = {"description": _ERRORS[but]}
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


def description() -> Schema:
    """The OpenAPI 3.1 document."""
    one = _object("client_id image_id", client_id=CLIENT_ID, image_id=ID)
    keys = _object("keys", keys={"type": "object", "additionalProperties": {"type": "string"}})
    flag = {"category_id": {**ID, "type": ["integer", "null"]}, "comment": TEXT}
    paths: dict[str, Schema] = {
        "/api/health": {"get": _operation("The process is alive.", None, open_=True)},
        "/api/ready": {"get": _operation("Requests can be answered.", None, open_=True, but="503")},
        "/api/metrics": {
            "get": _operation(
                "Numbers for Prometheus.",
                None,
                content={"text/plain": {}},
                open_=True,
                but="401",
            )
        },
        "/api/openapi.json": {"get": _operation("This description.", None, open_=True)},
        "/api/queue": {
            "get": _operation(
                "The next cards, leased for five minutes.",
                _object("cards cursor", cards={"type": "array"}),
                parameters=[
                    _query("strategy", {"enum": STRATEGIES}, "Which queue."),
                    _query("category", ID, "Only this category."),
                    _query("state", {"enum": ["present", "absent"]}, "Only these proposals."),
                    _query("min", CHANCE, "Least probability."),
                    _query("max", CHANCE, "Largest probability."),
                    _query("split", TEXT, "Only images of this split."),
                    _query("text", TEXT, "Part of the file name."),
                    _query("anchor", ID, "Image whose neighbours are wanted."),
                    _query("limit", {"type": "integer", "minimum": 1, "maximum": 100}, "Cards."),
                    _query("after", {"type": "string"}, "The cursor of the page before."),
                    _query("siblings", {"enum": ["0", "1"]}, "The images' other proposals, too."),
                ],
            )
        },
        "/api/leases": {
            "post": _operation(
                "Keep cards, or give all back.",
                _object("lost", lost={"type": "array", "items": {"type": "integer"}}),
                body=_object(
                    proposals={"type": "array", "items": ID, "maxItems": 500},
                    release={"type": "boolean"},
                ),
            )
        },
        "/api/decisions": {
            "post": _operation(
                "Verdicts, each stored once.",
                _object("results", results={"type": "array", "items": RECEIPT}),
                body=_object(
                    "decisions",
                    decisions={"type": "array", "items": VERDICT, "maxItems": 100},
                    batch_id={**CLIENT_ID, "type": ["string", "null"]},
                ),
            )
        },
        "/api/absent": {
            "post": _operation(
                "Every category without a label is not in the image.",
                RECEIPT,
                body=_object(
                    "client_id image_id", client_id=CLIENT_ID, image_id=ID, seconds=SECONDS
                ),
            )
        },
        "/api/undo": {
            "post": _operation(
                "Take a decision or a batch back.",
                RECEIPT,
                body=_object("client_id undoes", client_id=CLIENT_ID, undoes=CLIENT_ID),
            )
        },
        "/api/redo": {
            "post": _operation(
                "Decide again what was undone.",
                RECEIPT,
                body=_object("client_id redoes", client_id=CLIENT_ID, redoes=CLIENT_ID),
            )
        },
        "/api/history": {
            "get": _operation(
                "The annotator's own decisions, newest first.",
                _object("entries cursor", entries={"type": "array"}),
                parameters=[
                    _query("limit", {"type": "integer", "minimum": 1}, "Entries."),
                    _query("before", {"type": "string"}, "The cursor of the page before."),
                ],
            )
        },
        "/api/flags": {
            "post": _operation("Something is odd about an image.", RECEIPT, body=_merged(one, flag))
        },
        "/api/unflag": {"post": _operation("An image's flags are settled.", RECEIPT, body=one)},
        "/api/preferences": {
            "get": _operation("The annotator's keys.", keys),
            "post": _operation("Change the annotator's keys.", keys, body=keys),
        },
        "/api/categories": {
            "get": _operation(
                "Every category of the dataset.",
                _object("categories", categories={"type": "array"}),
            )
        },
        "/api/images/{image_id}": {
            "get": _operation(
                "A picture.",
                None,
                parameters=[
                    _path("image_id"),
                    _query("size", {"enum": [240, 480, 960, 1920]}, "Longest side."),
                ],
                content=PICTURE,
            )
        },
        "/api/boxes/{image_id}": {
            "get": _operation(
                "The source file's boxes of a picture.",
                _object("boxes", boxes={"type": "array"}),
                parameters=[_path("image_id")],
            )
        },
        "/api/heatmaps/{proposal_id}": {
            "get": _operation(
                "Where the model looked.",
                None,
                parameters=[_path("proposal_id")],
                content=PICTURE,
            )
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "CLSL annotation completion", "version": version("clsl")},
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-CLSL-Token"}}
        },
    }


def _merged(one: Schema, more: dict[str, Schema]) -> Schema:
    return {**one, "properties": {**one["properties"], **more}}


async def openapi(_request: Request) -> Response:
    """GET /api/openapi.json: this description."""
    return JSONResponse(description())
