"""The routes as an OpenAPI description, for clients and for the tests that try to break them.

It is made from the table of routes and from the models that read the requests.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.answers import Failure
from app.api.table import OPERATIONS, PICTURE, Operation

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/{model}"
WINDOW: Schema = {
    "name": "X-CLSL-Client",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9-]{8,64}$"},
}
OBJECT: Schema = {"application/json": {"schema": {"type": "object"}}}
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
_OPEN: dict[str, tuple[str, Schema, str | None]] = {
    "/api/health": ("The process is alive.", OBJECT, None),
    "/api/ready": ("Requests can be answered.", OBJECT, "503"),
    "/api/metrics": ("Numbers for Prometheus.", {"text/plain": {}}, "401"),
    "/api/openapi.json": ("This description.", OBJECT, None),
}
"""Routes without a key, by path: a sentence, what they send, and what else they may answer."""


class _Schemas(GenerateJsonSchema):
    """Without titles, which say a name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


async def openapi(_request: Request) -> Response:
    """GET /api/openapi.json: this description."""
    return JSONResponse(description())


@cache
def description() -> Schema:
    """The OpenAPI 3.1 document."""
    models, schemas = _models()
    paths: dict[str, Schema] = {path: {"get": _open(*said)} for path, said in _OPEN.items()}
    for one in OPERATIONS:
        path = re.sub(r":\w+}", "}", one.path)
        paths.setdefault(path, {})[one.method.lower()] = _operation(one, models)
    return {
        "openapi": "3.1.0",
        "info": {"title": "CLSL annotation completion", "version": version("clsl")},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-CLSL-Token"}},
        },
    }


Models = dict[tuple[Any, JsonSchemaMode], Schema]


def _models() -> tuple[Models, Schema]:
    """A reference to each body and each answer; what they refer to, by name."""
    bodies = {one.reads for one in OPERATIONS if one.method == "POST"}
    answered = {one.answers for one in OPERATIONS if one.answers is not None} | {Failure}
    wanted: list[tuple[Any, JsonSchemaMode]] = [
        *((one, "validation") for one in sorted(bodies, key=str)),
        *((one, "serialization") for one in sorted(answered, key=str)),
    ]
    adapters = [(one, mode, TypeAdapter(one)) for one, mode in wanted]
    found, definitions = TypeAdapter.json_schemas(
        adapters, ref_template=REFERENCE, schema_generator=_Schemas
    )
    return found, definitions["$defs"]


def _open(about: str, content: Schema, but: str | None) -> Schema:
    responses: Schema = {"200": {"description": "Done.", "content": content}}
    if but is not None:
        responses[but] = {"description": _ERRORS[but]}
    return {"summary": about, "responses": responses}


def _operation(one: Operation[Any], models: Models) -> Schema:
    if one.answers is None:
        content: Schema = {media: {} for media in PICTURE}
    else:
        content = _json(models[one.answers, "serialization"])
    found: Schema = {
        "summary": one.about,
        "parameters": [WINDOW],
        "responses": {
            "200": {"description": "Done.", "content": content},
            **_failures(models[Failure, "serialization"]),
        },
        "security": [{"key": []}],
    }
    if one.method == "POST":
        body = _json(models[one.reads, "validation"])
        return {**found, "requestBody": {"required": True, "content": body}}
    return {**found, "parameters": [*_parameters(one), WINDOW]}


def _failures(schema: Schema) -> Schema:
    content = _json(schema)
    found = {code: {"description": about, "content": content} for code, about in _ERRORS.items()}
    # A path that is none of ours is answered as text.
    found["404"] = {"description": _ERRORS["404"], "content": {**content, "text/plain": {}}}
    return found


def _parameters(one: Operation[Any]) -> list[Schema]:
    """The fields of the model that reads a path and its query."""
    fields: dict[str, Schema] = one.reads.model_json_schema(schema_generator=_Schemas).get(
        "properties", {}
    )
    in_path = set(re.findall(r"{(\w+):", one.path))
    return [
        _parameter(name, schema, "path" if name in in_path else "query")
        for name, schema in fields.items()
    ]


def _parameter(name: str, schema: Schema, place: str) -> Schema:
    """One field; in a query, nothing is said by leaving it out, never by null."""
    said = {key: value for key, value in schema.items() if key != "description"}
    if "anyOf" in said:
        (said,) = (kind for kind in said["anyOf"] if kind != {"type": "null"})
    about = {"description": schema["description"]} if "description" in schema else {}
    return {"name": name, "in": place, "required": place == "path", "schema": said, **about}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
