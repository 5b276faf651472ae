"""COCO results: a list of what a detector found, ``{image_id, category_id, bbox, score}``.

It names the images and categories of another file only, so it adds proposals to a collection that
is there already.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from clsl_core.formats.coco.records import known_id, predicted_score
from clsl_core.formats.findings import Findings
from clsl_core.formats.text.json_source import kind_of, read_json_list
from clsl_core.types import (
    LabelRecord,
    LabelState,
    Progress,
    SourceId,
    ValidationReport,
    no_progress,
)

__all__ = ["RESULTS", "is_results", "read_results"]

RESULTS = "coco-results"
"""What such a file is called, in place of the name of a format."""


def is_results(keys: Container[str]) -> bool:
    """Whether the objects of a list with these keys are results."""
    return "image_id" in keys and "category_id" in keys and "score" in keys


def read_results(
    path: Path,
    image_ids: Container[SourceId],
    category_ids: Container[SourceId],
    progress: Progress = no_progress,
) -> tuple[list[LabelRecord], ValidationReport]:
    """The surest result of each pair, as a proposal.

    Args:
        path: The JSON file.
        image_ids: The images of the collection.
        category_ids: Its categories.
        progress: Told the characters read so far.

    Raises:
        FormatError: When it is no such list, or names nothing of the collection.
    """
    findings = Findings(path.name)
    best: dict[tuple[SourceId, SourceId], float] = {}
    records = read_json_list(path, findings, progress)
    for index, record in enumerate(records):
        where = f"[{index}]"
        score = predicted_score(record) if isinstance(record, dict) else None
        if score is None:
            message = f"found {kind_of(record)}; an object with a score was expected"
            findings.error("bad-result", where, message)
            continue
        image = known_id(record.get("image_id"), image_ids)
        category = known_id(record.get("category_id"), category_ids)
        if image is None or image not in image_ids or category is None:
            message = f"image_id is {kind_of(record.get('image_id'))}, which is not in the dataset"
            findings.warn("missing-image", where, message)
        elif category not in category_ids:
            found = kind_of(record.get("category_id"))
            findings.warn("missing-category", where, f"category_id is {found}, which is not there")
        else:
            best[image, category] = max(score, best.get((image, category), score))
    if not best and findings.report.ok:
        message = "no result names an image and a category of the dataset: is it of this one?"
        findings.error("no-results", "file", message)
    findings.report.counts = {"results": len(records), "proposals": len(best)}
    proposals = [
        LabelRecord(*pair, LabelState.PRESENT, "model", score=score) for pair, score in best.items()
    ]
    return proposals, findings.finish()
