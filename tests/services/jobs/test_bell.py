"""The bell rings by any storage, and a broken bell costs nobody their work."""

import logging
from pathlib import Path

import pytest

from app.services.jobs.bell import HueyBell, connect_huey
from app.services.runtime.settings import Settings
from clsl_core.errors import DatabaseError, InputError

pytestmark = pytest.mark.both_databases


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    return Settings(data_dir=tmp_path, database_url=database_url)


def test_what_is_rung_here_is_handled_there(settings: Settings) -> None:
    handled: list[int] = []
    ringing = HueyBell(connect_huey(settings.effective_queue_url, settings.data_dir))
    there = connect_huey(settings.effective_queue_url, settings.data_dir)
    HueyBell(there, handled.append)
    for job_id in (3, 1, 2):
        ringing.ring(job_id)
    while (task := there.dequeue()) is not None:
        there.execute(task)
    assert handled == [3, 1, 2]
    ringing.close()
    there.storage.close()


def test_the_queue_is_where_the_database_is(settings: Settings, backend: str) -> None:
    url = settings.effective_queue_url
    assert url is None if backend == "sqlite" else str(url).startswith("postgresql+psycopg:")
    named = settings.model_copy(update={"queue_url": "redis://elsewhere"})
    assert named.effective_queue_url == "redis://elsewhere"


def test_a_bell_that_cannot_be_reached_is_left_to_the_sweep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    huey = connect_huey(None, tmp_path)
    huey.storage.close()
    (tmp_path / "queue.db").unlink()
    (tmp_path / "queue.db").mkdir()
    with caplog.at_level(logging.ERROR):
        HueyBell(huey).ring(7)
    assert "job 7 could not be announced" in caplog.text


def test_urls_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither redis"):
        connect_huey("ftp://user:hidden@host", tmp_path)
    with pytest.raises(DatabaseError, match="the queue cannot be used"):
        connect_huey(f"postgresql://clsl@/nowhere?host={tmp_path}", tmp_path)
