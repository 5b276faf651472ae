"""Pairs that an audit wants people to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db.queries import acceptance, datasets, runs


@dataclass(frozen=True, slots=True)
class Check:
    """One pair, with the serving run's proposal of it where there is one."""

    image_id: int
    category_id: int
    file_name: str
    category: str
    proposal_id: int | None


def find_checks(session: Session, dataset_id: int, pairs: Sequence[tuple[int, int]]) -> list[Check]:
    """Some ``(image id, category id)`` pairs as checks, in the same order; lost ones left out."""
    run = runs.serving_run(session, dataset_id)
    names = {row.id: row.name for row in datasets.categories(session, dataset_id)}
    shown = {
        (image_id, category_id): found
        for category_id in {category_id for _, category_id in pairs}
        for image_id, found in acceptance.shown(
            session,
            run.id if run else None,
            category_id,
            [image for image, category in pairs if category == category_id],
        ).items()
    }
    return [
        Check(*pair, shown[pair][0], names[pair[1]], shown[pair][1])
        for pair in pairs
        if pair in shown and pair[1] in names
    ]
