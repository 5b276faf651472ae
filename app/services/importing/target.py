"""Where imported rows go: into one transaction, or out of sight until all of them are there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from queue import Empty, Queue
from threading import Event, Thread
from types import TracebackType
from typing import Any, Protocol

from sqlalchemy.orm import Session

from clsl_core.types import Progress
from db.models import Annotation, Category, Image, Label
from db.queries.bulk import insert_rows
from db.session import Database

__all__ = ["Inserts", "OneTransaction", "OutOfSight", "Rehearsal", "Target"]

BATCH = 5_000
VALUES = 32_000
"""SQLite takes 32,766 values in one statement."""
AHEAD = 2
"""Batches that wait for the thread that writes."""
LONGEST = 1.0
"""Seconds of a transaction while nobody else wants to write."""
PAUSE = 0.004
"""Seconds between two transactions, in which others begin theirs."""
CACHE_MEGABYTES = 16
"""For the indexes of a million rows, which grow at random places."""

MANY = {Image: "images", Category: "categories", Annotation: "annotations", Label: "labels"}

Work = Callable[[Session], None]


class Target(Protocol):
    """Takes work on the database, in order.

    Attributes:
        rehearses: Whether the work is only counted, never done.
    """

    rehearses: bool

    def do(self, work: Work) -> None:
        """Do it now, or soon."""

    def reading(self) -> AbstractContextManager[Session]:
        """A session that sees all that was done."""


class OneTransaction:
    """Everything at once, in a transaction that the caller opened and will commit."""

    rehearses = False

    def __init__(self, session: Session) -> None:
        self._session = session

    def do(self, work: Work) -> None:
        """Do it now."""
        work(self._session)

    def reading(self) -> AbstractContextManager[Session]:
        """The transaction itself."""
        return nullcontext(self._session)


class Rehearsal:
    """Nothing is written: for telling what an import would do.

    Args:
        session: Sees the database as it is; only read.
    """

    rehearses = True

    def __init__(self, session: Session) -> None:
        self._session = session

    def do(self, work: Work) -> None:
        """Leave it."""

    def reading(self) -> AbstractContextManager[Session]:
        """The database as it is."""
        return nullcontext(self._session)


class OutOfSight:
    """Transactions of a thread of its own, which end as soon as others want to write.

    Right for rows that nobody can see yet, so that half of them does no harm. Use it as a context
    manager: its end waits for all that was asked for.

    Args:
        database: Where to.
        dataset_id: What the transactions are about.
        stamp: Begins each transaction; must raise when rows written before are gone.

    Raises:
        Exception: From any method and from the end, whatever some work raised; nothing that was
            asked for after it is done.
    """

    rehearses = False

    def __init__(self, database: Database, dataset_id: int, stamp: Work) -> None:
        self._database, self._dataset_id, self._stamp = database, dataset_id, stamp
        self._waiting: Queue[Work | Event] = Queue(AHEAD)
        self._error: BaseException | None = None
        self._end = Event()
        self._thread = Thread(target=self._run, name=f"rows-of-{dataset_id}", daemon=True)

    def __enter__(self) -> OutOfSight:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            with suppress(Empty):
                while True:
                    self._waiting.get_nowait()
        self._waiting.put(self._end)
        self._thread.join()
        if error is None:
            self._check()

    def do(self, work: Work) -> None:
        """Do it soon."""
        self._check()
        self._waiting.put(work)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for reading, after everything is done."""
        self._settle()
        self._check()
        with self._database.read() as session:
            yield session

    def _settle(self) -> None:
        done = Event()
        self._waiting.put(done)
        done.wait()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        last: Work | Event | None = None
        try:
            # The rows point to one another, and `stamp` sees to it that those before are there.
            with self._database.writing(
                self._dataset_id, cache_megabytes=CACHE_MEGABYTES, check_references=False
            ) as transaction:
                while last is not self._end:
                    last = self._one(transaction)
        except BaseException as error:
            self._error = error
        while last is not self._end:
            last = self._waiting.get()
            _answer(last)

    def _one(
        self, transaction: Callable[[], AbstractContextManager[Session]]
    ) -> Work | Event | None:
        """One transaction, of as much as there is at hand and others leave time for.

        Returns:
            What was taken last.
        """
        work: Work | Event | None = self._waiting.get()
        if not isinstance(work, Event):
            with transaction() as session:
                self._stamp(session)
                end = time.monotonic() + LONGEST
                while work is not None and not isinstance(work, Event):
                    work(session)
                    work = self._at_hand(end)
            time.sleep(PAUSE)
        _answer(work)
        return work

    def _at_hand(self, end: float) -> Work | Event | None:
        """What can be done in the same transaction, if there is anything."""
        if time.monotonic() > end or self._database.wanted():
            return None
        try:
            return self._waiting.get_nowait()
        except Empty:
            return None


def _answer(work: Work | Event | None) -> None:
    if isinstance(work, Event):
        work.set()


class Inserts:
    """Rows on their way into a table, in batches and past the unit of work.

    Args:
        target: Where to.
        table: Which table.
        columns: The columns that are given of each row; the others have no default of ours.
        progress: Told of the rows handed over.
        total: How many are expected.

    Attributes:
        count: How many there were so far.
    """

    def __init__(
        self,
        target: Target,
        table: type[Any],
        columns: Sequence[str],
        progress: Progress,
        total: int,
    ) -> None:
        self.count = 0
        self._target, self._table, self._columns = target, table, columns
        self._progress, self._total = progress, total
        self._batch = min(BATCH, VALUES // len(columns))
        self._rows: list[tuple[Any, ...]] = []

    def add(self, row: tuple[Any, ...]) -> None:
        """Take one more row: its values in the order of the columns."""
        self._rows.append(row)
        self.count += 1
        if len(self._rows) == self._batch:
            self.finish()

    def finish(self) -> None:
        """Send what is left."""
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        self._target.do(lambda session: insert_rows(session, self._table, self._columns, rows))
        total = max(self._total, self.count)
        self._progress(self.count, total, f"writing {MANY[self._table]}")
