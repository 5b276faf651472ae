"""The oracle of the loop benchmark: what it answers, what it counts, what is hidden from it."""

import json
from collections.abc import Callable

import httpx
import pytest

from benchmarks.loop import Oracle, hide, panels, report
from clsl_core.errors import ClslError
from clsl_core.types import JsonObject
from tests.builders import coco_document

TRUTH = {("a.jpg", "cat"), ("b.jpg", "cat")}


def card(number: int, file_name: str, category: str) -> JsonObject:
    return {
        "image_id": number,
        "category_id": 1,
        "proposal_id": 100 + number,
        "file_name": file_name,
        "category": category,
    }


def oracle(answer: Callable[[httpx.Request], httpx.Response]) -> Oracle:
    client = httpx.Client(base_url="http://test", transport=httpx.MockTransport(answer))
    return Oracle(client, TRUTH)


def test_it_answers_by_the_truth_in_queue_order_and_notes_where_it_found_something() -> None:
    cards = [card(1, "x.jpg", "cat"), card(2, "a.jpg", "cat"), card(3, "a.jpg", "dog")]
    given: list[JsonObject] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            assert request.url.params["strategy"] == "likely"
            return httpx.Response(200, json={"cards": cards[: int(request.url.params["limit"])]})
        decisions = json.loads(request.content)["decisions"]
        given.extend(decisions)
        return httpx.Response(200, json={"results": [{"status": "saved"} for _ in decisions]})

    asked = oracle(answer)
    assert asked.answer(3)
    assert [decision["verdict"] for decision in given] == ["absent", "present", "absent"]
    assert [decision["proposal_id"] for decision in given] == [101, 102, 103]
    assert len({decision["client_id"] for decision in given}) == 3
    assert (asked.given, asked.places) == (3, [2])


def test_the_end_of_the_queue_is_the_end() -> None:
    assert not oracle(lambda _: httpx.Response(200, json={"cards": []})).answer(5)


def test_a_verdict_that_is_not_saved_ends_the_run() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"cards": [card(1, "a.jpg", "cat")]})
        return httpx.Response(200, json={"results": [{"status": "stale"}]})

    with pytest.raises(ClslError, match="not saved"):
        oracle(answer).answer(1)


def test_whole_pairs_are_hidden_and_nothing_else() -> None:
    document = coco_document(images=50)
    document["annotations"] += [dict(document["annotations"][0], id=9_000)]  # a pair twice
    given, truth, hidden = hide(document, 0.5, seed=0)
    assert truth == {(f["file_name"], c) for f, c in _pairs(document)}
    assert hidden < truth
    assert 10 < len(hidden) < 40
    assert {(f["file_name"], c) for f, c in _pairs(given)} == truth - hidden
    assert given["images"] == document["images"]
    assert hide(document, 0.5, seed=0)[2] == hidden


def _pairs(document: JsonObject) -> list[tuple[JsonObject, str]]:
    images = {image["id"]: image for image in document["images"]}
    names = {category["id"]: category["name"] for category in document["categories"]}
    return [(images[a["image_id"]], names[a["category_id"]]) for a in document["annotations"]]


def test_what_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    result: JsonObject = {
        "images": 10,
        "categories": 3,
        "missing": 4,
        "unknown": 20,
        "backbone": "builtin",
        "places": [1, 3],
        "rounds": [
            {
                "round": 1,
                "verdicts": 5,
                "found": 2,
                "found_in_round": 2,
                "training_seconds": 1.0,
            }
        ],
        "runs": [{"gate": "serve", "held_out_ap": 0.5}],
    }
    report(result)
    row = capsys.readouterr().out.splitlines()[-1]
    shown = [cell.strip() for cell in row.strip("|").split("|")]
    assert shown == ["1", "5", "2 (50%)", "1", "2", "1", "serve"]
    found, runs = panels(result)
    assert found.curves[0].points == [(0.0, 0.0), (1.0, 0.25), (3.0, 0.5)]
    assert found.curves[1].points == [(0.0, 0.0), (5.0, 0.25)]
    assert runs.curves[0].points == [(1.0, 0.5)]
