"""Boxes lie where the thing is, however the photograph was held."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from app.services.access.grants import Grant
from app.services.importing.ingest import ImportRequest, import_file
from app.services.pictures.boxes import boxes
from app.services.workspace import Workspace
from clsl_core.pictures.loading import LocalImages
from tests.builders import make_grant

STORED = (60, 40)
BOX = (10, 4, 12, 20)
"""Of a white thing on black, in the stored picture."""


def photograph(path: Path, orientation: int) -> None:
    picture = Pillow.new("RGB", STORED)
    x, y, width, height = BOX
    picture.paste("white", (x, y, x + width, y + height))
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    picture.save(path, "PNG", exif=exif)


def on_dataset(
    workspace: Workspace, folder: Path, orientation: int, size: tuple[int, int]
) -> Grant:
    photograph(folder / "a.png", orientation)
    width, height = size
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": width, "height": height}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": list(BOX)}],
    }
    (folder / "in.json").write_text(json.dumps(document))
    request = ImportRequest(str(folder / "in.json"), str(folder), "set")
    return make_grant(workspace, import_file(workspace, request).dataset_id)


def white(picture: Pillow.Image) -> tuple[int, int, int, int]:
    """Where the white thing is: x, y, width, height."""
    rows, columns = np.nonzero(np.asarray(picture)[..., 0] > 127)
    x, y = int(columns.min()), int(rows.min())
    return x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y


@pytest.mark.sqlite_only
@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
def test_boxes_of_the_stored_picture_are_turned_with_it(
    workspace: Workspace, tmp_path: Path, orientation: int
) -> None:
    grant = on_dataset(workspace, tmp_path, orientation, STORED)
    shown = LocalImages(tmp_path).load("a.png")
    found = boxes(workspace, grant, 1)
    assert (found.width, found.height) == shown.size
    assert found.boxes[0].bbox == white(shown)


@pytest.mark.sqlite_only
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_the_upright_picture_stay(
    workspace: Workspace, tmp_path: Path, orientation: int
) -> None:
    grant = on_dataset(workspace, tmp_path, orientation, STORED[::-1])
    found = boxes(workspace, grant, 1)
    assert ((found.width, found.height), found.boxes[0].bbox) == (STORED[::-1], BOX)


@pytest.mark.sqlite_only
def test_a_picture_that_is_gone_has_its_boxes_still(workspace: Workspace, tmp_path: Path) -> None:
    grant = on_dataset(workspace, tmp_path, 6, STORED)
    (tmp_path / "a.png").unlink()
    found = boxes(workspace, grant, 1)
    assert ((found.width, found.height), found.boxes[0].bbox) == (STORED, BOX)
