"""Parts of a dataset for people: whose queue offers what, first or only."""

from __future__ import annotations

from dataclasses import dataclass

from app.services.access import audit_log, rights
from app.services.access.rights import Right
from app.services.people.annotators import check_annotator
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import InputError, NotFoundError
from db.models import Assignment
from db.queries import assignments, datasets, people, stored


@dataclass(frozen=True, slots=True)
class Part:
    """What somebody is to judge; None leaves that side open."""

    id: int
    annotator: str
    category: str | None
    split: str | None
    prefix: str | None
    exclusive: bool


def assign(
    workspace: Workspace,
    name: str,
    annotator: str,
    *,
    category: str | None = None,
    split: str | None = None,
    prefix: str | None = None,
    exclusive: bool = True,
) -> list[Part]:
    """Let somebody judge a part of a dataset: a category, a split, or files that begin alike.

    Who was given several parts judges all of them; where any is exclusive, nothing else.

    Returns:
        All that they are to judge now; several categories of one name are one part each.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset, person or category.
        InputError: Nothing says which part.
    """
    rights.require(Right.MANAGE)
    if not (category or split or prefix):
        raise InputError("say which part: a category, a split or how file names begin")
    wanted = check_annotator(annotator)
    with workspace.database.write() as session:
        dataset = find_dataset(session, name)
        person = people.by_name(session, wanted)
        if person is None:
            raise NotFoundError(f"nobody is called {wanted!r}: `clsl people role` makes them known")
        ids: list[int | None] = [None]
        if category:
            ids = [*datasets.category_ids_by_name(session, dataset.id).get(category, ())]
            if not ids:
                raise NotFoundError(f"{name!r} has no category called {category!r}")
        for id_ in ids:
            stored.add(
                session,
                Assignment(
                    dataset_id=dataset.id,
                    annotator_id=person.id,
                    category_id=id_,
                    split=split or None,
                    prefix=prefix or None,
                    exclusive=exclusive,
                ),
            )
        what = {"person": wanted, "category": category, "split": split, "prefix": prefix}
        audit_log.record(session, "assign", f"dataset {dataset.id}", **what, exclusive=exclusive)
    return [part for part in parts(workspace, name) if part.annotator == wanted]


def unassign(workspace: Workspace, name: str, annotator: str) -> int:
    """Let somebody judge everything again.

    Returns:
        How many parts they had.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such dataset or person.
    """
    rights.require(Right.MANAGE)
    with workspace.database.write() as session:
        dataset = find_dataset(session, name)
        person = people.by_name(session, annotator.strip())
        if person is None:
            raise NotFoundError(f"nobody is called {annotator!r}")
        found = assignments.share(session, dataset.id, person.id).parts
        for part in found:
            stored.remove(session, part)
        audit_log.record(session, "unassign", f"dataset {dataset.id}", person=person.name)
        return len(found)


def parts(workspace: Workspace, name: str) -> list[Part]:
    """Every part that was given to somebody, by name.

    Raises:
        NotFoundError: There is no such dataset.
    """
    with workspace.database.read() as session:
        dataset = find_dataset(session, name)
        return [
            Part(one.id, person, category, one.split, one.prefix, one.exclusive)
            for one, person, category in assignments.everybodys(session, dataset.id)
        ]
