"""Annotation files in and out: each format reads, validates and writes an annotation set."""

from clsl_core.formats import coco, lvis
from clsl_core.formats.registry import Absent, Format, Reader, Validator, Writer, find

__all__ = ["FORMATS", "Absent", "Format", "Reader", "Validator", "Writer", "get_format"]

FORMATS: dict[str, Format] = {
    "coco": Format("coco", "COCO instances JSON", ".json", coco.read, coco.validate, coco.write),
    "lvis": Format("lvis", "LVIS v0.5 or v1 JSON", ".json", lvis.read, lvis.validate, lvis.write),
}


def get_format(name: str) -> Format:
    """The format called ``name``.

    Raises:
        NotFoundError: With the names there are.
    """
    return find(FORMATS, name)
