"""Fixtures that every part of the suite shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import migrations
from app.services.workspace import Workspace
from db.session import Database
from tests.builders import make_workspace

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated SQLite database."""
    database = Database(f"sqlite:///{tmp_path / 'clsl.db'}")
    migrations.upgrade(database.engine)
    yield database
    database.close()


@pytest.fixture(scope="session")
def coco_a() -> Path:
    """The folder with the real COCO photographs."""
    folder = SHARED_DATA / "coco_a"
    if not folder.exists():
        pytest.skip(f"the real photographs are not at {folder}")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty workspace in a folder of its own."""
    opened = make_workspace(tmp_path / "data")
    yield opened
    opened.close()
