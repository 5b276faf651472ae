"""Group commit: what waits for the same writing transaction is stored in one.

Writing transactions on one dataset come one after the other. Where many people answer at once, each
would wait for all before it, and a short stall for as long as it took to work them off one by one.
Here whoever comes first stores its own; when it is done, one of those who waited stores for all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from clsl_core.errors import DatabaseError

__all__ = ["GroupCommit"]

MOST = 100  # the size at which a group takes nobody more

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")


@dataclass(eq=False, slots=True)
class _Entry:
    """A request, and what became of it."""

    request: Any
    size: int
    outcome: Any = None
    error: Exception | None = None
    done: bool = False


@dataclass(slots=True)
class _Line:
    """Those who wait; only who has the turn takes from them."""

    waiting: deque[_Entry] = field(default_factory=deque)
    turn: Lock = field(default_factory=Lock)

    def next(self) -> list[_Entry]:
        """The longest waiting ones that make a group."""
        group: list[_Entry] = []
        size = 0
        while self.waiting and (not group or size + self.waiting[0].size <= MOST):
            group.append(self.waiting.popleft())
            size += group[-1].size
        return group


class GroupCommit:
    """The lines of one process, one for each matter."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        self._guard = Lock()

    def store(
        self,
        matter: Hashable,
        request: Request,
        together: Callable[[Sequence[Request]], Sequence[Outcome]],
        *,
        size: int = 1,
    ) -> Outcome:
        """Store a request, with others of the same matter that wait meanwhile.

        Args:
            matter: Requests on different matters know nothing of each other.
            request: What to store.
            together: Stores requests in one transaction, all or none, in their order, and says
                what became of each. The same for all requests of a matter.
            size: Of the request; a group is of one request, or at most of size MOST.

        Returns:
            What became of it.

        Raises:
            DatabaseError: The disk or the server gave up; nothing was stored.
            Exception: What ``together`` raises for this request alone. A request that cannot be
                stored does the others of its group no harm.
        """
        with self._guard:
            line = self._lines.setdefault(matter, _Line())
        own = _Entry(request, size)
        line.waiting.append(own)
        with line.turn:
            while not own.done:
                # The group is empty when whoever had taken the request was stopped half-way.
                _store(line.next() or [own], together)
        if own.error is not None:
            raise own.error
        outcome: Outcome = own.outcome
        return outcome


def _store(group: Sequence[_Entry], together: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
    try:
        outcomes = together([one.request for one in group])
    except DatabaseError as error:
        for one in group:  # each with an error of its own: a traceback belongs to one thread
            one.error, one.done = DatabaseError(str(error)), True
    except Exception as error:
        if len(group) == 1:
            group[0].error, group[0].done = error, True
            return
        for one in group:
            _store([one], together)
    else:
        for one, outcome in zip(group, outcomes, strict=True):
            one.outcome, one.done = outcome, True
