"""What the source file says about a picture, for drawing it over the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.services.access.grants import Grant
from app.services.workspace import Workspace
from clsl_core.errors import NotFoundError
from db.models import Category, Image
from db.queries import annotations as annotation_queries
from db.queries import datasets, gold, stored

MAX_BOXES = 500


@dataclass(frozen=True, slots=True)
class CategoryView:
    """A category to choose."""

    id: int
    name: str
    supercategory: str | None


@dataclass(frozen=True, slots=True)
class Box:
    """One annotation: ``bbox`` is x, y, width, height in pixels of the picture as stored."""

    category_id: int | None
    category: str
    bbox: tuple[float, float, float, float]
    crowd: bool


@dataclass(frozen=True, slots=True)
class Boxes:
    """The boxes of one picture, and its size where the source file tells it."""

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
    return Boxes(image.width, image.height, found)


def _shown(categories: Mapping[int, Category], category_id: int | None) -> tuple[int | None, str]:
    """Id and name of the category that an annotation is shown under."""
    found = None if category_id is None else categories.get(category_id)
    while found is not None and found.merged_into_id is not None:
        found = categories[found.merged_into_id]
    return (None, "?") if found is None else (found.id, found.name)


def _bbox(value: object) -> tuple[float, float, float, float] | None:
    """Four finite numbers with a size above nothing; None when it is something else."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
        return None
    x, y, width, height = (float(v) for v in value)
    if not (width > 0 and height > 0 and all(abs(v) < 1e9 for v in (x, y, width, height))):
        return None
    return x, y, width, height
