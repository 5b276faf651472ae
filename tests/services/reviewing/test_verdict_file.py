"""Verdicts from a CSV file: all rows or none, twice the same as once."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.services.access.grants import Grant
from app.services.reviewing.verdict_file import decide_file
from app.services.workspace import Workspace
from clsl_core.errors import FormatError, NotFoundError
from db.models import Decision, Image
from tests.builders import make_questions

pytestmark = pytest.mark.filled(by=make_questions)


@pytest.fixture
def grant(known: Grant) -> Grant:
    """An annotator on a dataset of 4 × 3 pairs."""
    return known


class TestVerdictsFromAFile:
    def write(self, folder: Path, *rows: str) -> Path:
        file = folder / "verdicts.csv"
        file.write_text("\n".join(["file_name,category,verdict", *rows]) + "\n")
        return file

    def test_twice_is_the_same_as_once(
        self, workspace: Workspace, grant: Grant, tmp_path: Path
    ) -> None:
        file = self.write(tmp_path, "000.jpg,green,absent", "001.jpg,blue,present")
        first = decide_file(workspace, "set", file, "csv")
        again = decide_file(workspace, "set", file, "csv")
        assert (first.saved, first.unchanged) == (2, 0)
        assert (again.saved, again.unchanged) == (0, 2)

    def test_all_bad_rows_are_reported_and_none_is_stored(
        self, workspace: Workspace, grant: Grant, tmp_path: Path
    ) -> None:
        file = self.write(
            tmp_path, "000.jpg,green,absent", "nope.jpg,green,absent", "000.jpg,green,perhaps"
        )
        with pytest.raises(FormatError, match="nothing was stored") as caught:
            decide_file(workspace, "set", file, "csv")
        assert caught.value.report is not None
        assert [p.where for p in caught.value.report.problems] == ["line 3", "line 4"]
        with workspace.database.read() as session:
            assert session.scalars(select(Decision)).all() == []

    def test_a_name_that_means_two_images_is_refused(
        self, workspace: Workspace, grant: Grant, tmp_path: Path
    ) -> None:
        with workspace.database.write() as session:
            session.execute(update(Image).values(file_name="same.jpg"))
        with pytest.raises(FormatError, match="4 different image"):
            decide_file(workspace, "set", self.write(tmp_path, "same.jpg,red,absent"), "csv")

    @pytest.mark.one_database
    @pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'"open\n'])
    def test_files_that_are_no_verdicts(
        self, workspace: Workspace, grant: Grant, tmp_path: Path, content: bytes
    ) -> None:
        file = tmp_path / "verdicts.csv"
        file.write_bytes(content)
        with pytest.raises(FormatError):
            decide_file(workspace, "set", file, "csv")

    def test_a_file_that_is_not_there(
        self, workspace: Workspace, grant: Grant, tmp_path: Path
    ) -> None:
        with pytest.raises(NotFoundError):
            decide_file(workspace, "set", tmp_path / "none.csv", "csv")
