"""Every format through the database: in, out again as it was, and into every other one."""

from pathlib import Path

from sqlalchemy import select

from app.services import exchange, review, views
from app.services.ingest import ImportRequest, import_file
from app.services.review import Answer
from app.services.workspace import Workspace
from clsl_core.formats import FORMATS
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
    review.decide(workspace, grant, [Answer("a-first-decision", image, category, "absent")])
    _, root = make_collection(tmp_path / "pictures")
    (tmp_path / "again").mkdir()
    for name, own in FORMATS.items():
        output = tmp_path / f"{name}{own.suffix}"
        exchange.export(workspace, "set", output, name)
        request = ImportRequest(str(output), str(root), name, name)
        result = import_file(workspace, request)
        view = views.dataset(workspace, name)
        assert (view.images, view.present, view.absent_labels) == (4, 4, 1), name
        assert result.problem_images == 0, name
        assert not import_file(workspace, request).changed, name
        exchange.export(workspace, name, tmp_path / "again" / output.name, name)
        assert files(tmp_path / "again" / output.name) == files(output), name
