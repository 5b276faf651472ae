"""The people who give verdicts."""

from __future__ import annotations

from app.services.access import Grant
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import InputError
from db.queries import decisions as decision_queries
from db.session import PEOPLE


def enter(workspace: Workspace, dataset_name: str, annotator_name: str) -> Grant:
    """Let somebody begin on a dataset; the annotator is made when new.

    Raises:
        NotFoundError: There is no such dataset.
        InputError: The name cannot be an annotator's.
    """
    name = check_annotator(annotator_name)
    with workspace.database.write(PEOPLE) as session:
        dataset = find_dataset(session, dataset_name)
        role = workspace.settings.default_role
        return Grant(decision_queries.annotator(session, name, role).id, dataset.id)


def check_annotator(name: str) -> str:
    """An annotator's name as it is stored.

    Raises:
        InputError: Empty, too long, or with control characters.
    """
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InputError(f"{name[:40]!r} cannot be an annotator's name: use 1 to 100 characters")
    return name
