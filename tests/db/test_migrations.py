"""The migrations are the one truth of the schema: models agree, up and down both work."""

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import inspect, text

import migrations
from clsl_core.errors import DatabaseError
from db.models import Base
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
