"""SQL is written in ``db`` alone: the rest of the program hands a session on, and asks by name.

Checked in the source of everything under ``app``: what is imported from SQLAlchemy, what is asked
of a session, and whether a column of a table is named.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.models import Base

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "app").rglob("*.py"))
ANNOTATION = ("sqlalchemy.orm", "Session")
ERRORS = "sqlalchemy.exc"
UNIT_OF_WORK = {"flush", "begin_nested"}
"""What a use case may do with its session: say when, but not what."""
STATEMENTS = {"execute", "executemany", "exec_driver_sql", "scalar", "scalars"}
WITHOUT_SESSION = {
    Path("app/services/backup/archive.py"),
    Path("app/services/backup/picture_places.py"),
    Path("app/services/jobs/queue_file.py"),
}
"""Copies, looks into or checks files of SQLite that are no open database of ours."""
COLUMNS = {mapper.class_.__name__: set(mapper.columns.keys()) for mapper in Base.registry.mappers}


def faults(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"imports {one.name}" for one in node.names if _is_sql(one.name))
        elif isinstance(node, ast.ImportFrom) and _is_sql(node.module or ""):
            yield from (
                f"imports {one.name} from {node.module}"
                for one in node.names
                if (node.module, one.name) != ANNOTATION and node.module != ERRORS
            )
        elif isinstance(node, ast.Attribute):
            yield from _asked(node)
        elif isinstance(node, ast.arg) and node.annotation is not None:
            if ast.unparse(node.annotation) == "Session" and node.arg != "session":
                yield f"calls a session {node.arg}"
        elif isinstance(node, ast.withitem):
            yield from _named_otherwise(node)


def _is_sql(module: str) -> bool:
    return module.partition(".")[0] == "sqlalchemy"


def _asked(node: ast.Attribute) -> Iterator[str]:
    whose = node.value
    name = whose.id if isinstance(whose, ast.Name) else getattr(whose, "attr", "")
    if name.strip("_") == "session" and node.attr not in UNIT_OF_WORK:
        yield f"asks session.{node.attr} in line {node.lineno}"
    elif node.attr in STATEMENTS:
        yield f"sends a statement in line {node.lineno}"
    elif isinstance(whose, ast.Name) and node.attr in COLUMNS.get(whose.id, ()):
        yield f"names the column {whose.id}.{node.attr} in line {node.lineno}"


def _named_otherwise(node: ast.withitem) -> Iterator[str]:
    """A session under another name would pass unseen."""
    call, name = node.context_expr, node.optional_vars
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        return
    opens = call.func.attr in {"read", "write"} and "database" in ast.unparse(call.func.value)
    if opens and name is not None and ast.unparse(name) != "session":
        yield f"calls a session {ast.unparse(name)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_outside_db_writes_sql(file: Path) -> None:
    if file.relative_to(ROOT) in WITHOUT_SESSION:
        assert "sqlalchemy" not in file.read_text()
        return
    assert not list(faults(file.read_text()))


@pytest.mark.parametrize(
    "source",
    [
        "from sqlalchemy import select",
        "import sqlalchemy as sa",
        "from sqlalchemy.orm import Session, aliased",
        "session.get(Image, 3)",
        "session.add(row)",
        "rows = self._session.scalars(query)",
        "connection.execute(statement)",
        "hidden = ~queries.skipped(Proposal.image_id)",
        "def f(other: Session) -> None: ...",
        "with workspace.database.write() as writing:\n    writing.get(Image, 3)",
    ],
)
def test_each_way_to_write_sql_is_seen(source: str) -> None:
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    [
        "from sqlalchemy.orm import Session",
        "from sqlalchemy.exc import IntegrityError",
        "with database.read() as session:\n    found = images.files(session, 3)",
        "session.flush()",
        "Image(file_name='a')",
    ],
)
def test_what_a_use_case_needs_is_free(source: str) -> None:
    assert not list(faults(source))
