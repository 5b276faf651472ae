"""Several places for a dataset's pictures, and pictures that come later."""

import shutil
from pathlib import Path

import fsspec
import pytest
from sqlalchemy import select

from app.services.importing import ingest
from app.services.importing.ingest import ImportRequest
from app.services.learning import embedding
from app.services.pictures import places, rendering
from app.services.workspace import Workspace
from clsl_core.errors import ImageError, InputError, NotFoundError
from db.models import Dataset, Image, ImageStatus
from tests.builders import coco_document, make_collection, make_grant


def statuses(workspace: Workspace) -> list[tuple[ImageStatus, str | None]]:
    with workspace.database.read() as session:
        rows = session.execute(select(Image.status, Image.reason).order_by(Image.id))
        return [(status, reason) for status, reason in rows]


@pytest.fixture
def halves(workspace: Workspace, tmp_path: Path) -> tuple[ImportRequest, Path]:
    """A collection of four pictures, two of them in another folder."""
    file, root = make_collection(tmp_path, coco_document(images=4))
    other = tmp_path / "other"
    names = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    for name in names[2:]:
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(root / name, other / name)
    return ImportRequest(str(file), str(root), "set"), other


def test_pictures_that_come_later_are_found(
    workspace: Workspace, halves: tuple[ImportRequest, Path]
) -> None:
    request, other = halves
    result = ingest.import_file(workspace, request)
    assert result.problem_images == 2
    assert places.look_again(workspace, "set") == (0, 2)
    now = places.set_places(workspace, "set", [request.image_root, str(other)], None)
    assert now.roots == (request.image_root, str(other))
    assert now.unreachable == 2
    assert places.look_again(workspace, "set") == (2, 0)
    assert places.places(workspace, "set").unreachable == 0
    embedding.embed(workspace, result.dataset_id)
    assert {status for status, _ in statuses(workspace)} == {ImageStatus.OK}
    grant = make_grant(workspace, result.dataset_id)
    for image_id in range(1, 5):
        assert rendering.thumbnail(workspace, grant, image_id, 240).content


def test_a_further_place_stays_when_the_file_comes_again(
    workspace: Workspace, halves: tuple[ImportRequest, Path]
) -> None:
    request, other = halves
    ingest.import_file(workspace, request)
    places.set_places(workspace, "set", [request.image_root, str(other)], "coco_url")
    places.look_again(workspace, "set")
    again = ingest.import_file(workspace, request)
    assert again.problem_images == 0
    assert not again.changed
    now = places.places(workspace, "set")
    assert (now.roots, now.url_field) == ((request.image_root, str(other)), "coco_url")


def test_places_that_are_none_are_refused(
    workspace: Workspace, halves: tuple[ImportRequest, Path], tmp_path: Path
) -> None:
    request, _ = halves
    ingest.import_file(workspace, request)
    for roots in ([], [str(tmp_path / "nowhere")], ["ftp://host/"], ["file:///etc"]):
        with pytest.raises(InputError):
            places.set_places(workspace, "set", roots, None)
    now = places.places(workspace, "set")
    assert now.roots == (request.image_root,)
    assert places.known_place(request.image_root, now) == request.image_root
    with pytest.raises(NotFoundError, match="none of its places"):
        places.known_place("elsewhere", now)


def test_pictures_by_the_url_in_their_record(workspace: Workspace, tmp_path: Path) -> None:
    document = coco_document(images=3)
    file, root = make_collection(tmp_path / "made", document)
    files = fsspec.filesystem("memory")
    for index, image in enumerate(document["images"]):
        if index < 2:
            image["coco_url"] = f"memory://pictures/{index}.jpg"
        if index < 1:
            files.pipe(f"/pictures/{index}.jpg", (root / image["file_name"]).read_bytes())
    file, _ = make_collection(tmp_path / "made", document)
    empty = tmp_path / "empty"
    empty.mkdir()
    request = ImportRequest(str(file), str(empty), "set", url_field="coco_url")
    result = ingest.import_file(workspace, request)
    assert [reason for _, reason in statuses(workspace)] == [None, None, "missing"]
    embedding.embed(workspace, result.dataset_id)
    assert [(status, reason) for status, reason in statuses(workspace)] == [
        (ImageStatus.OK, None),
        (ImageStatus.PROBLEM, "missing"),
        (ImageStatus.PROBLEM, "missing"),
    ]
    files.rm("/pictures/0.jpg")  # what was fetched is kept
    grant = make_grant(workspace, result.dataset_id)
    assert rendering.thumbnail(workspace, grant, 1, 240).content
    with pytest.raises(ImageError):
        rendering.thumbnail(workspace, grant, 3, 240)


def test_a_whole_collection_below_a_url(workspace: Workspace, tmp_path: Path) -> None:
    document = coco_document(images=3)
    file, root = make_collection(tmp_path, document)
    files = fsspec.filesystem("memory")
    for image in document["images"]:
        files.pipe(f"/whole/{image['file_name']}", (root / image["file_name"]).read_bytes())
    result = ingest.import_file(workspace, ImportRequest(str(file), "memory://whole", "set"))
    assert result.problem_images == 0
    embedding.embed(workspace, result.dataset_id)
    assert {status for status, _ in statuses(workspace)} == {ImageStatus.OK}
    with workspace.database.read() as session:
        assert session.scalars(select(Dataset.image_root)).one() == "memory://whole"
