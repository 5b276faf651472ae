"""The composition root: one data directory with its database, bell and settings."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

import migrations
from app.services.access.grants import Access, read_secret
from app.services.backup.archive import keep_before_migration
from app.services.instant.updates import InstantUpdates
from app.services.jobs.bell import Bell, HueyBell, connect_huey
from app.services.jobs.table import Jobs
from app.services.runtime.file_cache import FileCache
from app.services.runtime.group_commit import GroupCommit
from app.services.runtime.settings import Settings
from clsl_core.errors import DatabaseError, NotFoundError
from db.models import Dataset
from db.queries import datasets
from db.session import Database


@dataclass(frozen=True)
class Workspace:
    """Everything the services need, opened once for each process."""

    settings: Settings
    database: Database
    jobs: Jobs
    access: Access
    thumbnails: FileCache
    pictures: FileCache
    instant: InstantUpdates
    verdicts: GroupCommit

    @classmethod
    def open(cls, settings: Settings, bell: Bell | None = None) -> Workspace:
        """Make the data directory, migrate the database and connect the bell.

        Raises:
            DatabaseError: The directory cannot be written, or the database is a newer version's.
        """
        for folder in (
            "features",
            "runs",
            "uploads",
            "collections",
            "exports",
            "thumbnails",
            "demo",
        ):
            _make_folder(settings.data_dir / folder)
        database = Database(settings.effective_database_url)
        with database.explained():
            keep_before_migration(database, settings.data_dir)
            migrations.upgrade(database.engine)
        if bell is None:
            bell = HueyBell(connect_huey(settings.effective_queue_url, settings.data_dir))
        access = Access(read_secret(settings.data_dir), settings.token_seconds)
        thumbnails = FileCache(
            settings.data_dir / "thumbnails", settings.thumbnail_megabytes * 1_000_000
        )
        pictures = FileCache(settings.data_dir / "pictures", settings.picture_megabytes * 1_000_000)
        instant = InstantUpdates(database, settings.data_dir)
        jobs = Jobs(database, bell)
        return cls(settings, database, jobs, access, thumbnails, pictures, instant, GroupCommit())

    @property
    def data_dir(self) -> Path:
        """Where everything lives."""
        return self.settings.data_dir

    def close(self) -> None:
        """Stop updating and give the connections of database and bell back."""
        self.instant.close()
        self.jobs.bell.close()
        self.database.close()


def find_dataset(session: Session, name: str) -> Dataset:
    """The dataset of that name.

    Raises:
        NotFoundError: There is none; the message lists those there are.
    """
    dataset = datasets.by_name(session, name)
    if dataset is None:
        known = datasets.names(session)
        listed = ", ".join(repr(other) for other in known[:20]) or "none yet"
        raise NotFoundError(f"there is no dataset called {name!r}; there are: {listed}")
    return dataset


@contextmanager
def opened(settings: Settings) -> Iterator[Workspace]:
    """A workspace for the length of one command."""
    workspace = Workspace.open(settings)
    try:
        yield workspace
    finally:
        workspace.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        effective = os.access in os.supports_effective_ids
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
            raise PermissionError(errno.EACCES, "it is read-only")
    except OSError as error:
        raise DatabaseError(
            f"the data directory cannot be used: {folder}: {error.strerror}. Choose another one "
            "with --data-dir or CLSL_DATA_DIR"
        ) from error
