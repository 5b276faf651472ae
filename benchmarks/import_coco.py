"""Bringing in and taking out a COCO file of full size: time and memory beside the usual tools.

    python -m benchmarks.import_coco --images 118287 --annotations 860001 --json OUT

Draws a collection with polygons, then measures, each in a process of its own so that peak memory
is its own: ``pycocotools.COCO(file)`` (only loads and indexes), this program's import (reads,
checks, stores), ``json.dump`` of the loaded content, this program's export, and the queries that
pages make. Timings compare within one run only. Needs ``pip install pycocotools``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.services.datasets import overview
from app.services.exporting import export
from app.services.importing import ingest
from app.services.jobs.bell import SilentBell
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import ClslError, InputError
from clsl_core.files import atomic_text

__all__ = ["draw", "main"]

CATEGORIES = 80
LIMIT = 1.3
LIMIT_MEGABYTES = 300
NAME = "benchmark"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when everything was measured and within its limits."""
    options = _parse(arguments)
    folder = Path(options.folder or tempfile.mkdtemp(prefix="clsl-import-"))
    try:
        if options.step:
            print(json.dumps(STEPS[options.step](folder)))
            return 0
        return _measure(options, folder)
    except ClslError as error:
        print(f"import_coco: {error}", file=sys.stderr)
        return 1
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)


def draw(output: Path, images: int, annotations: int, seed: int = 0) -> None:
    """Write a file like COCO's, polygons included, and an empty file for each picture.

    Args:
        output: The JSON file; pictures are named below ``pictures`` beside it.
        images: How many.
        annotations: How many, spread at random over images and categories.
        seed: Of the drawing.
    """
    random_ = random.Random(seed)
    pictures = output.parent / "pictures"
    pictures.mkdir(exist_ok=True)
    with output.open("w") as file:
        file.write('{"info": {"year": 2017}, "licenses": [], "images": [')
        for index in range(images):
            name = f"{index:012d}.jpg"
            (pictures / name).touch()
            record = {
                "license": 1,
                "file_name": name,
                "coco_url": f"http://images.cocodataset.org/train2017/{name}",
                "height": 480,
                "width": 640,
                "date_captured": "2013-11-14 11:18:45",
                "flickr_url": f"http://farm9.staticflickr.com/8186/{index:010d}_z.jpg",
                "id": 3 * index,
            }
            file.write(", " * (index > 0) + json.dumps(record))
        file.write('], "annotations": [')
        for index in range(annotations):
            file.write(", " * (index > 0) + json.dumps(_annotation(random_, index, images)))
        file.write('], "categories": [')
        for index in range(CATEGORIES):
            record = {"supercategory": "thing", "id": index + 1, "name": f"category {index}"}
            file.write(", " * (index > 0) + json.dumps(record))
        file.write("]}")


def _annotation(random_: random.Random, index: int, images: int) -> dict[str, Any]:
    count = 2 * random_.randrange(10, 50)
    polygon = [round(640 * random_.random(), 2) for _ in range(count)]
    box = [round(300 * random_.random(), 2) for _ in range(4)]
    return {
        "segmentation": [polygon],
        "area": round(box[2] * box[3], 4),
        "iscrowd": 0,
        "image_id": 3 * random_.randrange(images),
        "bbox": box,
        "category_id": 1 + min(int(random_.expovariate(0.08)), CATEGORIES - 1),
        "id": 2 * index,
    }


def _timed(work: Callable[[], object]) -> dict[str, Any]:
    before = _peak()
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "megabytes": _peak(), "megabytes_before": before}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _workspace(folder: Path) -> Workspace:
    return Workspace.open(Settings(data_dir=folder / "data"), SilentBell())


def _load(folder: Path) -> dict[str, Any]:
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        message = "pycocotools is what this compares with: pip install pycocotools"
        raise InputError(message) from error
    return _timed(lambda: COCO(str(folder / "set.json")))


def _import(folder: Path) -> dict[str, Any]:
    workspace = _workspace(folder)
    request = ingest.ImportRequest(str(folder / "set.json"), str(folder / "pictures"), NAME)
    return _timed(lambda: ingest.import_file(workspace, request))


def _dump(folder: Path) -> dict[str, Any]:
    with (folder / "set.json").open() as file:
        content = json.load(file)
    with (folder / "dump.json").open("w") as file:
        return _timed(lambda: json.dump(content, file))


def _export(folder: Path) -> dict[str, Any]:
    workspace = _workspace(folder)
    return _timed(lambda: export.export_dataset(workspace, NAME, folder / "out.json"))


def _pages(folder: Path) -> dict[str, Any]:
    workspace = _workspace(folder)
    answer = {"datasets": _timed(lambda: overview.all_datasets(workspace))["seconds"]}
    answer["dataset"] = _timed(lambda: overview.dataset(workspace, NAME))["seconds"]
    answer["export preview"] = _timed(lambda: export.preview(workspace, NAME))["seconds"]
    return answer


def _compare(folder: Path) -> dict[str, Any]:
    """Whether the export holds what the file held, record by record, in order."""
    contents = []
    for name in ("set.json", "out.json"):
        with (folder / name).open() as file:
            contents.append(json.load(file))
    return {"equal": contents[0] == contents[1]}


STEPS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "pycocotools": _load,
    "import": _import,
    "json.dump": _dump,
    "export": _export,
    "pages": _pages,
    "compare": _compare,
}


def _measure(options: argparse.Namespace, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "set.json").exists():
        draw(folder / "set.json", options.images, options.annotations)
    size = (folder / "set.json").stat().st_size / 1e6
    print(f"{options.images:,} images, {options.annotations:,} annotations, {size:,.0f} MB")
    sheet: dict[str, Any] = {
        "images": options.images,
        "annotations": options.annotations,
        "file_megabytes": size,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    for step in STEPS:
        sheet[step] = _child(step, folder)
        shown = ", ".join(
            f"{key} {value if isinstance(value, bool) else round(value, 2)}"
            for key, value in sheet[step].items()
        )
        print(f"{step:12} {shown}", flush=True)
    ratios = {
        "import": sheet["import"]["seconds"] / sheet["pycocotools"]["seconds"],
        "export": sheet["export"]["seconds"] / sheet["json.dump"]["seconds"],
    }
    sheet["ratios"] = ratios
    for what, ratio in ratios.items():
        print(f"{what}: {ratio:.2f} × (limit {LIMIT}), {sheet[what]['megabytes']:.0f} MB")
    if options.json:
        with atomic_text(options.json) as file:
            json.dump(sheet, file, indent=1)
    small = all(sheet[what]["megabytes"] <= LIMIT_MEGABYTES for what in ratios)
    good = small and max(ratios.values()) <= LIMIT and sheet["compare"]["equal"]
    return 0 if good else 1


def _child(step: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.import_coco", "--folder", str(folder)]
    done = subprocess.run([*command, "--step", step], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"the step {step!r} failed: {done.stderr.strip()[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--annotations", type=int, default=860_001)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--folder", help="where to work; kept (default: a temporary one)")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
