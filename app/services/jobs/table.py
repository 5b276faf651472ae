"""Background work as rows of the job table: submit, claim, run, cancel, sweep."""

from __future__ import annotations

import logging
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.rights import Right
from app.services.jobs.bell import Bell
from app.services.jobs.cancel_marks import CancelMarks
from app.services.runtime.logs import of_job
from clsl_core.errors import ClslError, ConflictError, JobCancelled, NotFoundError
from clsl_core.files import about_disk
from clsl_core.types import JsonObject
from db.models import Dataset, Job, JobKind, JobStatus
from db.queries import jobs, stored
from db.session import JOBS, Database, absent
from db.types import now

__all__ = [
    "Handler",
    "JobContext",
    "JobKind",
    "JobStatus",
    "JobView",
    "Jobs",
    "add_job",
    "new_owner",
    "view_of",
]

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 0.5
STALE_SECONDS = 60.0
WATCH_SECONDS = 3.0
MAX_ATTEMPTS = 5
PROGRESS_SECONDS = 0.5
WORKER = "worker:"
"""How the names of owners begin that are workers."""
LOOP = (JobKind.EMBED, JobKind.TRAIN, JobKind.PROPOSE)
"""What a dataset's loop goes through, in this order."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as pages and the command line show it."""

    id: int
    kind: JobKind
    dataset_id: int | None
    dataset: str | None
    status: JobStatus
    done: int
    total: int
    message: str
    error: str | None
    result: JsonObject | None
    payload: JsonObject
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def fraction(self) -> float:
        """Progress in [0, 1]."""
        if self.status is JobStatus.SUCCEEDED:
            return 1.0
        return min(1.0, self.done / self.total) if self.total else 0.0


class JobContext:
    """What a handler gets: the job, and the one call that reports progress.

    Attributes:
        job: The job as it was claimed.
    """

    def __init__(
        self,
        job: JobView,
        database: Database,
        owner: str,
        listener: Callable[[int, int, str], None] | None,
    ) -> None:
        self.job = job
        self._database = database
        self._owner = owner
        self._listener = listener
        self._marks = CancelMarks(database)
        self._stop = threading.Event()
        self._written = 0.0

    @property
    def dataset_id(self) -> int:
        """The dataset the job is about.

        Raises:
            NotFoundError: It names none.
        """
        if self.job.dataset_id is None:
            raise NotFoundError(f"job {self.job.id} names no dataset")
        return self.job.dataset_id

    def progress(self, done: int, total: int, message: str) -> None:
        """Note how far the work is (written at most twice a second).

        Raises:
            JobCancelled: Somebody asked to stop, or another process has taken the job over.
        """
        self.tell(done, total, message)
        moment = time.monotonic()
        if moment - self._written < PROGRESS_SECONDS and done < total:
            return
        self._written = moment
        with self._database.write(JOBS) as session:
            job = stored.one(session, Job, self.job.id)
            job.done, job.total, job.message = done, total, message

    def tell(self, done: int, total: int, message: str) -> None:
        """As ``progress``, without writing it: for use within a writing transaction.

        Raises:
            JobCancelled: Somebody asked to stop, or another process has taken the job over.
        """
        if self._stop.is_set() or self._marks.there(self.job.id):
            raise JobCancelled(f"job {self.job.id} was cancelled")
        if self._listener is not None:
            self._listener(done, total, message)

    def beat(self) -> bool:
        """Write a heartbeat and look for a cancel; False when the beating may end."""
        with self._database.write(JOBS) as session:
            cancel = jobs.beat(session, self.job.id, self._owner)
        if cancel is None or cancel:
            self._stop.set()
        return cancel is not None


Handler = Callable[[JobContext], JsonObject]
"""Does a job's work and returns its result. It may be run again after a kill: it must resume."""


