"""Splitting a dataset's images into parts, such as train, val and test: previewed, undoable."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.rights import Right
from app.services.learning.embedding import usable_features
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import ConflictError, InputError
from clsl_core.recovery.identity import digests_of
from clsl_core.statistics.iterative_stratification import (
    FREE,
    counts,
    deviation,
    iterative_split,
    random_parts,
)
from db.models import SplitChange
from db.queries import datasets, runs, splits, stored
from db.types import now

__all__ = ["CategoryShares", "SplitPlan", "parse_shares", "plan", "sizes", "split_images", "undo"]

DRAWS = 10
"""Random splits that a plan is compared with."""
MOST = 20
_NAME = re.compile(r"[\w][\w .-]{0,99}")


@dataclass(frozen=True, slots=True)
class CategoryShares:
    """How many of a category's known positives each split has, in the order of the splits."""

    name: str
    positives: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """A split that is not made yet.

    Attributes:
        images: How many go into each split.
        moved: How many images are in another split now, or in none.
        together: Images that stay with another one, since the pictures are the same; None where
            that is not known, since they are not embedded.
        categories: With a known positive, the rarest first.
        deviation: How far, in the mean over categories, the worst split's portion of the
            positives is from its share.
        by_chance: The same of a random split, in the mean of ten.
    """

    images: dict[str, int]
    moved: int
    together: int | None
    categories: tuple[CategoryShares, ...]
    deviation: float
    by_chance: float


def parse_shares(text: str) -> dict[str, float]:
    """Read ``train=0.8,val=0.1,test=0.1``; shares may also be in percent, together 100.

    Raises:
        InputError: It cannot be read so.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, share = part.partition("=")
        name = name.strip()
        try:
            found[name] = float(share) if equals and name not in found else math.nan
        except ValueError:
            found[name] = math.nan
        if math.isnan(found[name]):
            raise InputError(f"{part.strip()!r:.60} is not read: write train=0.8,val=0.1,test=0.1")
    if abs(sum(found.values()) - 100) < 1e-6:
        found = {name: share / 100 for name, share in found.items()}
    return found


def sizes(workspace: Workspace, dataset_name: str) -> dict[str, int]:
    """How many images each split has now; those in none under "".

    Raises:
        NotFoundError: There is no such dataset.
    """
    with workspace.database.read() as session:
        return splits.counts(session, find_dataset(session, dataset_name).id)


def plan(
    workspace: Workspace,
    dataset_name: str,
    shares: Mapping[str, float],
    seed: int = 0,
    *,
    keep: bool = False,
) -> SplitPlan:
    """What dividing would do.

    Args:
        workspace: Where.
        dataset_name: Which dataset.
        shares: Of each split, together 1.
        seed: Decides between what is equally good.
        keep: Images that are in one of these splits stay there.

    Raises:
        NotFoundError: There is no such dataset.
        InputError: A name or the shares cannot be used.
    """
    _check(shares)
    with workspace.database.read() as session:
        dataset_id = find_dataset(session, dataset_name).id
        drawn = _draw(workspace, session, dataset_id, shares, seed, keep=keep)
        names = {row.id: row.name for row in datasets.categories(session, dataset_id)}
    wanted = list(shares.values())
    table = counts(drawn.parts, drawn.pairs, len(wanted))
    order = sorted(range(table.shape[1]), key=lambda column: int(table[:, column].sum()))
    size = np.bincount(drawn.parts, minlength=len(wanted)).tolist()
    chance = [
        deviation(random_parts(len(drawn.parts), wanted, draw), drawn.pairs, wanted)
        for draw in range(DRAWS)
    ]
    return SplitPlan(
        images=dict(zip(shares, size, strict=True)),
        moved=sum(
            member.split != name for member, name in zip(drawn.members, drawn.names, strict=True)
        ),
        together=None if drawn.groups is None else len(drawn.groups) - len(np.unique(drawn.groups)),
        categories=tuple(
            CategoryShares(names[drawn.category_ids[column]], tuple(table[:, column].tolist()))
            for column in order
        ),
        deviation=deviation(drawn.parts, drawn.pairs, wanted),
        by_chance=mean(chance),
    )


def split_images(
    workspace: Workspace,
    dataset_name: str,
    shares: Mapping[str, float],
    seed: int = 0,
    *,
    keep: bool = False,
) -> dict[str, int]:
    """Put every image into a split, as ``plan`` says; ``undo`` brings the ones of before back.

    Returns:
        How many images each split has.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset.
        InputError: A name or the shares cannot be used.
    """
    rights.require(Right.MANAGE)
    _check(shares)
    with workspace.database.read() as session:  # nobody else waits while it is worked out
        dataset_id = find_dataset(session, dataset_name).id
        drawn = _draw(workspace, session, dataset_id, shares, seed, keep=keep)
    asked = {"shares": dict(shares), "seed": seed, "keep": keep}
    with workspace.database.write(dataset_id) as session:
        before: dict[str, list[int]] = {}
        for member in splits.members(session, dataset_id):
            before.setdefault(member.split or "", []).append(member.id)
        stored.add(
            session,
            SplitChange(
                dataset_id=dataset_id, made_by=rights.current().name, asked=asked, before=before
            ),
        )
        for name in shares:
            chosen = zip(drawn.members, drawn.names, strict=True)
            splits.put(session, [member.id for member, part in chosen if part == name], name)
        audit_log.record(session, "split", f"dataset {dataset_id}", **asked)
        return splits.counts(session, dataset_id)


def undo(workspace: Workspace, dataset_name: str) -> dict[str, int]:
    """Take the newest split back: every image is in the split that it was in before.

    Returns:
        How many images each split has; those in none under "".

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset.
        ConflictError: There is none to take back.
    """
    rights.require(Right.MANAGE)
    with workspace.database.read() as session:
        dataset_id = find_dataset(session, dataset_name).id
    with workspace.database.write(dataset_id) as session:
        change = splits.newest(session, dataset_id)
        if change is None:
            raise ConflictError(f"{dataset_name!r} was not divided here: there is nothing to undo")
        for split, image_ids in change.before.items():
            splits.put(session, image_ids, split or None)
        change.undone_at = now()
        audit_log.record(session, "split.undo", f"dataset {dataset_id}", division=change.id)
        session.flush()
        return splits.counts(session, dataset_id)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A split worked out.

    Attributes:
        members: N images.
        parts: (N,) the number of each one's split.
        names: Its name.
        groups: (N,) images of one number show the same picture; None where nothing is known.
        pairs: (P, 2) image and category of each known positive, by place.
        category_ids: By place, those with a positive.
    """

    members: list[splits.Member]
    parts: npt.NDArray[np.int64]
    names: list[str]
    groups: npt.NDArray[np.int64] | None
    pairs: npt.NDArray[np.int64]
    category_ids: list[int]


