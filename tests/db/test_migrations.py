"""The migrations are the one truth of the schema: models agree, up and down both work."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import MetaData, inspect, select, text

import migrations
from clsl_core.errors import DatabaseError
from db.models import Annotator, Base, Decision, Image, Proposal, ProposalStatus
from db.session import Database

pytestmark = pytest.mark.both_databases


@pytest.fixture
def database(empty_url: str) -> Iterator[Database]:
    database = Database(empty_url)
    yield database
    database.close()


def test_an_empty_database_gets_every_table(database: Database) -> None:
    migrations.upgrade(database.engine)
    tables = set(inspect(database.engine).get_table_names()) - {"alembic_version"}
    assert tables == set(Base.metadata.tables)
    assert migrations.current(database.engine) == migrations.head()


def test_models_and_migrations_agree(database: Database) -> None:
    migrations.upgrade(database.engine)
    with database.engine.begin() as connection:
        command.check(migrations.alembic_config(connection))


def test_down_and_up_again(database: Database) -> None:
    migrations.upgrade(database.engine)
    with database.engine.begin() as connection:
        command.downgrade(migrations.alembic_config(connection), "base")
    assert set(inspect(database.engine).get_table_names()) == {"alembic_version"}
    migrations.upgrade(database.engine)
    assert migrations.current(database.engine) == migrations.head()


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    migrations.upgrade(database.engine)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer version"):
        migrations.upgrade(database.engine)


MOMENT = "2025-01-02 03:04:05.000006"
FIRST_ROWS: list[tuple[str, dict[str, object]]] = [
    (
        "dataset",
        {
            "id": 1,
            "name": "old",
            "format": "coco",
            "image_root": "/pictures",
            "header": '{"info":{}}',
            "absent": "unknown",
            "backbone": "auto",
            "retrain_after": 50,
            "created_at": MOMENT,
        },
    ),
    ("annotator", {"id": 1, "name": "Ada", "created_at": MOMENT}),
    *(
        (
            "image",
            {
                "id": id_,
                "dataset_id": 1,
                "position": id_,
                "source_id": f'"{id_}"',
                "file_name": f"{id_}.jpg",
                "record": '{"id":1,"\\ud800":[1e400]}',
                "status": "ok",
            },
        )
        for id_ in (1, 2)
    ),
    (
        "category",
        {
            "id": 1,
            "dataset_id": 1,
            "position": 0,
            "source_id": "1",
            "name": "=cat<b>",
            "record": "{}",
        },
    ),
    (
        "annotation",
        {
            "id": 1,
            "dataset_id": 1,
            "position": 0,
            "image_id": 1,
            "category_id": 1,
            "record": '{"bbox":[1,2,3.50,4]}',
        },
    ),
    (
        "embedding_run",
        {
            "id": 1,
            "dataset_id": 1,
            "backbone_key": "key",
            "spec": "{}",
            "description": "",
            "directory": "features/1",
            "status": "ready",
            "image_count": 2,
            "created_at": MOMENT,
        },
    ),
    (
        "model_run",
        {
            "id": 1,
            "dataset_id": 1,
            "embedding_run_id": 1,
            "status": "ready",
            "serving": True,
            "trigger": "by hand",
            "new_decisions": 0,
            "last_decision_id": 0,
            "known_present": 1,
            "known_absent": 0,
            "config": "{}",
            "seed": 0,
            "code_version": "0.1.0",
            "metrics": "{}",
            "curves": "[]",
            "created_at": MOMENT,
        },
    ),
    *(
        (
            "proposal",
            {
                "id": id_,
                "model_run_id": 1,
                "image_id": id_,
                "category_id": 1,
                "state": 1,
                "score": 0.75,
                "probability": probability,
                "control": False,
                "status": status,
            },
        )
        for id_, probability, status in ((1, 0.25, "decided"), (2, None, "open"))
    ),
    (
        "decision",
        {
            "id": 1,
            "client_id": "client-1",
            "dataset_id": 1,
            "image_id": 1,
            "category_id": 1,
            "annotator_id": 1,
            "proposal_id": 1,
            "verdict": "present",
            "previous_state": 0,
            "created_at": MOMENT,
        },
    ),
    (
        "label",
        {"image_id": 1, "category_id": 1, "state": 1, "source": "human", "decision_id": 1},
    ),
    ("lease", {"image_id": 2, "category_id": 1, "annotator_id": 1, "expires_at": MOMENT}),
    (
        "job",
        {
            "id": 1,
            "kind": "train",
            "payload": "{}",
            "status": "succeeded",
            "done": 3,
            "total": 3,
            "message": "done",
            "attempts": 1,
            "cancel_requested": False,
            "created_at": MOMENT,
        },
    ),
]
"""Every table of the first schema, as the first version of the program wrote it."""


def fill_the_first_schema(database: Database) -> None:
    with database.engine.begin() as connection:
        command.upgrade(migrations.alembic_config(connection), "0001")
        tables = MetaData()
        tables.reflect(connection)
        for name, row in FIRST_ROWS:
            table = tables.tables[name]
            typed = {
                column: datetime.fromisoformat(MOMENT).replace(tzinfo=UTC)
                if value == MOMENT
                else value
                for column, value in row.items()
            }
            connection.execute(table.insert(), typed)


def rows_of(database: Database) -> dict[str, list[dict[str, object]]]:
    """All rows, with the columns that the first schema had."""
    first: dict[str, set[str]] = {}
    for name, row in FIRST_ROWS:
        first.setdefault(name, set()).update(row)
    with database.engine.connect() as connection:
        return {
            name: [
                {key: value for key, value in row.items() if key in columns}
                for row in connection.execute(text(f"SELECT * FROM {name}")).mappings()
            ]
            for name, columns in first.items()
        }


def test_a_database_of_the_first_version_keeps_its_data_up_and_down(database: Database) -> None:
    fill_the_first_schema(database)
    before = rows_of(database)
    assert {name for name, _ in FIRST_ROWS} | {"alembic_version"} == set(
        inspect(database.engine).get_table_names()
    )
    migrations.upgrade(database.engine)
    assert rows_of(database) == before
    with database.read() as session:
        decided, waiting = session.scalars(select(Proposal).order_by(Proposal.id))
        assert (decided.chance, decided.margin, decided.turn) == (0.25, 0.25, 1)
        assert (waiting.chance, waiting.margin, waiting.turn) == (0.75, 0.25, 2)
        assert 0 <= waiting.lot < 2**31
        assert (waiting.status, waiting.disputes) == (ProposalStatus.OPEN, False)
        assert session.get_one(Annotator, 1).keys == {}
        assert session.get_one(Image, 1).record == {"id": 1, "\ud800": [float("inf")]}
        assert session.get_one(Decision, 1).created_at == datetime.fromisoformat(MOMENT).replace(
            tzinfo=UTC
        )
    with database.engine.begin() as connection:
        command.downgrade(migrations.alembic_config(connection), "0001")
    assert rows_of(database) == before


def test_many_processes_may_migrate_at_once(empty_url: str) -> None:
    databases = [Database(empty_url) for _ in range(4)]
    failures: list[Exception] = []

    def migrate(database: Database) -> None:
        try:
            migrations.upgrade(database.engine)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=migrate, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {migrations.current(database.engine) for database in databases} == {migrations.head()}
    for database in databases:
        database.close()
