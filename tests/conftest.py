"""Fixtures that every part of the suite shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import migrations
from db.session import Database

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
