"""Workspaces that are filled once, and copied for each test that begins with the same.

The mark ``filled(by=…)`` of a test or module names the function that fills it. What the function
returns, as ids or a grant, tests get from the fixture ``known``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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

    def copy_to(self, folder: Path) -> None:
        """Copy the data directory; a database on a server is copied by the server."""
        shutil.copytree(self.folder, folder)

    def settle(self, workspace: Workspace) -> None:
        """Let a copy look for its pictures in its own folder."""
        with workspace.database.write() as session:
            for dataset in session.scalars(select(Dataset)):
                dataset.image_root = self._moved(dataset.image_root, workspace)
                dataset.more_roots = [self._moved(one, workspace) for one in dataset.more_roots]

    def _moved(self, root: str, workspace: Workspace) -> str:
        return root.replace(str(self.folder), str(workspace.data_dir))


class Shelf:
    """All workspaces that this process has filled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filled: dict[tuple[Fill, bool], Filled] = {}

    def get(self, fill: Fill, server: Server | None) -> Filled:
        """The workspace that the function filled, on a server's database or on a file."""
        key = (fill, server is not None)
        if key not in self._filled:
            self._filled[key] = self._fill(fill, server)
        return self._filled[key]

    def _fill(self, fill: Fill, server: Server | None) -> Filled:
        folder = self._folder / str(len(self._filled))
        url = None if server is None else server.create()
        workspace = make_workspace(folder, database_url=url)
        known = fill(workspace)
        workspace.close()
        return Filled(folder, url, known)
