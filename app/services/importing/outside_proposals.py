"""Predictions that came with a file: proposals of a named outside model, never labels.

They hang on a model run of their own, which people see beside the one that serves (see
``db.queries.runs.shown``) and which no training takes the place of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from clsl_core.formats.coco import results
from clsl_core.formats.unknown_files import first_object
from clsl_core.types import JsonObject, LabelRecord, LabelSource, LabelState, SourceId
from db.models import Category, Image, ModelRun
from db.queries import outside, runs

__all__ = ["is_results", "source_ids", "store", "store_final"]

HEAD = 2**16
UNSCORED = 0.5
"""The score of a prediction without one: it says nothing of how sure the model was."""
SEED = 0

Pair = tuple[int, int]


def store(session: Session, dataset_id: int, proposals: Sequence[LabelRecord], model: str) -> int:
    """Keep what outside models say of pairs without a label; what is there already stays.

    Args:
        session: Writes.
        dataset_id: The dataset, whose images, categories and labels are there.
        proposals: By the ids of the file.
        model: The name of the model that made those which name none.

    Returns:
        How many are new.
    """
    added = 0
    if proposals:
        ids = (outside.ids(session, Image, dataset_id), outside.ids(session, Category, dataset_id))
        for name, best in _by_model(proposals, model).items():
            added += _store(session, _run(session, dataset_id, name), best, ids)
    for run in runs.outside_runs(session, dataset_id):
        runs.close_answered(session, run)
    return added


def is_results(file: Path) -> bool:
    """Whether a file is a list of COCO results, by its first one."""
    try:
        with file.open("rb") as stream:
            text = stream.read(HEAD).decode("utf-8-sig", "replace").lstrip()
    except (OSError, ValueError):
        return False
    return text.startswith("[") and results.is_results(first_object(text))


def source_ids(session: Session, dataset_id: int) -> tuple[set[SourceId], set[SourceId]]:
    """The ids of a dataset's images and categories as its file has them."""
    images = outside.ids(session, Image, dataset_id)
    return set(images), set(outside.ids(session, Category, dataset_id))


def store_final(session: Session, dataset_id: int, taken: Iterable[LabelRecord]) -> int:
    """Make labels of predictions that were declared final, where there are none yet."""
    images, categories = (outside.ids(session, table, dataset_id) for table in (Image, Category))
    known = outside.labelled(session, categories.values())
    rows = [
        {
            "image_id": images[one.image_id],
            "category_id": categories[one.category_id],
            "state": one.state,
            "source": LabelSource.IMPORT,
            "provenance": {"score": one.score},
        }
        for one in taken
        if (images[one.image_id], categories[one.category_id]) not in known
    ]
    outside.add_labels(session, rows)
    for run in runs.outside_runs(session, dataset_id):
        runs.close_answered(session, run)
    return len(rows)


def _by_model(
    proposals: Iterable[LabelRecord], model: str
) -> dict[str, dict[tuple[SourceId, SourceId], LabelRecord]]:
    """The surest proposal of each pair, by the model's name."""
    found: dict[str, dict[tuple[SourceId, SourceId], LabelRecord]] = {}
    for one in proposals:
        of_model = found.setdefault(one.model_run or model, {})
        before = of_model.get((one.image_id, one.category_id))
        if before is None or _score(before) < _score(one):
            of_model[one.image_id, one.category_id] = one
    return found


def _score(proposal: LabelRecord) -> float:
    """The score as a share of one; what lies beyond is cut off."""
    if proposal.score is None or not math.isfinite(proposal.score):
        return UNSCORED
    return min(max(float(proposal.score), 0.0), 1.0)


def _run(session: Session, dataset_id: int, name: str) -> ModelRun:
    known = runs.outside_runs(session, dataset_id)
    found = next((run for run in known if run.config.get("model") == name), None)
    return found or runs.add_outside_run(session, dataset_id, name)


def _store(
    session: Session,
    run: ModelRun,
    best: Mapping[tuple[SourceId, SourceId], LabelRecord],
    ids: tuple[dict[SourceId, int], dict[SourceId, int]],
) -> int:
    there = outside.proposed(session, run.id)
    there |= outside.labelled(session, ids[1].values())
    pairs: dict[Pair, LabelRecord] = {}
    for (image, category), one in best.items():
        if image in ids[0] and category in ids[1]:
            pair = (ids[0][image], ids[1][category])
            if pair not in there:
                pairs[pair] = one
    rows = list(_rows(run.id, pairs))
    outside.add_proposals(session, rows)
    return len(rows)


def _rows(run_id: int, pairs: Mapping[Pair, LabelRecord]) -> Iterable[JsonObject]:
    """The surest first, as its turn in the mixed order."""
    lots = np.random.default_rng(SEED).integers(2**31, size=len(pairs)).tolist()
    ordered = sorted(pairs.items(), key=lambda item: (-_score(item[1]), item[0]))
    for turn, (pair, one) in enumerate(ordered):
        yield {
            "model_run_id": run_id,
            "image_id": pair[0],
            "category_id": pair[1],
            "state": LabelState(one.state),
            "score": _score(one),
            "probability": None,
            "turn": turn,
            "lot": lots[turn],
        }
