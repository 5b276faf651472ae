"""Workspaces that are filled once, and copied for each test that begins with the same.

The mark ``filled(by=…)`` of a test or module names the function that fills it. What the function
returns, as ids or a grant, tests get from the fixture ``known``. Tests with the mark ``refusal``
share one copy, and leave it as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from app.services.workspace import Workspace
from db.models import Dataset
from tests.builders import make_workspace

if TYPE_CHECKING:
    from benchmarks.postgres_server import Server

Fill = Callable[[Workspace], Any]


@dataclass(frozen=True)
class Filled:
    """A workspace that was filled and closed.

    Attributes:
        folder: Its data directory.
        database_url: Its database on a server; None when it is in the data directory.
        known: What filling it returned.
    """

    folder: Path
    database_url: str | None
    known: Any

    def open_copy(self, folder: Path, database_url: str | None) -> Workspace:
        """A copy that looks for its pictures in its own folder.

        Args:
            folder: Where its data directory comes to be.
            database_url: A copy of the database, if that is on a server.
        """
        shutil.copytree(self.folder, folder)
        workspace = make_workspace(folder, database_url=database_url)
        with workspace.database.write() as session:
            for dataset in session.scalars(select(Dataset)):
                dataset.image_root = self._moved(dataset.image_root, folder)
                dataset.more_roots = [self._moved(one, folder) for one in dataset.more_roots]
        return workspace

    def _moved(self, root: str, folder: Path) -> str:
        return root.replace(str(self.folder), str(folder))


class Shelf:
    """All workspaces that this process has filled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filled: dict[tuple[Fill, bool], Filled] = {}
        self._shared: dict[Filled, Workspace] = {}

    def get(self, fill: Fill, server: Server | None) -> Filled:
        """The workspace that the function filled, on a server's database or on a file."""
        key = (fill, server is not None)
        if key not in self._filled:
            self._filled[key] = self._fill(fill, server)
        return self._filled[key]

    def _fill(self, fill: Fill, server: Server | None) -> Filled:
        folder = self._folder / f"filled-{len(self._filled)}"
        url = None if server is None else server.create()
        workspace = make_workspace(folder, database_url=url)
        known = fill(workspace)
        workspace.close()
        return Filled(folder, url, known)

    @contextmanager
    def untouched(self, filled: Filled) -> Iterator[Workspace]:
        """The one copy of all who leave it as it is; who does not is told so, alone."""
        if filled not in self._shared:
            folder = Path(mkdtemp(dir=self._folder))
            self._shared[filled] = filled.open_copy(folder / "data", None)
        workspace = self._shared[filled]
        before = _files(workspace)
        yield workspace
        changed = _files(workspace).items() ^ before.items()
        if changed:
            self._shared.pop(filled).close()
        assert not changed, "a refusal leaves no trace"

    def close(self) -> None:
        """Close what is shared."""
        for workspace in self._shared.values():
            workspace.close()


def nothing(_workspace: Workspace) -> None:
    """Fills a workspace with nothing."""


def _files(workspace: Workspace) -> dict[Path, tuple[int, int]]:
    """Size and time of every file; what is stored in the database shows in its log's."""
    found = [path for path in workspace.data_dir.rglob("*") if path.is_file()]
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in found
        if not path.name.endswith("-shm")  # readers write it, too
    }
