"""Who acts at the moment, and what they may do.

Pages and routes say who acts; the services ask whether that person may. Where nobody was named,
as in the worker, the program itself acts and may do everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from clsl_core.errors import ClslError
from db.models import Role

__all__ = ["Actor", "Forbidden", "Right", "Role", "acting", "current", "enter", "may", "require"]


class Right(StrEnum):
    """What somebody may do."""

    LOOK = "look at pictures and labels"
    DECIDE = "give verdicts"
    EXPORT = "export labels"
    ADJUDICATE = "settle conflicts and see how people judge"
    MANAGE = "import, train and change settings"


RIGHTS: dict[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.LOOK}),
    Role.ANNOTATOR: frozenset({Right.LOOK, Right.DECIDE}),
    Role.REVIEWER: frozenset({Right.LOOK, Right.DECIDE, Right.EXPORT, Right.ADJUDICATE}),
    Role.ADMIN: frozenset(Right),
}


class Forbidden(ClslError):  # noqa: N818 - the words of HTTP
    """Somebody wanted what their role does not allow."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, or a part of the program."""

    name: str
    role: Role


PROGRAM = Actor("the program", Role.ADMIN)
_current: ContextVar[Actor] = ContextVar("actor", default=PROGRAM)


def current() -> Actor:
    """Who acts now."""
    return _current.get()


def enter(actor: Actor) -> None:
    """From now on, in this thread or task, somebody acts."""
    _current.set(actor)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Somebody acts inside the block."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)


def may(right: Right) -> bool:
    """Whether whoever acts may."""
    return right in RIGHTS[_current.get().role]


def require(right: Right) -> None:
    """Go on only if whoever acts may.

    Raises:
        Forbidden: They may not.
    """
    actor = _current.get()
    if not may(right):
        able = next(role for role in Role if right in RIGHTS[role])
        raise Forbidden(
            f"{actor.name!r} is {actor.role} and may not {right}: that takes the role {able}, "
            "which an administrator gives with `clsl people role`"
        )
