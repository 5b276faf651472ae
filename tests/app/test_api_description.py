"""The description names every route, and whatever is sent, the routes answer as they say."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette
from starlette.routing import Route

from app import api
from app.api.openapi import description
from app.api.requests import Strategy
from app.services.workspace import Workspace
from db.queries import queue
from tests.builders import make_dataset, make_grant, make_proposals, make_workspace

CHECKS = (status_code_conformance, content_type_conformance, response_schema_conformance)


def app_of(workspace: Workspace) -> Starlette:
    return Starlette(routes=list(api.routes(lambda: workspace)))


def test_every_route_is_described(workspace: Workspace) -> None:
    found = {
        (re.sub(r":int", "", route.path), method)
        for route in api.routes(lambda: workspace)
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {
        (path, method.upper())
        for path, operations in description()["paths"].items()
        for method in operations
    }
    assert described == found
    assert set(get_args(Strategy)) == set(queue.ORDERS)


OPERATIONS = sorted(
    (path, method) for path, operations in description()["paths"].items() for method in operations
)


@pytest.fixture
def schema(tmp_path: Path) -> Iterator[BaseSchema]:
    """The description of a running app whose every call has a key."""
    workspace = make_workspace(tmp_path / "data", requests_per_second=0)
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    key = workspace.access.issue(make_grant(workspace, dataset_id))
    loaded = schemathesis.openapi.from_asgi("/api/openapi.json", app_of(workspace))
    loaded.config.update(headers={"X-CLSL-Token": key})
    yield loaded
    workspace.close()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_nothing_that_is_sent_breaks_a_route(
    schema: BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schema[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
        pytest.skip("there is nothing to get wrong")
    seen: list[int] = []

    @settings(
        max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        response = case.call()
        seen.append(response.status_code)
        if path != "/api/ready":
            assert response.status_code < 500, response.text
        case.validate_response(response, checks=CHECKS)

    send()
    assert seen
    if mode is GenerationMode.POSITIVE and path != "/api/metrics":
        assert 401 not in seen
