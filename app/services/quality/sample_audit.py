"""How many positives are missing, from a random sample that is stratified by score.

Far fewer verdicts are needed than without strata where the model is any good, and the estimate is
as right where it is not. Strata and sample are fixed when the sample is drawn, from what the
serving run thought of every pair when it proposed; verdicts do not move that.
"""

from __future__ import annotations

import secrets

import numpy as np
from sqlalchemy.orm import Session

from app.services.access import rights
from app.services.access.grants import Grant
from app.services.access.rights import Right
from app.services.instant.tables import InstantTable
from app.services.quality.audit_pairs import Check, find_checks, open_table, unknown_pairs
from app.services.quality.completeness import ALL, CategoryCompleteness, in_words
from app.services.workspace import Workspace
from clsl_core.arrays import Doubles, Ids
from clsl_core.errors import InputError, NotFoundError
from clsl_core.statistics.completeness import Cells, CompletenessConfig
from clsl_core.statistics.stratified_sample import SampleConfig, draw_sample
from db.models import Category, CompletenessAudit
from db.queries import completeness, datasets, decisions, labels, runs, stored


def draw(
    workspace: Workspace,
    grant: Grant,
    category_id: int | None,
    size: int,
    seed: int | None = None,
) -> int:
    """Draw the pairs to check; how many they are.

    Args:
        workspace: Where.
        grant: Who, on which dataset.
        category_id: Of what; None for all categories together.
        size: Pairs to draw, fewer where fewer are unknown.
        seed: Of the choice; unpredictable unless given.

    Raises:
        NotFoundError: No such category, or no serving run that left its scores.
        InputError: ``size`` is not positive, or nothing is unknown.
        Forbidden: Whoever acts may not decide.
    """
    rights.require(Right.DECIDE)
    with workspace.database.read() as session:
        run = runs.serving_run(session, grant.dataset_id)
        table = open_table(workspace, run)
        if run is None or table is None:
            raise NotFoundError("no model run has left its scores: train before drawing a sample")
        run_id, last = run.id, decisions.last_id(session, grant.dataset_id)
        images, categories, scores = _unknown(session, grant, table, category_id)
    if not len(scores):
        raise InputError("nothing is unknown here, so there is nothing to check")
    sample = draw_sample(
        scores, size, SampleConfig(), secrets.randbits(31) if seed is None else seed
    )
    chosen = sample.chosen
    drawn = zip(images[chosen], categories[chosen], sample.strata[chosen], strict=True)
    plan = {
        "model_run": run_id,
        "strata": np.bincount(sample.strata).tolist(),
        "pairs": [[int(part) for part in pair] for pair in drawn],
        "last_image_id": int(images.max()),
    }
    with workspace.database.write(grant.dataset_id) as session:
        stored.add(
            session,
            CompletenessAudit(
                dataset_id=grant.dataset_id,
                category_id=category_id,
                annotator_id=grant.annotator_id,
                plan=plan,
                last_decision_id=last,
            ),
        )
    return len(chosen)


def to_check(
    workspace: Workspace, grant: Grant, category_id: int | None, limit: int = 12
) -> list[Check]:
    """The next pairs of the sample without an answer; their answers are ordinary verdicts."""
    with workspace.database.read() as session:
        found, _ = completeness.newest_audit(session, grant.dataset_id, category_id)
        if found is None:
            return []
        said = _said(session, found)
        waiting = [(i, c) for i, c, _ in found.plan["pairs"] if (i, c) not in said]
        return find_checks(session, grant.dataset_id, waiting[:limit])


def estimate(
    workspace: Workspace,
    grant: Grant,
    category_id: int | None,
    config: CompletenessConfig | None = None,
) -> CategoryCompleteness | None:
    """What the newest sample says; None before the first one was drawn.

    Raises:
        NotFoundError: No such category in the dataset.
    """
    with workspace.database.read() as session:
        found, look = completeness.newest_audit(session, grant.dataset_id, category_id)
        if found is None:
            return None
        name = ALL if category_id is None else _category(session, grant, category_id).name
        said = _said(session, found)
        known = completeness.known(session, grant.dataset_id)
    wanted = known.values() if category_id is None else [known.get(category_id, (0, 0))]
    present = sum(count for _, count in wanted)
    pairs = {(image, category): stratum for image, category, stratum in found.plan["pairs"]}
    answers = [(h, said[pair]) for pair, h in pairs.items() if said.get(pair, 0) != 0]
    strata = np.array(found.plan["strata"], np.int64)
    checked = np.bincount([h for h, _ in answers], minlength=len(strata))
    hits = np.bincount([h for h, state in answers if state > 0], minlength=len(strata))
    outside = [
        pair
        for pair, state in said.items()
        if state > 0 and pair not in pairs and pair[0] <= found.plan["last_image_id"]
    ]
    waiting = sum(pair not in said for pair in pairs)
    cells = Cells(strata, checked.astype(np.int64), hits.astype(np.int64))
    settings = config or CompletenessConfig()
    return in_words(name, cells, present, len(outside), len(pairs), waiting, settings, look)


def _said(session: Session, found: CompletenessAudit) -> dict[tuple[int, int], int]:
    """What was said since, and what is known of the sampled pairs from any source."""
    since = completeness.states_since(
        session, found.dataset_id, found.last_decision_id, found.category_id
    )
    sampled = labels.of_pairs(session, [(i, c) for i, c, _ in found.plan["pairs"]])
    return since | {(one.image_id, one.category_id): int(one.state) for one in sampled}


def _unknown(
    session: Session, grant: Grant, table: InstantTable, category_id: int | None
) -> tuple[Ids, Ids, Doubles]:
    """The unknown pairs: images (M,), categories (M,) and scores (M,) in [0, 1]."""
    wanted = [row.id for row in datasets.categories(session, grant.dataset_id)]
    if category_id is not None:
        wanted = [_category(session, grant, category_id).id]
    parts = list(unknown_pairs(session, table, wanted))
    return (
        np.concatenate([part.image_ids for part in parts]),
        np.repeat([part.category_id for part in parts], [len(part.scores) for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def _category(session: Session, grant: Grant, category_id: int) -> Category:
    found = stored.find(session, Category, category_id)
    if found is None or found.dataset_id != grant.dataset_id or found.merged_into_id is not None:
        raise NotFoundError(f"there is no category {category_id} in this dataset")
    return found
