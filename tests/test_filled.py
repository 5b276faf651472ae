"""Copies of a workspace are what making it anew would give, and each is its test's alone."""

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select, text

from app.services.datasets import overview
from app.services.jobs.bell import SilentBell
from app.services.pictures.rendering import thumbnail
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from db.models import Annotator, Dataset, Image
from db.session import Database
from tests.builders import make_dataset, make_grant, make_questions, make_workspace
from tests.filled import Shelf

made: Counter[bool] = Counter()


def one_dataset(workspace: Workspace) -> int:
    """Returns how often it was called for this kind of database."""
    make_dataset(workspace)
    made[workspace.database.shared] += 1
    return made[workspace.database.shared]


def schema(database: Database) -> list[str]:
    """Every table and index as SQLite was told to make it."""
    with database.read() as session:
        return list(session.scalars(text("SELECT sql FROM sqlite_master ORDER BY name")))


def test_a_copied_database_is_a_migrated_one(tmp_path: Path) -> None:
    opened = Workspace.open(Settings(data_dir=tmp_path / "made"), SilentBell())
    copied = make_workspace(tmp_path / "copied")
    assert schema(opened.database) == schema(copied.database)
    names = [sorted(path.name for path in one.data_dir.iterdir()) for one in (opened, copied)]
    assert names[0] == names[1]
    opened.close()
    copied.close()


@pytest.mark.both_databases
@pytest.mark.filled(by=one_dataset)
@pytest.mark.parametrize("turn", [1, 2])
def test_what_one_test_does_to_its_copy_no_other_sees(
    workspace: Workspace, known: int, turn: int
) -> None:
    assert known == 1
    assert [one.name for one in overview.all_datasets(workspace)] == ["set"]
    with workspace.database.write() as session:
        dataset = session.scalars(select(Dataset)).one()
        dataset.name = "changed"
        root = Path(dataset.image_root)
        first = session.scalars(select(Image.id)).first()
    assert root.is_relative_to(workspace.data_dir)
    assert first is not None
    assert thumbnail(workspace, make_grant(workspace, dataset.id), first, 64).content
    for path in root.iterdir():
        path.unlink()


def test_a_refusal_that_leaves_a_trace_is_found_and_harms_no_other(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    filled = shelf.get(make_questions, None)
    with shelf.untouched(filled) as shared:
        assert len(overview.all_datasets(shared)) == 1
    with shelf.untouched(filled) as again:
        assert again is shared
    with pytest.raises(AssertionError, match="no trace"), shelf.untouched(filled) as changed:
        make_grant(changed, 1, "somebody")
    with shelf.untouched(filled) as fresh:
        assert fresh is not changed
        with fresh.database.read() as session:
            assert session.scalars(select(Annotator.name)).all() == ["ada"]
    shelf.close()
