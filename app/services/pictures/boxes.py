"""What the source file says about a picture, for drawing it over the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from app.services.access.grants import Grant
from app.services.pictures.places import images_of
from app.services.workspace import Workspace
from clsl_core.errors import ImageError, NotFoundError
from clsl_core.pictures.loading import ImageLoader
from db.models import Category, Dataset, Image
from db.queries import annotations as annotation_queries
from db.queries import datasets, gold, stored

MAX_BOXES = 500

Bbox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class CategoryView:
    """A category to choose."""

    id: int
    name: str
    supercategory: str | None


@dataclass(frozen=True, slots=True)
class Box:
    """One annotation: ``bbox`` is x, y, width, height in pixels of the picture as it is shown."""

    category_id: int | None
    category: str
    bbox: Bbox
    crowd: bool


@dataclass(frozen=True, slots=True)
class Boxes:
    """The boxes of one picture, and its size as it is shown, where the source file tells it."""

    width: int | None
    height: int | None
    boxes: list[Box]


def categories(workspace: Workspace, grant: Grant) -> list[CategoryView]:
    """Every category of the dataset, in the file's order."""
    with workspace.database.read() as session:
        rows = datasets.categories(session, grant.dataset_id)
        return [CategoryView(row.id, row.name, row.supercategory) for row in rows]


def boxes(workspace: Workspace, grant: Grant, image_id: int) -> Boxes:
    """The source file's boxes of one picture, at most MAX_BOXES; records without one are left out.

    Photographs are shown upright. Where the source file speaks of one as it is stored, lying on its
    side, the boxes are turned with it.

    Raises:
        NotFoundError: The image is not in the dataset the grant is for.
    """
    with workspace.database.read() as session:
        image = stored.find(session, Image, image_id)
        if image is None or image.dataset_id != grant.dataset_id:
            raise NotFoundError(f"there is no image {image_id} in this dataset")
        names = {row.id: row for row in datasets.categories(session, grant.dataset_id, hidden=True)}
        secret = gold.secret(session, grant.annotator_id, [image_id])
        found = [
            Box(category_id, name, bbox, record.get("iscrowd") in (1, True))
            for record, own_id in annotation_queries.of_image(session, image_id, MAX_BOXES)
            for category_id, name in [_shown(names, own_id)]
            if (image_id, category_id) not in secret
            and (bbox := _bbox(record.get("bbox"))) is not None
        ]
        loader = images_of(workspace, stored.one(session, Dataset, image.dataset_id))
    turn = turn_of(loader, image.file_name, image.width, image.height)
    return _turned(Boxes(image.width, image.height, found), turn)


def turn_of(loader: ImageLoader, file_name: str, width: int | None, height: int | None) -> int:
    """The EXIF orientation by which the boxes of a record are to be turned; 1 where they are not.

    Only an orientation that changes width into height can be told from the record: width and height
    are those of the picture as it is stored.
    """
    if width is None or height is None or width == height:
        return 1
    try:
        header = loader.header(file_name)
    except ImageError:
        return 1
    lying = header.orientation in TURNS and (header.width, header.height) == (width, height)
    return header.orientation if lying else 1


def _turned(boxes: Boxes, orientation: int) -> Boxes:
    """Boxes on a picture as it is stored, as they lie on the upright one."""
    width, height = boxes.width, boxes.height
    if orientation not in TURNS or width is None or height is None:
        return boxes
    turn = TURNS[orientation]
    turned = [replace(box, bbox=turn(*box.bbox, width, height)) for box in boxes.boxes]
    return Boxes(height, width, turned)


TURNS: Mapping[int, Callable[[float, float, float, float, int, int], Bbox]] = {
    5: lambda x, y, w, h, width, height: (y, x, h, w),
    6: lambda x, y, w, h, width, height: (height - y - h, x, h, w),
    7: lambda x, y, w, h, width, height: (height - y - h, width - x - w, h, w),
    8: lambda x, y, w, h, width, height: (y, width - x - w, h, w),
}
"""For each EXIF orientation that exchanges width and height, where a box of the stored picture (of
``width`` × ``height``) lies on the upright one."""


def _shown(categories: Mapping[int, Category], category_id: int | None) -> tuple[int | None, str]:
    """Id and name of the category that an annotation is shown under."""
    found = None if category_id is None else categories.get(category_id)
    while found is not None and found.merged_into_id is not None:
        found = categories[found.merged_into_id]
    return (None, "?") if found is None else (found.id, found.name)


def _bbox(value: object) -> Bbox | None:
    """Four finite numbers with a size above nothing; None when it is something else."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
        return None
    x, y, width, height = (float(v) for v in value)
    if not (width > 0 and height > 0 and all(abs(v) < 1e9 for v in (x, y, width, height))):
        return None
    return x, y, width, height