class Jobs:
    """The job table and its bell.

    Args:
        database: Where the jobs are.
        bell: Tells a worker of a job.
    """

    def __init__(self, database: Database, bell: Bell) -> None:
        self.database = database
        self.bell = bell
        self._marks = CancelMarks(database)

    def submit(
        self, kind: JobKind, dataset_id: int | None, payload: JsonObject | None = None
    ) -> JobView:
        """Insert, commit, ring.

        Raises:
            ConflictError: A training of this dataset already waits.
        """
        _allow(kind)
        try:
            with self.database.write(JOBS) as session:
                job = add_job(session, kind, dataset_id, payload)
                view = view_of(session, job)
        except IntegrityError as error:
            raise ConflictError(
                "a training of this dataset is already waiting to start: it will take in "
                "everything decided until then"
            ) from error
        self.bell.ring(view.id)
        return view

    def run_here(
        self,
        kind: JobKind,
        dataset_id: int | None,
        payload: JsonObject,
        handlers: Mapping[JobKind, Handler],
        listener: Callable[[int, int, str], None] | None = None,
    ) -> JobView:
        """Submit a job and run it in this process, as the command line does.

        Raises:
            ConflictError: A training of this dataset is already live.
        """
        _allow(kind)
        owner = new_owner("cli")
        try:
            with self.database.write(JOBS) as session:
                job = add_job(session, kind, dataset_id, payload)
                claimed = jobs.claim(session, job.id, owner)
                view = view_of(session, claimed or job)
        except IntegrityError as error:
            raise ConflictError(
                "a training of this dataset is already running: wait for it, or cancel it "
                "with `clsl jobs --cancel ID`"
            ) from error
        self._execute(view, owner, handlers, listener)
        return self.get(view.id)

    def run(self, job_id: int, owner: str, handlers: Mapping[JobKind, Handler]) -> bool:
        """Claim a job and run it to its end.

        Returns:
            Whether it was there to be claimed.
        """
        try:
            with self.database.write(JOBS) as session:
                job = jobs.claim(session, job_id, owner)
                view = None if job is None else view_of(session, job)
        except IntegrityError:
            return False  # a training of the same dataset runs elsewhere; a sweep comes back to it
        if view is None:
            return False
        self._execute(view, owner, handlers, None)
        return True

    def get(self, job_id: int) -> JobView:
        """One job.

        Raises:
            NotFoundError: There is none with this id.
        """
        with self.database.read() as session:
            return view_of(session, _find(session, job_id))

    def recent(self, limit: int = 50, dataset_id: int | None = None) -> list[JobView]:
        """The newest jobs first."""
        with self.database.read() as session:
            return [view_of(session, job) for job in jobs.recent(session, limit, dataset_id)]

    def live(self, dataset_id: int | None = None) -> list[JobView]:
        """The jobs that wait or run, oldest first."""
        with self.database.read() as session:
            return [view_of(session, job) for job in jobs.live(session, dataset_id)]

    def cancel(self, job_id: int) -> JobView:
        """Ask a job to stop: a waiting one is over at once, a running one within two seconds.

        Raises:
            NotFoundError: There is none with this id.
        """
        with self.database.read() as session:
            _allow(_find(session, job_id).kind)
        self._marks.put(job_id)  # the job may have to hear of it before anything can be written
        with self.database.write(JOBS) as session:
            job = _find(session, job_id)
            audit_log.record(session, "job.cancel", f"job {job.id}", kind=job.kind)
            if job.status is not JobStatus.RUNNING:
                self._marks.clear(job_id)
            if job.status is JobStatus.QUEUED:
                job.status, job.finished_at = JobStatus.CANCELLED, now()
            elif job.status is JobStatus.RUNNING:
                job.cancel_requested = True
            return view_of(session, job)

    def sweep(self, dead_owner_prefix: str | None = None) -> int:
        """Give interrupted jobs back to the queue and ring for every job that waits.

        On a database that several workers share, those that are gone show no presence.

        Returns:
            How many jobs were found interrupted.
        """
        silent = self._silent()
        with self.database.write(JOBS) as session:
            dead = []
            if self.database.shared:
                dead = absent(session, jobs.owners(session, WORKER))
            count = jobs.requeue_interrupted(session, silent, dead_owner_prefix, MAX_ATTEMPTS, dead)
            jobs.fail_abandoned_runs(session)
        waiting = [job.id for job in self.live() if job.status is JobStatus.QUEUED]
        for job_id in waiting:
            self.bell.ring(job_id)
        return count

    def _silent(self) -> dict[int, datetime | None]:
        """Running jobs whose heart does not beat, with the last heartbeat.

        By the clock alone a living job looks dead when the clock was put forward, and a dead one
        alive when it was put back: what looks odd is watched for longer than between two beats.
        """
        with self.database.read() as session:
            found = jobs.heartbeats(session)
        limit = timedelta(seconds=STALE_SECONDS)
        odd = {id_: beat for id_, beat in found.items() if not beat or abs(now() - beat) > limit}
        if odd:
            time.sleep(WATCH_SECONDS)
            with self.database.read() as session:
                later = jobs.heartbeats(session)
            odd = {id_: beat for id_, beat in odd.items() if later.get(id_) == beat}
        return odd

    def _execute(
        self,
        view: JobView,
        owner: str,
        handlers: Mapping[JobKind, Handler],
        listener: Callable[[int, int, str], None] | None,
    ) -> None:
        with of_job(view.id):
            self._run(view, owner, handlers, listener)

    def _run(
        self,
        view: JobView,
        owner: str,
        handlers: Mapping[JobKind, Handler],
        listener: Callable[[int, int, str], None] | None,
    ) -> None:
        context = JobContext(view, self.database, owner, listener)
        try:
            with _heart(context):
                result = handlers[view.kind](context)
        except (JobCancelled, KeyboardInterrupt):
            self._finish(view, owner, JobStatus.CANCELLED)
        except ClslError as error:
            log.warning("job %d (%s) failed: %s", view.id, view.kind, error)
            self._finish(view, owner, JobStatus.FAILED, error=str(error))
        except OSError as error:
            log.exception("job %d (%s) failed", view.id, view.kind)
            self._finish(
                view,
                owner,
                JobStatus.FAILED,
                error=f"{about_disk(error)}, then start the job again",
            )
        except Exception as error:
            incident = uuid.uuid4().hex[:8]
            log.exception("job %d (%s) failed, incident %s", view.id, view.kind, incident)
            text = traceback.format_exception_only(error)[-1].strip()
            message = f"unexpected error {incident} (its traceback is in the worker's log): {text}"
            self._finish(view, owner, JobStatus.FAILED, error=message)
        else:
            self._finish(view, owner, JobStatus.SUCCEEDED, result=result)

    def _finish(
        self,
        view: JobView,
        owner: str,
        status: JobStatus,
        *,
        error: str | None = None,
        result: JsonObject | None = None,
    ) -> None:
        """Write a job's end and, in the same transaction, the job that follows it."""
        with self.database.write(JOBS) as session:
            job = stored.one(session, Job, view.id)
            if job.owner != owner or job.status is not JobStatus.RUNNING:
                return  # taken over by another process
            job.status, job.error, job.result = status, error, result
            job.finished_at = now()
            if status is JobStatus.SUCCEEDED:
                job.dataset_id = job.dataset_id or (result or {}).get("dataset_id")
                job.done = job.total
                job.message = str((result or {}).get("message", "done"))
            follower = _follower(session, job) if status is JobStatus.SUCCEEDED else None
            if status is JobStatus.FAILED and job.kind in LOOP and job.dataset_id is not None:
                jobs.tell_failed(session, job.id, job.kind, job.dataset_id, str(error))
        self._marks.clear(view.id)
        if follower is not None:
            self.bell.ring(follower)