def _draw(
    workspace: Workspace,
    session: Session,
    dataset_id: int,
    shares: Mapping[str, float],
    seed: int,
    *,
    keep: bool,
) -> _Drawn:
    names = list(shares)
    members = splits.members(session, dataset_id)
    rows = {member.id: row for row, member in enumerate(members)}
    found = np.array(list(splits.positives(session, dataset_id)), np.int64).reshape(-1, 2)
    ids, columns = np.unique(found[:, 1], return_inverse=True)
    images = np.array([rows[id_] for id_ in found[:, 0].tolist()], np.int64)
    pairs = np.stack([images, columns.reshape(-1)], axis=1)
    fixed = None
    if keep:
        place = {name: part for part, name in enumerate(names)}
        fixed = np.array([place.get(member.split or "", FREE) for member in members], np.int64)
    groups = _same_pictures(workspace, session, dataset_id, rows)
    wanted = list(shares.values())
    parts = iterative_split(len(members), pairs, wanted, seed, groups=groups, fixed=fixed)
    return _Drawn(members, parts, [names[part] for part in parts], groups, pairs, ids.tolist())


def _same_pictures(
    workspace: Workspace, session: Session, dataset_id: int, rows: Mapping[int, int]
) -> npt.NDArray[np.int64] | None:
    """(N,) a number for each picture, told by its features; None where there are none yet."""
    embedding = runs.latest_embedding_run(session, dataset_id)
    if embedding is None:
        return None
    features, image_ids = usable_features(workspace, session, embedding)
    groups = np.arange(len(rows))
    first: dict[int, int] = {}
    for image_id, digest in zip(image_ids, digests_of(features.pooled()).tolist(), strict=True):
        groups[rows[image_id]] = first.setdefault(digest, rows[image_id])
    return groups


def _check(shares: Mapping[str, float]) -> None:
    if not 1 <= len(shares) <= MOST:
        raise InputError(f"{len(shares)} splits: name 1 to {MOST}")
    odd = [name for name in shares if not _NAME.fullmatch(name)]
    if odd:
        raise InputError(
            f"{odd[0]!r:.60} cannot be a split's name: use letters, digits, spaces, . _ and -"
        )
    total = sum(shares.values())
    if not all(share > 0 for share in shares.values()) or abs(total - 1) > 1e-6:
        raise InputError(f"the shares are {total:g} together: each above 0, and 1 together")
