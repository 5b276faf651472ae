"""Fixtures that every part of the suite shares.

Tests that ask for a database run twice: on SQLite, and on PostgreSQL where its programs are
installed. Where they are not, the end of the run says so. The mark ``sqlite_only`` is for what is
about SQLite's file, ``one_database`` and ``refusal`` are for what no database has a say in, and
``both_databases`` for what must hold on PostgreSQL before all else.
"""

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.services.runtime import logs
from app.services.workspace import Workspace
from db.session import Database
from tests import orders
from tests.builders import DATABASE_FILE, make_workspace, put_migrated_file
from tests.filled import Filled, Shelf, nothing

if TYPE_CHECKING:
    from benchmarks.postgres_server import Server

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Let a run say what it leaves out."""
    config.pluginmanager.register(orders)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a database on both kinds, but where only one is meant."""
    if "backend" not in metafunc.fixturenames:
        return
    backends = [pytest.param("sqlite")]
    marked = metafunc.definition.get_closest_marker
    if not any(marked(name) for name in ("sqlite_only", "one_database", "refusal")):
        order = [] if marked("both_databases") else [pytest.mark.second_order("on PostgreSQL")]
        backends.append(pytest.param("postgresql", marks=[pytest.mark.postgres, *order]))
    metafunc.parametrize("backend", backends)


@pytest.fixture
def backend() -> str:
    """The kind of database; ``pytest_generate_tests`` gives the value."""
    raise AssertionError("unreachable")


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator["Server"]:
    """A PostgreSQL server for the length of the run."""
    reason = None
    if find_spec("psycopg") is None:
        reason = "psycopg is not installed"
    else:
        from benchmarks import postgres_server as postgres

        programs = postgres.binaries()
        if programs is None:
            reason = f"no initdb on the path or in {postgres.SERVERS}"
    if reason is not None:
        request.config.stash[orders.ABSENT] = reason
        pytest.skip(f"PostgreSQL: {reason}")
    server = postgres.Server(programs)
    yield server
    server.stop()


@pytest.fixture
def empty_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database without any table."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: Server = request.getfixturevalue("postgres_server")
    url = server.create(migrated=False)
    yield url
    server.drop(url)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """Workspaces to copy."""
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    yield shelf
    shelf.close()


@pytest.fixture
def filled(backend: str, shelf: Shelf, request: pytest.FixtureRequest) -> Filled | None:
    """What the test's workspace is a copy of, by its mark ``filled``; None when it is empty."""
    mark = request.node.get_closest_marker("filled")
    if mark is None:
        return None
    server = None if backend == "sqlite" else request.getfixturevalue("postgres_server")
    return shelf.get(mark.kwargs["by"], server)


@pytest.fixture
def known(workspace: Workspace, filled: Filled | None) -> Any:
    """What the function that filled the workspace returned."""
    assert filled is not None, "the test has no mark `filled`"
    return filled.known


@pytest.fixture
def database_url(
    backend: str, filled: Filled | None, request: pytest.FixtureRequest
) -> Iterator[str | None]:
    """The URL of a migrated database; None for the data directory's own SQLite file."""
    if backend == "sqlite":
        yield None
        return
    server: Server = request.getfixturevalue("postgres_server")
    url = server.create(like=None if filled is None else filled.database_url)
    yield url
    server.drop(url)


@pytest.fixture
def database(tmp_path: Path, database_url: str | None) -> Iterator[Database]:
    """An empty, migrated database."""
    if database_url is None:
        put_migrated_file(tmp_path)
    database = Database(database_url or f"sqlite:///{tmp_path / DATABASE_FILE}")
    yield database
    database.close()


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Loggers as they were: a command that runs in this process configures them as for its own."""
    found = [logging.getLogger(name) for name in (None, *logs.OWN)]
    before = [(logger, logger.level, logger.handlers.copy()) for logger in found]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture(scope="session")
def coco_a() -> Path:
    """The folder with the real COCO photographs."""
    folder = SHARED_DATA / "coco_a"
    if not folder.exists():
        pytest.skip(f"the real photographs are not at {folder}")
    return folder


@pytest.fixture
def workspace(
    tmp_path: Path,
    database_url: str | None,
    filled: Filled | None,
    shelf: Shelf,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workspace]:
    """A workspace in a folder of its own, empty or as its mark ``filled`` says.

    Whoever else opens it finds its database. Tests with the mark ``refusal`` share one.
    """
    if request.node.get_closest_marker("refusal") is not None:
        with shelf.untouched(filled or shelf.get(nothing, None)) as shared:
            yield shared
        return
    if database_url is not None:
        monkeypatch.setenv("CLSL_DATABASE_URL", database_url)
    folder = tmp_path / "data"
    if filled is None:
        opened = make_workspace(folder, database_url=database_url)
    else:
        opened = filled.open_copy(folder, database_url)
    yield opened
    opened.close()
