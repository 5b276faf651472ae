"""Transactions: settings of SQLite, rollback, and writers that never lose to a lock."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import select, text

from db.models import Annotator
from db.session import JOBS, Database, Matter

pytestmark = pytest.mark.both_databases


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2), ("busy_timeout", 30000)],
)
def test_every_connection_is_prepared(database: Database, pragma: str, value: object) -> None:
    with database.read() as session:
        assert session.execute(text(f"PRAGMA {pragma}")).scalar() == value


def test_an_error_rolls_the_transaction_back(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:
        session.add(Annotator(name="ada"))
        session.flush()
        raise RuntimeError
    with database.read() as session:
        assert session.scalars(select(Annotator)).all() == []


def test_read_then_write_on_many_threads_loses_nothing(database: Database) -> None:
    with database.write() as session:
        session.add(Annotator(id=1, name="0"))
    failures: list[Exception] = []

    def count_up() -> None:
        try:
            for _ in range(25):
                with database.write() as session:
                    row = session.get_one(Annotator, 1)
                    row.name = str(int(row.name) + 1)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with database.read() as session:
        assert session.get_one(Annotator, 1).name == "100"


@pytest.mark.parametrize(
    ("held", "wanted", "together"),
    [(1, 2, True), (1, JOBS, True), (1, 1, False), (1, None, False), (None, JOBS, False)],
)
def test_writers_on_one_matter_take_turns(
    database: Database, held: Matter | None, wanted: Matter | None, together: bool
) -> None:
    inside, go = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write(held):
            inside.set()
            go.wait(10)

    entered = threading.Event()

    def enter() -> None:
        with database.write(wanted):
            entered.set()

    threads = [threading.Thread(target=hold), threading.Thread(target=enter)]
    threads[0].start()
    inside.wait(10)
    threads[1].start()
    assert entered.wait(0.3) == (together and database.shared)
    go.set()
    assert entered.wait(10)
    for thread in threads:
        thread.join()


@pytest.mark.sqlite_only
def test_a_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    failures: list[Exception] = []
    for number in range(20):
        databases = [Database(f"sqlite:///{tmp_path / f'{number}.db'}") for _ in range(8)]
        together = threading.Barrier(len(databases))

        def connect(database: Database, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                database.engine.connect().close()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=connect, args=(one,)) for one in databases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for database in databases:
            database.close()
    assert failures == []
