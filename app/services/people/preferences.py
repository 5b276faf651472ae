"""Each annotator's own keys on the review page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.services.access.grants import Grant
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from db.models import Annotator
from db.queries import stored
from db.session import PEOPLE

CARD_KEYS: Final = {
    "accept": "a",
    "reject": "x",
    "skip": " ",
    "next": "Enter",
    "undo": "Backspace",
    "redo": "y",
    "add": "l",
    "others": "o",
    "flag": "f",
    "heat": "m",
    "boxes": "b",
    "zoom": "z",
    "help": "h",
}
GRID_KEYS: Final = {
    "accept": "a",
    "reject": "x",
    "skip": " ",
    "next": "Enter",
    "undo": "Backspace",
    "redo": "y",
    "default": "d",
    "zoom": "z",
    "help": "h",
}
KEYS: Final = CARD_KEYS | GRID_KEYS
"""Action to key, as in the browser's ``KeyboardEvent.key``, letters in lower case."""

NAMED: Final = {"Enter", "Backspace", "Delete", "Insert", "PageUp", "PageDown"} | {
    f"F{number}" for number in range(2, 11)
}
FIXED: Final = set("0123456789?+-") | {"Escape", "Home", "End"}
"""Keys with a meaning that cannot be changed."""


def keys_of(workspace: Workspace, grant: Grant) -> dict[str, str]:
    """The complete map of an annotator: the defaults with what they changed."""
    with workspace.database.read() as session:
        changed = stored.one(session, Annotator, grant.annotator_id).keys
    return KEYS | {action: key for action, key in changed.items() if action in KEYS}


def set_keys(workspace: Workspace, grant: Grant, changed: Mapping[str, object]) -> dict[str, str]:
    """Replace an annotator's changes; an empty map brings the defaults back.

    Returns:
        The complete map.

    Raises:
        InputError: An unknown action, a key that cannot be used, or two actions on one key.
    """
    wanted = {action: _key(action, key) for action, key in changed.items()}
    complete, before = KEYS | wanted, keys_of(workspace, grant)
    for actions in (CARD_KEYS, GRID_KEYS):
        _check_conflicts({action: complete[action] for action in actions}, before)
    with workspace.database.write(PEOPLE) as session:
        annotator = stored.one(session, Annotator, grant.annotator_id)
        annotator.keys = {a: key for a, key in wanted.items() if key != KEYS[a]}
    return complete


def _key(action: str, key: object) -> str:
    if action not in KEYS:
        raise InputError(f"there is no action {action[:40]!r}; there are: {', '.join(KEYS)}")
    if not isinstance(key, str) or not (key in NAMED or (len(key) == 1 and key.isprintable())):
        raise InputError(f"{str(key)[:20]!r} cannot be the key of {action!r}: press another one")
    key = key.lower() if len(key) == 1 else key
    if key in FIXED:
        raise InputError(f"{key!r} has a fixed meaning and cannot be the key of {action!r}")
    return key


def _check_conflicts(keys: Mapping[str, str], before: Mapping[str, str]) -> None:
    taken: dict[str, str] = {}
    for action, key in keys.items():
        if key in taken:
            holder = action if before[action] == key else taken[key]
            raise InputError(f"{key!r} is the key of {holder!r} already; change that one first")
        taken[key] = action