def add_job(
    session: Session, kind: JobKind, dataset_id: int | None, payload: JsonObject | None = None
) -> Job:
    """Insert a waiting job in the caller's transaction; ring after the commit.

    ``payload["then"]`` may list further kinds, each submitted when the one before succeeded.
    """
    job = Job(kind=kind, dataset_id=dataset_id, payload=payload or {})
    stored.add(session, job)
    session.flush()
    audit_log.record(session, f"job.{kind}", f"job {job.id}", dataset=dataset_id)
    return job


def _allow(kind: JobKind) -> None:
    rights.require(Right.EXPORT if kind is JobKind.EXPORT else Right.MANAGE)


def new_owner(role: str) -> str:
    """A name for this process as the owner of jobs: role first."""
    return f"{role}:{uuid.uuid4().hex[:12]}"


def view_of(session: Session, job: Job) -> JobView:
    """A frozen copy for the outside."""
    dataset = stored.find(session, Dataset, job.dataset_id) if job.dataset_id else None
    return JobView(
        id=job.id,
        kind=job.kind,
        dataset_id=job.dataset_id,
        dataset=dataset.name if dataset else None,
        status=job.status,
        done=job.done or 0,
        total=job.total or 0,
        message=job.message or "",
        error=job.error,
        result=job.result,
        payload=job.payload,
        attempts=job.attempts or 0,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def _find(session: Session, job_id: int) -> Job:
    job = stored.find(session, Job, job_id)
    if job is None:
        raise NotFoundError(f"there is no job {job_id}: `clsl jobs` lists them")
    return job


def _follower(session: Session, job: Job) -> int | None:
    then: list[Any] = list(job.payload.get("then", []))
    dataset_id = job.dataset_id
    if not then or dataset_id is None:
        return None
    kind = JobKind(then[0])
    if kind is JobKind.TRAIN:
        for other in jobs.live_of_kind(session, dataset_id, kind):
            if other.status is JobStatus.QUEUED:
                return other.id
    keep = {key: job.payload[key] for key in ("trigger",) if key in job.payload}
    if kind is JobKind.PROPOSE and "model_run" in (job.result or {}):
        keep["model_run"] = (job.result or {})["model_run"]
    return add_job(session, kind, dataset_id, {**keep, "then": then[1:]}).id


@contextmanager
def _heart(context: JobContext) -> Iterator[None]:
    """Beat in the background while the work goes on, however long a single step takes."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            try:
                if not context.beat():
                    return
            except Exception:
                log.exception("heartbeat of job %d", context.job.id)

    thread = threading.Thread(target=run, name=f"heart-{context.job.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
