"""A collection to try things out on: drawn scenes, most of whose labels are then hidden.

Everything in a scene is recognised at a glance, so a proposal is visibly right or wrong, and
differs in colour, shape or texture, so the built-in descriptors can find it.
"""

from __future__ import annotations

import io
import secrets
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from clsl_core.demo.drawing import BACKDROPS, HEIGHT, OBJECTS, WIDTH, Scene
from clsl_core.errors import InputError
from clsl_core.formats.coco import coco
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    JsonObject,
    Progress,
    no_progress,
)

__all__ = ["DemoFiles", "draw_demo"]

HIDDEN_SHARE = 0.65
"""Part of the positive pairs of each category that ``instances.json`` does not tell."""

_NAMES = (*OBJECTS, *BACKDROPS)
_COMPANIONS = {
    "night sky": "yellow star",
    "grass": "polka-dot ball",
    "brick wall": "blue square",
    "sea": "purple ring",
}
"""What is often seen together: the label graph should find these pairs."""


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """The files of a drawn collection.

    Attributes:
        images: The folder with the pictures.
        instances: COCO file with most labels hidden: the one to import.
        complete: COCO file with the whole truth: the one to compare with.
        hidden: Positive image × category pairs that only ``complete`` tells.
    """

    images: Path
    instances: Path
    complete: Path
    hidden: int


def draw_demo(
    directory: Path, *, images: int = 300, seed: int = 0, progress: Progress = no_progress
) -> DemoFiles:
    """Draw scenes and write them with a complete and a partly labelled COCO file.

    The same arguments give the same files. Each file is written whole or not at all and one
    that is already right is not touched, so an interrupted run is simply run again.

    Args:
        directory: Made when it is not there.
        images: Number of pictures, 384 × 288 JPEG, at least 1.
        seed: Of everything random.
        progress: Told the pictures drawn.

    Returns:
        Where the files are.

    Raises:
        InputError: When ``images`` is not positive or the folder cannot be written.
    """
    if images < 1:
        raise InputError(f"a demo of {images} pictures was asked for; at least 1 is needed")
    files = (directory / "images", directory / "instances.json", directory / "complete.json")
    truth = []
    for index in range(images):
        progress(index, images, "drawing pictures")
        scene = _scene(np.random.default_rng([seed, index]))
        _put(files[0] / _file_name(index), _jpeg(scene.picture()))
        truth.append(scene.boxes)
    progress(images, images, "drawing pictures")
    complete = _annotation_set(truth)
    hidden = _hidden_pairs(complete, seed)
    coco.write(complete, [], files[2], summary={})
    coco.write(_without(complete, hidden), [], files[1], summary={})
    return DemoFiles(*files, hidden=len(hidden))


def _scene(chance: np.random.Generator) -> Scene:
    """A backdrop or two, and one to four objects."""
    scene = Scene(chance)
    backdrops = list(chance.permutation(sorted(BACKDROPS)))[: chance.choice(3, p=(0.2, 0.55, 0.25))]
    scene.paint(backdrops)
    wanted = [_COMPANIONS[name] for name in backdrops if chance.random() < 0.55]
    for name in chance.permutation(sorted(OBJECTS))[: chance.integers(1, 4)]:
        if name not in wanted:
            wanted.append(str(name))
    for name in wanted:
        scene.place(name)
    return scene


def _file_name(index: int) -> str:
    return f"scene-{index:05d}.jpg"


def _jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _put(path: Path, content: bytes) -> None:
    """Write a file whole; leave it alone when it has that content already.

    Raises:
        InputError: When it cannot be written.
    """
    scratch = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() == content:
            return
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def _annotation_set(
    truth: Sequence[Sequence[tuple[str, tuple[int, int, int, int]]]],
) -> AnnotationSet:
    """The whole truth, one annotation for each thing drawn."""
    numbers = {name: number for number, name in enumerate(_NAMES, start=1)}
    images: list[ImageRecord] = []
    annotations: list[AnnotationRecord] = []
    for index, boxes in enumerate(truth):
        name, image_id = _file_name(index), index + 1
        record: JsonObject = {"id": image_id, "file_name": name, "width": WIDTH, "height": HEIGHT}
        images.append(ImageRecord(image_id, name, WIDTH, HEIGHT, record))
        for category, box in boxes:
            annotations.append(_annotation(len(annotations) + 1, image_id, numbers[category], box))
    categories = [
        CategoryRecord(number, name, group, {"id": number, "name": name, "supercategory": group})
        for name, number in numbers.items()
        for group in ["backdrop" if name in BACKDROPS else "object"]
    ]
    header = {"info": {"description": "Drawn scenes"}, "images": None, "annotations": None}
    return AnnotationSet(
        "coco", {**header, "categories": None}, images, categories, annotations, []
    )


def _annotation(
    id_: int, image_id: int, category_id: int, box: tuple[int, int, int, int]
) -> AnnotationRecord:
    left, top, right, bottom = box
    record = {
        "id": id_,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
    }
    return AnnotationRecord(id_, image_id, category_id, record)


def _hidden_pairs(complete: AnnotationSet, seed: int) -> set[tuple[object, object]]:
    """The same share of every category's positive pairs, at least one of them left to see."""
    positive: dict[object, list[object]] = defaultdict(list)
    for annotation in complete.annotations:
        if annotation.image_id not in positive[annotation.category_id]:
            positive[annotation.category_id].append(annotation.image_id)
    chance = np.random.default_rng([seed, 2**31])
    hidden = set()
    for category, images in positive.items():
        count = min(round(HIDDEN_SHARE * len(images)), len(images) - 1)
        for place in chance.permutation(len(images))[:count]:
            hidden.add((images[place], category))
    return hidden


def _without(complete: AnnotationSet, hidden: set[tuple[object, object]]) -> AnnotationSet:
    left = [a for a in complete.annotations if (a.image_id, a.category_id) not in hidden]
    header = {**complete.header, "info": {"description": "Drawn scenes, most labels hidden"}}
    return AnnotationSet("coco", header, complete.images, complete.categories, left, [])
