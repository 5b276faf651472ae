"""Who acts at the moment, and what they may do.

Routes and the command line say who acts; the pages' process is asked each time, since Streamlit
runs callbacks and fragments without the page around them. The services ask whether that person
may. Where nobody is there to be named, as in the worker, the program itself acts and may do
everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from clsl_core.errors import ClslError
from db.models import Role

__all__ = [
    "PROGRAM",
    "Actor",
    "Forbidden",
    "Right",
    "Role",
    "acting",
    "current",
    "may",
    "require",
    "resolve_by",
]


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
    """A person, or a part of the program.

    ``person_id`` is given where it is proved who it is, by a sign-in or a key; a name that was
    typed in proves nothing.
    """

    name: str
    role: Role
    person_id: int | None = None


PROGRAM = Actor("the program", Role.ADMIN)
_current: ContextVar[Actor | None] = ContextVar("actor", default=None)
_resolvers: list[Callable[[], Actor]] = [lambda: PROGRAM]


def resolve_by(resolve: Callable[[], Actor]) -> None:
    """From now on, in this process, this says who acts wherever nobody is acting."""
    _resolvers[-1] = resolve


def current() -> Actor:
    """Who acts now."""
    return _current.get() or _resolvers[-1]()


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
    return right in RIGHTS[current().role]


def require(right: Right) -> None:
    """Go on only if whoever acts may.

    Raises:
        Forbidden: They may not.
    """
    actor = current()
    if right not in RIGHTS[actor.role]:
        able = next(role for role in Role if right in RIGHTS[role])
        raise Forbidden(
            f"{actor.name!r} is {actor.role} and may not {right}: that takes the role {able}, "
            "which an administrator gives with `clsl people role`"
        )
