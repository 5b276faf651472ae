"""The worker: one process for each data directory that runs the jobs."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import FrameType

from filelock import FileLock, Timeout
from huey.consumer import Consumer
from sqlalchemy.exc import DBAPIError

from app.services import demo
from app.services.exporting import export
from app.services.importing import ingest, unfinished
from app.services.jobs.bell import HueyBell, connect_huey
from app.services.jobs.keeper import LOCK_NAME
from app.services.jobs.table import WORKER, Handler, new_owner
from app.services.learning import embedding, proposing, training, triggers
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError
from db.models import JobKind
from db.session import Presence

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
SCHEDULE_SECONDS = 15.0
LIBRARIES = (
    "clsl_core.backbones.builtin",
    "clsl_core.recovery.train",
    "clsl_core.recovery.ranking",
    "faiss",
    "skimage.color",
    "skimage.feature",
)
PROBE_SECONDS = 1.0  # longer than `keeper.is_running` ever holds the lock


def handlers(workspace: Workspace) -> Mapping[JobKind, Handler]:
    """What does the work for each kind of job."""
    return {
        JobKind.IMPORT: partial(ingest.run_import, workspace),
        JobKind.EMBED: partial(embedding.run_embed, workspace),
        JobKind.TRAIN: partial(training.run_train, workspace),
        JobKind.PROPOSE: partial(proposing.run_propose, workspace),
        JobKind.EXPORT: partial(export.run_export, workspace),
        JobKind.DEMO: partial(demo.run_demo, workspace),
    }


def run_worker(settings: Settings, *, exit_with_input: bool = False) -> None:
    """Run jobs until told to stop (SIGTERM or Ctrl-C).

    A running job is not waited for: it goes back to the queue and continues at the next start.
    On PostgreSQL several workers may share the work.

    Args:
        settings: Of the data directory to serve.
        exit_with_input: Stop when standard input ends, too. Whoever holds its other end need not
            be able to say goodbye: a killed process lets go of it.

    Raises:
        ConflictError: Another worker serves this data directory, whose database is a file.
    """
    over = _stopped_by_signal()
    if exit_with_input:
        threading.Thread(target=_until_the_end, args=(over,), daemon=True).start()
    workspace = Workspace.open(settings)
    with _only_one(workspace):
        owner = new_owner("worker")
        work = handlers(workspace)
        jobs = workspace.jobs
        huey = connect_huey(settings.effective_queue_url, settings.data_dir)
        HueyBell(huey, lambda job_id: jobs.run(job_id, owner, work))
        presence = Presence(workspace.database, owner)
        presence.keep()
        # Where the database is a file the lock is ours, so every other worker of it is gone.
        interrupted = jobs.sweep(None if workspace.database.shared else WORKER)
        log.info("worker %s started; %d interrupted jobs go on", owner, interrupted)
        _load_libraries()
        consumer = _Consumer(
            huey, workers=1, periodic=False, initial_delay=0.1, max_delay=0.5, backoff=1.15
        )
        consumer.start()
        chores = [
            (SWEEP_SECONDS, jobs.sweep),
            (SCHEDULE_SECONDS, partial(triggers.run_due, workspace)),
            (SWEEP_SECONDS, partial(unfinished.clear, workspace.database)),
        ]
        for seconds, chore in chores:
            threading.Thread(target=_repeat, args=(over, seconds, chore), daemon=True).start()
        _wait(over, presence)
        over.set()
        log.info("worker %s stops", owner)
        logging.shutdown()
        # The consumer's thread may be in the middle of a job that goes on at the next start.
        os._exit(0)


def _load_libraries() -> None:
    """Import now what jobs need: seconds in which a running job would hear no cancel."""
    for name in LIBRARIES:
        import_module(name)


class _Consumer(Consumer):  # type: ignore[misc]
    """huey's consumer without its signal handlers, which would swallow a SIGTERM sent to ours."""

    def _set_signal_handlers(self) -> None:
        pass


def _stopped_by_signal() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set, from now on."""
    over = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        over.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return over


def _until_the_end(over: threading.Event) -> None:
    """Set ``over`` when nobody can write to our standard input any more."""
    while os.read(0, 1):  # not by sys.stdin, whose lock would be in the way of leaving otherwise
        pass
    over.set()


def _wait(over: threading.Event, presence: Presence) -> None:
    """Show that this worker lives until it is over."""
    while not over.wait(0.5):
        try:
            presence.keep()
        except DBAPIError as error:
            log.warning("the database is away: %s", error.orig)


def _repeat(over: threading.Event, seconds: float, chore: Callable[[], object]) -> None:
    """Do a chore again and again until it is over, whatever happens."""
    while not over.wait(seconds):
        try:
            chore()
        except Exception:
            log.exception("a chore failed; it is tried again in %d s", seconds)


@contextmanager
def _only_one(workspace: Workspace) -> Iterator[None]:
    lock = FileLock(workspace.data_dir / LOCK_NAME)
    try:
        lock.acquire(timeout=PROBE_SECONDS)
    except Timeout as error:
        if workspace.database.shared:
            yield  # one worker of several; the first of this directory has the lock
            return
        raise ConflictError(
            f"another worker already serves {str(workspace.data_dir)!r}: one is enough"
        ) from error
    try:
        yield
    finally:
        lock.release()
