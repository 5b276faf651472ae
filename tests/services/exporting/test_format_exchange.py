"""Every format through the database: in, out again as it was, and into every other one."""

import zipfile
from pathlib import Path

import pytest
from sqlalchemy import select

from app import worker
from app.services.datasets import overview
from app.services.exporting import export
from app.services.importing.ingest import ImportRequest, import_file, recognise
from app.services.jobs.table import JobKind
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import FormatError, InputError, NotFoundError
from clsl_core.formats import FORMATS
from clsl_core.formats.detect import Detected
from db.models import Category, Image
from tests.builders import make_collection, make_dataset, make_grant


def files(output: Path) -> dict[str, bytes]:
    found = [output] if output.is_file() else [p for p in output.rglob("*") if p.is_file()]
    return {path.relative_to(output.parent).as_posix(): path.read_bytes() for path in found}


def test_out_in_and_out_again(workspace: Workspace, tmp_path: Path) -> None:
    first = make_dataset(workspace)
    grant = make_grant(workspace, first.dataset_id)
    with workspace.database.read() as session:
        image = session.scalars(select(Image.id).order_by(Image.position)).first()
        category = session.scalars(select(Category.id).order_by(Category.position.desc())).first()
    assert image is not None
    assert category is not None
    verdicts.decide(workspace, grant, [Answer("a-first-decision", image, category, "absent")])
    _, root = make_collection(tmp_path / "pictures")
    (tmp_path / "again").mkdir()
    for name, own in FORMATS.items():
        output = tmp_path / f"{name}{own.suffix}"
        export.export_dataset(workspace, "set", output, name)
        request = ImportRequest(str(output), str(root), name, name)
        result = import_file(workspace, request)
        view = overview.dataset(workspace, name)
        assert (view.images, view.present, view.absent_labels) == (4, 4, 1), name
        assert result.problem_images == 0, name
        assert not import_file(workspace, request).changed, name
        export.export_dataset(workspace, name, tmp_path / "again" / output.name, name)
        assert files(tmp_path / "again" / output.name) == files(output), name


def test_a_dataset_keeps_its_format(workspace: Workspace, tmp_path: Path) -> None:
    make_dataset(workspace)
    table = tmp_path / "more.csv"
    export.export_dataset(workspace, "set", table, "csv-wide")
    _, root = make_collection(tmp_path / "pictures")
    with pytest.raises(InputError, match="came as coco, this file is csv-wide"):
        import_file(workspace, ImportRequest(str(table), str(root), "set"))


def test_the_format_is_found_or_named(workspace: Workspace, tmp_path: Path) -> None:
    make_dataset(workspace)
    for name, own in FORMATS.items():
        output = tmp_path / f"{name}{own.suffix}"
        export.export_dataset(workspace, "set", output, name)
        assert recognise(output).format == name
    assert recognise(output, "voc") == Detected("voc", "it was named")
    odd = tmp_path / "odd.json"
    odd.write_text("{}")
    assert recognise(odd).format == "coco"
    with pytest.raises(NotFoundError, match="no format 'xml'"):
        recognise(odd, "xml")
    (tmp_path / "odd.bin").write_bytes(bytes(range(256)))
    with pytest.raises(FormatError, match="no known format"):
        recognise(tmp_path / "odd.bin")


def test_what_is_left_behind_is_said_before(workspace: Workspace) -> None:
    make_dataset(workspace)
    assert export.left_behind(workspace, "set", "coco") == []
    assert any("box" in what for what in export.left_behind(workspace, "set", "csv-wide"))


@pytest.mark.parametrize(
    ("name", "suffix"), [("coco", ".json"), ("csv-long", ".csv"), ("voc", ".zip")]
)
def test_a_prepared_export_is_one_file(workspace: Workspace, name: str, suffix: str) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    handlers = worker.handlers(workspace)
    job = workspace.jobs.run_here(JobKind.EXPORT, dataset_id, {"format": name}, handlers)
    result = job.result or {}
    path = workspace.data_dir / "exports" / result["file"]
    assert path.suffix == suffix
    assert result["format"] == name
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    if suffix == ".zip":
        with zipfile.ZipFile(path) as pack:
            assert any(one.endswith(".xml") for one in pack.namelist())
