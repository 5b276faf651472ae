"""A text that no database can hold is refused by name, wherever a request has a text."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import api
from app.api.openapi import Schema, description
from app.services.workspace import Workspace
from tests.builders import make_dataset, make_grant

DESCRIPTION = description()
POSTS = sorted(path for path, methods in DESCRIPTION["paths"].items() if "post" in methods)
GETS = sorted(path for path, methods in DESCRIPTION["paths"].items() if "get" in methods)
HALF = "\ud800" * 8
"""Half a character, eight times: long enough for an id."""


@pytest.fixture
def client(workspace: Workspace) -> TestClient:
    dataset_id = make_dataset(workspace).dataset_id
    app = Starlette(routes=list(api.routes(lambda: workspace)))
    headers = {"X-CLSL-Token": workspace.access.issue(make_grant(workspace, dataset_id))}
    return TestClient(app, headers=headers)


def resolved(schema: Schema) -> Schema:
    """Without a reference, and without null where something else may stand."""
    if "$ref" in schema:
        return resolved(DESCRIPTION["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind != {"type": "null"}]
    return resolved(kinds[0]) if "anyOf" in schema else schema


def sample(schema: Schema) -> Any:
    """Something that the schema allows."""
    schema = resolved(schema)
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: sample(schema["properties"][name]) for name in schema.get("required", ())}
    return {"string": "a" * 8, "integer": 1, "number": 1.0, "boolean": True, "array": []}[
        schema["type"]
    ]


def spoiled(schema: Schema, text: str) -> Iterator[tuple[str, Any]]:
    """The places of texts in what a schema allows: the name, and the whole with ``text`` there."""
    schema = resolved(schema)
    if schema["type"] == "string":
        yield "", text
    elif schema["type"] == "array":
        for name, value in spoiled(schema["items"], text):
            yield f"[0]{name}", [value]
    elif schema["type"] == "object":
        for field, kind in schema.get("properties", {}).items():
            for name, value in spoiled(kind, text):
                yield f".{field}{name}", {**sample(schema), field: value}
        if isinstance(schema.get("additionalProperties"), dict):
            yield ".accept", {"accept": text}
            yield "", {text: "a"}


def bodies(path: str, text: str) -> list[tuple[str, Any]]:
    content = DESCRIPTION["paths"][path]["post"]["requestBody"]["content"]
    return list(spoiled(content["application/json"]["schema"], text))


@pytest.mark.parametrize("text", [HALF, "a" + HALF, "abcdefgh\x00"], ids=["half", "end", "null"])
@pytest.mark.parametrize("path", POSTS)
def test_a_text_of_a_body_that_cannot_be_stored_is_refused_by_name(
    client: TestClient, path: str, text: str
) -> None:
    places = bodies(path, text)
    assert places or path == "/api/leases"
    for name, body in places:
        response = client.post(path, content=json.dumps(body))
        assert response.status_code == 400, (name, response.text)
        assert name.removeprefix(".") in response.json()["error"]


def test_texts_are_found_where_they_are() -> None:
    names = {name.removeprefix(".") for path in POSTS for name, _ in bodies(path, HALF)}
    assert names >= {"client_id", "undoes", "redoes", "comment", "batch_id", "keys", "keys.accept"}
    assert {"decisions[0].client_id", "decisions[0].verdict"} <= names


@pytest.mark.parametrize("path", GETS)
def test_a_text_of_a_query_that_cannot_be_stored_breaks_nothing(
    client: TestClient, path: str
) -> None:
    for parameter in DESCRIPTION["paths"][path]["get"].get("parameters", ()):
        if parameter["in"] != "query":
            continue
        name = parameter["name"]
        asked = path.replace("{image_id}", "1")
        null = client.get(f"{asked}?{name}=%00")
        assert (null.status_code, name in null.json()["error"]) == (400, True)
        assert client.get(f"{asked}?{name}=%ED%A0%80").status_code in (200, 400)


@pytest.mark.parametrize("path", POSTS)
def test_what_is_missing_is_named(client: TestClient, path: str) -> None:
    content = DESCRIPTION["paths"][path]["post"]["requestBody"]["content"]
    schema = resolved(content["application/json"]["schema"])
    for name in schema.get("required", ()):
        body = {key: value for key, value in sample(schema).items() if key != name}
        response = client.post(path, json=body)
        assert response.status_code == 400
        assert response.json()["error"] == f"{name} is missing"
