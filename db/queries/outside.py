"""What outside models' proposals need of the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from clsl_core.types import SourceId
from db.models import Category, Image, Label, Proposal

BATCH = 5_000

Pair = tuple[int, int]


def proposed(session: Session, run_id: int) -> set[Pair]:
    """The pairs that a run has proposals for."""
    query = select(Proposal.image_id, Proposal.category_id).where(Proposal.model_run_id == run_id)
    return {(image_id, category_id) for image_id, category_id in session.execute(query)}


def labelled(session: Session, category_ids: Iterable[int]) -> set[Pair]:
    """The pairs of some categories that have a label."""
    query = select(Label.image_id, Label.category_id)
    query = query.where(Label.category_id.in_(list(category_ids)))
    return {(image_id, category_id) for image_id, category_id in session.execute(query)}


def add_proposals(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Insert proposals given as column values."""
    for start in range(0, len(rows), BATCH):
        session.execute(insert(Proposal), rows[start : start + BATCH])


def add_labels(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Insert labels given as column values."""
    for start in range(0, len(rows), BATCH):
        session.execute(insert(Label), rows[start : start + BATCH])


def ids(
    session: Session, table: type[Image] | type[Category], dataset_id: int
) -> dict[SourceId, int]:
    """Our ids of images or categories by those of the file; merged ones are left out."""
    query = select(table.source_id, table.id).where(table.dataset_id == dataset_id)
    if table is Category:
        query = query.where(Category.merged_into_id.is_(None))
    return {json.loads(key): id_ for key, id_ in session.execute(query)}
