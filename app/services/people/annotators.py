"""The people who give verdicts."""

from __future__ import annotations

from app.services.access import rights
from app.services.access.grants import Grant
from app.services.access.rights import Forbidden
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import InputError
from db.queries import decisions
from db.session import PEOPLE


def enter(workspace: Workspace, dataset_name: str, annotator_name: str) -> Grant:
    """Let somebody begin on a dataset; the annotator is made when new.

    Who is known by proof begins as themselves, whatever the name says.

    Raises:
        NotFoundError: There is no such dataset.
        InputError: The name cannot be an annotator's.
        Forbidden: They are switched off.
    """
    actor = rights.current()
    if actor.person_id is not None:
        with workspace.database.read() as session:
            return Grant(actor.person_id, find_dataset(session, dataset_name).id)
    name = check_annotator(annotator_name)
    with workspace.database.write(PEOPLE) as session:
        dataset = find_dataset(session, dataset_name)
        role = workspace.settings.newcomers_role(signed_in=False)
        person = decisions.annotator(session, name, role)
        if not person.active:
            raise Forbidden(switched_off(name))
        return Grant(person.id, dataset.id)


def switched_off(name: str) -> str:
    """What somebody is told who may do nothing any more."""
    return (
        f"{name!r} is switched off and may do nothing here: an administrator changes that with "
        "`clsl people on`"
    )


def check_annotator(name: str) -> str:
    """An annotator's name as it is stored.

    Raises:
        InputError: Empty, too long, or with control characters.
    """
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InputError(f"{name[:40]!r} cannot be an annotator's name: use 1 to 100 characters")
    return name
