"""Writers of one SQLite file take turns, also beside one that writes again and again."""

import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from clsl_core.errors import DatabaseError
from db import session as sessions
from db.session import Database


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[list[Database]]:
    made = [Database(f"sqlite:///{tmp_path / 'd.sqlite3'}") for _ in range(2)]
    with made[0].write() as session:
        session.execute(text("CREATE TABLE note (number INTEGER)"))
    yield made
    for database in made:
        database.close()


def test_a_restless_writer_lets_others_go_first(databases: list[Database]) -> None:
    restless, patient = databases
    over = threading.Event()

    def write_on() -> None:
        with restless.writing() as transaction:
            while not over.is_set():
                with transaction() as session:
                    for number in range(1000):
                        session.execute(text("INSERT INTO note VALUES (:n)"), {"n": number})
                        if restless.wanted():
                            break
                time.sleep(0.004)

    thread = threading.Thread(target=write_on)
    thread.start()
    waited = []
    for _ in range(30):
        began = time.perf_counter()
        with patient.write() as session:
            session.execute(text("INSERT INTO note VALUES (-1)"))
        waited.append(time.perf_counter() - began)
        time.sleep(0.02)
    over.set()
    thread.join()
    assert statistics.median(waited) < 0.5
    with patient.read() as session:
        assert session.scalar(text("SELECT count(*) FROM note WHERE number = -1")) == 30


def test_nobody_waits_when_nobody_writes(databases: list[Database]) -> None:
    one, other = databases
    assert not one.wanted()
    with one.write():
        assert not one.wanted()
        assert not other.wanted()
    assert not one.wanted()


def test_a_waiting_writer_is_seen_and_gives_up_in_the_end(
    databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = databases
    monkeypatch.setattr(sessions, "BUSY_TIMEOUT_MS", 500)
    short = Database(one.url.render_as_string())
    ends: list[str] = []

    def wait() -> None:
        try:
            with short.write():
                ends.append("written")
        except DatabaseError as error:
            ends.append(str(error))

    with one.write():
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        assert one.wanted()
        thread.join()
        assert not one.wanted()
    short.close()
    assert "another process kept the database for too long" in ends[0]


def test_references_are_checked_again_after_a_trusting_writer(databases: list[Database]) -> None:
    one, _ = databases
    for check in (False, True):
        with one.writing(check_references=check) as transaction, transaction() as session:
            assert session.scalar(text("PRAGMA foreign_keys")) == int(check)
    with one.write() as session:
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        assert session.scalar(text("PRAGMA busy_timeout")) == sessions.BUSY_TIMEOUT_MS
