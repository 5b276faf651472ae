"""Pairs that audits are about: all that are unknown, and those that people are to judge.

Of an unknown pair there is what the serving run thought when it proposed. Its proposals are only
the front of that; audits need all of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from app.services.instant.tables import InstantTable
from app.services.workspace import Workspace
from clsl_core.arrays import Doubles, Ids, sigmoid
from db.models import ModelRun
from db.queries import acceptance, datasets, runs


@dataclass(frozen=True)
class UnknownPairs:
    """The unknown pairs of one category.

    Attributes:
        image_ids: (M,) rising.
        scores: (M,) probability of being PRESENT where the run is calibrated, in [0, 1].
    """

    category_id: int
    image_ids: Ids
    scores: Doubles

    def likely(self, without: Collection[int], most: int) -> tuple[Ids, Doubles]:
        """Those above the mean score, which is what a run proposes as present; best first.

        Args:
            without: Images to leave out.
            most: At most so many.
        """
        if not len(self.scores):
            return self.image_ids, self.scores
        keep = (self.scores > self.scores.mean()) & ~np.isin(self.image_ids, list(without))
        image_ids, scores = self.image_ids[keep], self.scores[keep]
        order = np.argsort(-scores, kind="stable")[:most]
        return image_ids[order], scores[order]


def open_table(workspace: Workspace, run: ModelRun | None) -> InstantTable | None:
    """The scores that a run has left; None where there are none."""
    if run is None or run.directory is None:
        return None
    return InstantTable.open(workspace.data_dir / run.directory)


def unknown_pairs(
    session: Session, table: InstantTable, category_ids: Collection[int]
) -> Iterator[UnknownPairs]:
    """Category by category."""
    known = acceptance.labelled_images(session, category_ids)
    images = np.asarray(table.image_ids)
    for id_ in category_ids:
        logits, (slope, shift) = table.of(id_)
        unknown = ~np.isin(images, known.get(id_, []))
        scores = sigmoid(slope * logits[unknown].astype(np.float64) + shift, math.inf)
        yield UnknownPairs(id_, images[unknown], scores)


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
