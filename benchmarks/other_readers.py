"""Whether the readers of other tools load what is written here, with the right counts.

``python -m benchmarks.other_readers FOLDER`` writes one small collection in every format that a
reader below knows, beside its pictures, and loads it with each reader that is installed. Those that
are not are said. Readers: pycocotools, datasets, supervision, label-studio-sdk.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from PIL import Image

from clsl_core.formats import read, write
from clsl_core.types import LabelRecord, LabelState

IMAGES, BOXES = 12, 18
NAMES = ("dog", "cat", "night sky")
CONFIG = """<View><Image name="image" value="$image"/>
<Choices name="choice" toName="image" choice="multiple">
<Choice value="dog"/><Choice value="cat"/><Choice value="night sky"/></Choices>
<RectangleLabels name="label" toName="image">
<Label value="dog"/><Label value="cat"/><Label value="night sky"/></RectangleLabels></View>"""


def collection(folder: Path) -> Path:
    """A COCO file of boxes with its pictures; one label is decided in each image."""
    images, annotations = [], []
    for number in range(1, IMAGES + 1):
        name = f"{number:03}.jpg"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (number * 20, 90, 60)).save(folder / name)
        images.append({"id": number, "file_name": name, "width": 64, "height": 48})
    for number in range(1, BOXES + 1):
        box = [number, number, 10, 12]
        annotations.append(
            {
                "id": number,
                "image_id": 1 + number % IMAGES,
                "category_id": 1 + number % 3,
                "bbox": box,
                "area": 120,
                "iscrowd": 0,
            }
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(document))
    return folder / "instances.json"


def in_pycocotools(source: Path, folder: Path) -> str:
    """COCO in COCO's own reader."""
    from pycocotools.coco import COCO

    content, _ = read(source)
    decided = [LabelRecord(number, 1, LabelState.PRESENT, "human") for number in range(1, 4)]
    write(content, folder / "coco.json", decided)
    loaded = COCO(str(folder / "coco.json"))
    return _counts(len(loaded.imgs), len(loaded.anns), len(loaded.cats))


def in_datasets(source: Path, folder: Path) -> str:
    """The imagefolder: pictures with a list of names each."""
    from datasets import load_dataset

    content, _ = read(source)
    place = _with_pictures(source, folder / "imagefolder")
    write(content, place / "metadata.jsonl", format_name="imagefolder")
    loaded = load_dataset("imagefolder", data_dir=str(place), cache_dir=str(folder / "cache"))
    rows = loaded["train"]
    names = {name for row in rows for name in row["labels"]}
    return _counts(len(rows), None, len(names))


def in_supervision(source: Path, folder: Path) -> str:
    """YOLO and VOC with their boxes."""
    import supervision

    content, _ = read(source)
    write(content, folder / "yolo", format_name="yolo")
    _with_pictures(source, folder / "yolo/images/train")
    yolo = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(folder / "yolo/images/train"),
        annotations_directory_path=str(folder / "yolo/labels/train"),
        data_yaml_path=str(folder / "yolo/data.yaml"),
    )
    write(content, folder / "voc", format_name="voc")
    _with_pictures(source, folder / "voc/JPEGImages")
    voc = supervision.DetectionDataset.from_pascal_voc(
        images_directory_path=str(folder / "voc/JPEGImages"),
        annotations_directory_path=str(folder / "voc/Annotations"),
    )
    counts = [
        _counts(len(one), sum(len(found) for _, _, found in one), len(one.classes))
        for one in (yolo, voc)
    ]
    return f"YOLO {counts[0]}; VOC {counts[1]}"


def in_label_studio(source: Path, folder: Path) -> str:
    """Label Studio's JSON in its own converter."""
    from label_studio_sdk.converter import Converter

    content, _ = read(source)
    write(content, folder / "tasks.json", format_name="label-studio")
    converter = Converter(CONFIG, str(folder / "label-studio"), download_resources=False)
    converter.convert_to_json_min(
        str(folder / "tasks.json"), str(folder / "label-studio"), is_dir=False
    )
    rows = json.loads((folder / "label-studio/result.json").read_text())
    boxes = [box for row in rows for box in row.get("label", ())]
    names = {name for box in boxes for name in box["rectanglelabels"]}
    return _counts(len(rows), len(boxes), len(names))


READERS: dict[str, Callable[[Path, Path], str]] = {
    "pycocotools": in_pycocotools,
    "datasets": in_datasets,
    "supervision": in_supervision,
    "label-studio-sdk": in_label_studio,
}


def _with_pictures(source: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in source.parent.glob("*.jpg"):
        shutil.copy(picture, folder)
    return folder


def _counts(images: int, boxes: int | None, categories: int) -> str:
    right = (images, categories) == (IMAGES, len(NAMES)) and boxes in (None, BOXES)
    told = f"{images} images, " + ("" if boxes is None else f"{boxes} boxes, ")
    return f"{told}{categories} categories: {'right' if right else 'WRONG'}"


def main(folder: Path) -> dict[str, Any]:
    """Load with every reader; prints a line for each."""
    source = collection(folder / "source")
    print(f"written: {IMAGES} images, {BOXES} boxes, {len(NAMES)} categories")
    told: dict[str, Any] = {}
    for name, load in READERS.items():
        try:
            told[name] = f"{version(name)}: {load(source, folder)}"
        except (PackageNotFoundError, ImportError) as error:
            told[name] = f"not installed ({error})"
        print(f"{name} {told[name]}")
    (folder / "readers.json").write_text(json.dumps(told, indent=1))
    return told


if __name__ == "__main__":
    main(Path(sys.argv[1]))
