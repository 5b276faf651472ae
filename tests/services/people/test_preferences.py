"""Keys that people change: known actions, usable keys, never two actions on one key."""

import pytest

from app.services.access.grants import Grant
from app.services.people.preferences import CARD_KEYS, GRID_KEYS, KEYS, keys_of, set_keys
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from tests.builders import make_dataset, make_grant


def begun(workspace: Workspace) -> Grant:
    return make_grant(workspace, make_dataset(workspace).dataset_id)


pytestmark = pytest.mark.filled(by=begun)


@pytest.fixture
def grant(known: Grant) -> Grant:
    return known


def test_the_defaults_have_no_conflict() -> None:
    for keys in (CARD_KEYS, GRID_KEYS):
        assert len(set(keys.values())) == len(keys)


def test_changes_are_kept_for_one_annotator_and_taken_back(
    workspace: Workspace, grant: Grant
) -> None:
    other = make_grant(workspace, grant.dataset_id, "bob")
    complete = set_keys(workspace, grant, {"accept": "J", "reject": "x", "next": "PageDown"})
    assert complete == KEYS | {"accept": "j", "next": "PageDown"}
    assert keys_of(workspace, grant) == complete
    assert keys_of(workspace, other) == KEYS
    set_keys(workspace, grant, {"accept": "x", "reject": "a"})  # swapped
    assert keys_of(workspace, grant)["accept"] == "x"
    assert set_keys(workspace, grant, {}) == KEYS
    assert keys_of(workspace, grant) == KEYS


@pytest.mark.refusal
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"accept": "x"}, "already"),
        ({"accept": "Backspace"}, "already"),
        ({"default": "x"}, "already"),
        ({"accept": "5"}, "fixed"),
        ({"accept": "?"}, "fixed"),
        ({"accept": "Escape"}, "cannot be"),
        ({"accept": "Shift"}, "cannot be"),
        ({"accept": ""}, "cannot be"),
        ({"accept": "\x00"}, "cannot be"),
        ({"accept": 7}, "cannot be"),
        ({"dance": "j"}, "no action"),
    ],
)
def test_what_cannot_be_a_key_is_refused(
    workspace: Workspace, grant: Grant, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        set_keys(workspace, grant, changed)
    assert keys_of(workspace, grant) == KEYS
