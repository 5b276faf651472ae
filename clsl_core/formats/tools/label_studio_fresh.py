"""A task of Label Studio for an image of another format."""

from __future__ import annotations

from collections.abc import Iterable

from clsl_core.formats.boxes import Shape
from clsl_core.types import JsonObject, SourceId

__all__ = ["fresh_task"]


def fresh_task(
    key: SourceId,
    file_name: str,
    shapes: Iterable[tuple[str, Shape]],
    size: tuple[int | None, int | None],
) -> JsonObject:
    """A task with the boxes of its image, in percent as Label Studio wants them.

    Args:
        key: The task's id.
        file_name: Of the picture.
        shapes: Each with the name of its category; left out where the size is not known.
        size: Width and height of the picture.
    """
    results = [
        {
            "id": f"box-{number}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": size[0],
            "original_height": size[1],
            "image_rotation": 0,
            "value": {**_percents(shape.share), "rotation": 0, "rectanglelabels": [name]},
        }
        for number, (name, shape) in enumerate(shapes)
        if shape.share is not None and size[0] and size[1]
    ]
    task: JsonObject = {"id": key, "data": {"image": file_name}}
    return {**task, "annotations": [{"result": results}]} if results else task


def _percents(share: Iterable[float]) -> JsonObject:
    sides = ("x", "y", "width", "height")
    return {side: 100 * part for side, part in zip(sides, share, strict=True)}
