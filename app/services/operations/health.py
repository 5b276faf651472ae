"""Is this process ready for requests, and what is there to count?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import migrations
from app.services.jobs import keeper
from app.services.workspace import Workspace
from clsl_core.errors import ClslError
from db.queries import counts
from db.types import now

LEAST_FREE_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was looked at: name to None, or to what is wrong."""

    checks: dict[str, str | None]

    @property
    def ready(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.checks.values())


def readiness(workspace: Workspace) -> Readiness:
    """Look at what a request needs: the database, its schema, a disk that can be written."""
    looks: dict[str, Callable[[], str | None]] = {
        "database": lambda: _database(workspace),
        "schema": lambda: _schema(workspace),
        "disk": lambda: _disk(workspace),
    }
    return Readiness({name: _attempt(look) for name, look in looks.items()})


def _attempt(look: Callable[[], str | None]) -> str | None:
    try:
        return look()
    except ClslError as error:
        return str(error)
    except Exception as error:
        return type(error).__name__


def _database(workspace: Workspace) -> str | None:
    with workspace.database.read() as session:
        counts.answers(session)
    return None


def _schema(workspace: Workspace) -> str | None:
    found, wanted = migrations.current(workspace.database.engine), migrations.head()
    return None if found == wanted else f"revision {found}, expected {wanted}"


def _disk(workspace: Workspace) -> str | None:
    if not os.access(workspace.data_dir, os.W_OK):
        return "the data directory is read-only"
    free = shutil.disk_usage(workspace.data_dir).free
    return None if free >= LEAST_FREE_BYTES else f"only {free / 1e6:.0f} MB are free"


@dataclass(frozen=True, slots=True)
class Counts:
    """What stands in the database and on the disk; no names."""

    jobs: dict[tuple[str, str], int]
    decisions: int
    leases: int
    open_proposals: int
    free_bytes: int
    worker: bool


def count(workspace: Workspace) -> Counts:
    """Count what a person who watches the program wants to see."""
    with workspace.database.read() as session:
        return Counts(
            jobs=counts.jobs(session),
            decisions=counts.newest_decision(session),
            leases=counts.leases(session, now()),
            open_proposals=counts.open_proposals(session),
            free_bytes=shutil.disk_usage(workspace.data_dir).free,
            worker=keeper.is_running(workspace.settings),
        )
