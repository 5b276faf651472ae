"""The formats there are, by name."""

from __future__ import annotations

from clsl_core.formats.coco import coco, lvis
from clsl_core.formats.cvat import cvat
from clsl_core.formats.nus_wide import nus_wide, nus_wide_csv
from clsl_core.formats.registry import Format, find
from clsl_core.formats.tables import csv_long, csv_wide, imagefolder, open_images
from clsl_core.formats.tools import datumaro, fiftyone, label_studio
from clsl_core.formats.voc import voc
from clsl_core.formats.yolo import yolo

__all__ = ["FORMATS", "get_format"]

_ALL = (
    Format("coco", "COCO instances JSON", ".json", coco.read, coco.write),
    Format("lvis", "LVIS v0.5 or v1 JSON", ".json", lvis.read, lvis.write),
    Format("voc", "PASCAL VOC folder", "", voc.read, voc.write, ("difficult",)),
    Format(
        "csv-wide",
        "CSV, a column for each category",
        ".csv",
        csv_wide.read,
        csv_wide.write,
        ("zero", "minus_one", "not_labels"),
    ),
    Format(
        "csv-long",
        "CSV, a row for each label",
        ".csv",
        csv_long.read,
        csv_long.write,
        ("zero", "minus_one"),
    ),
    Format(
        "open-images",
        "Open Images CSV",
        ".csv",
        open_images.read,
        open_images.write,
    ),
    Format("nus-wide", "NUS-WIDE lists (folder)", "", nus_wide.read, nus_wide.write),
    Format(
        "nus-wide-csv",
        "NUS-WIDE CSV",
        ".csv",
        nus_wide_csv.read,
        nus_wide_csv.write,
    ),
    Format(
        "imagefolder",
        "Hugging Face imagefolder metadata",
        ".jsonl",
        imagefolder.read,
        imagefolder.write,
        ("folders",),
    ),
    Format(
        "fiftyone",
        "FiftyOne labels.json",
        ".json",
        fiftyone.read,
        fiftyone.write,
    ),
    Format(
        "label-studio",
        "Label Studio JSON",
        ".json",
        label_studio.read,
        label_studio.write,
        ("picture_key",),
    ),
    Format("datumaro", "Datumaro JSON", ".json", datumaro.read, datumaro.write),
    Format("yolo", "YOLO folder (Ultralytics)", "", yolo.read, yolo.write, ("empty",)),
    Format("cvat", "CVAT for images XML 1.1", ".xml", cvat.read, cvat.write),
)

FORMATS: dict[str, Format] = {item.name: item for item in _ALL}


def get_format(name: str) -> Format:
    """The format called ``name``.

    Raises:
        NotFoundError: With the names there are.
    """
    return find(FORMATS, name)
