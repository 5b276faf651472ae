"""The Python side of the review component, run by Streamlit's own test driver."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.components import review as component
from app.components.review import ReviewData, ReviewResult, review

DATA = ReviewData(token="t", dataset_id=3, annotator="Ada", category_id=7)


def page() -> None:
    """A page that draws the component and writes down what it returned."""
    import streamlit as st

    from app.components.review import ReviewData, review

    data = ReviewData(token="t", dataset_id=3, annotator="<Ada>", strategy="absent")
    end = (lambda: None) if st.session_state.get("wants_end") else None
    result = review(data, key="review", on_finished=end)
    st.text(f"{result.token_expired} {result.finished} {result.verdicts}")


def sent(app: AppTest) -> dict[str, Any]:
    """The data object as the browser gets it."""
    (element,) = app.get("bidi_component")
    data: dict[str, Any] = json.loads(element.proto.mixed.json or element.proto.json)
    return data


@pytest.mark.parametrize("wants_end", [False, True])
def test_the_browser_gets_the_data_and_nothing_has_happened_yet(wants_end: bool) -> None:
    app = AppTest.from_function(page)
    app.session_state["wants_end"] = wants_end
    app.run()
    assert not app.exception
    expected = ReviewData(token="t", dataset_id=3, annotator="<Ada>", strategy="absent")
    assert sent(app) == {**asdict(expected), "report_finished": wants_end}
    assert app.text[0].value == "False False 0"


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Plays Streamlit: answers with the given events and keeps what the component was given."""

    def play(**events: object) -> dict[str, Any]:
        given: dict[str, Any] = {}

        class Events:
            token_expired = events.get("token_expired")
            finished = events.get("finished")

        def mount(**arguments: object) -> Events:
            given.update(arguments)
            return Events()

        monkeypatch.setattr(component, "_component", mount)
        return given

    return play


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ({}, ReviewResult(token_expired=False, finished=False, verdicts=0)),
        ({"token_expired": "id"}, ReviewResult(token_expired=True, finished=False, verdicts=0)),
        ({"finished": 12}, ReviewResult(token_expired=False, finished=True, verdicts=12)),
    ],
)
def test_events_become_a_typed_result(
    mounted: Callable[..., dict[str, Any]], events: dict[str, Any], expected: ReviewResult
) -> None:
    mounted(**events)
    assert review(DATA, key="k") == expected


def test_callbacks_are_handed_on(mounted: Callable[..., dict[str, Any]]) -> None:
    calls: list[str] = []
    given = mounted()
    review(
        DATA,
        key="k",
        on_token_expired=lambda: calls.append("token"),
        on_finished=lambda: calls.append("end"),
    )
    given["on_token_expired_change"]()
    given["on_finished_change"]()
    assert calls == ["token", "end"]
    assert given["key"] == "k"


def test_the_data_cannot_be_changed_after_the_fact() -> None:
    with pytest.raises(FrozenInstanceError):
        DATA.token = "other"  # type: ignore[misc]
