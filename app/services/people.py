"""People and their roles."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from app.services import audit, who
from app.services.annotators import check_annotator
from app.services.who import Actor, Right, Role
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, InputError, NotFoundError
from db.models import Annotator
from db.session import PEOPLE


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may do something."""

    id: int
    name: str
    role: Role


def everybody(workspace: Workspace) -> list[Person]:
    """All people by name."""
    with workspace.database.read() as session:
        found = session.scalars(select(Annotator).order_by(Annotator.name))
        return [Person(one.id, one.name, one.role) for one in found]


def set_role(workspace: Workspace, name: str, role: str) -> Person:
    """Give somebody a role; who is not known yet is made.

    Raises:
        Forbidden: Whoever acts is no administrator.
        InputError: There is no such role, or the name cannot be one.
        ConflictError: They are the last administrator.
    """
    who.require(Right.MANAGE)
    if role not in {one.value for one in Role}:
        raise InputError(f"there is no role {role!r}; there are: {', '.join(Role)}")
    name = check_annotator(name)
    with workspace.database.write(PEOPLE) as session:
        found = session.scalar(select(Annotator).where(Annotator.name == name))
        if found is None:
            found = Annotator(name=name, role=Role(role))
            session.add(found)
        else:
            admins = select(Annotator.id).where(Annotator.role == Role.ADMIN)
            others = session.scalars(admins.where(Annotator.id != found.id)).first()
            if found.role is Role.ADMIN and role != Role.ADMIN and others is None:
                raise ConflictError(f"{name!r} is the last administrator: name another one first")
            found.role = Role(role)
        session.flush()
        audit.record(session, "role", f"person {found.id}", name=name, role=role)
        return Person(found.id, found.name, found.role)


def actor(workspace: Workspace, annotator_id: int) -> Actor:
    """Somebody as who acts, with the role they have now.

    Raises:
        NotFoundError: There is no such person any more.
    """
    with workspace.database.read() as session:
        found = session.get(Annotator, annotator_id)
        if found is None:
            raise NotFoundError("whoever this key was made for is not known any more")
        return Actor(found.name, found.role)


def actor_by_name(workspace: Workspace, name: str) -> Actor:
    """Somebody at the screen: with their role, or that of new people."""
    with workspace.database.read() as session:
        found = session.scalar(select(Annotator).where(Annotator.name == name))
        role = workspace.settings.default_role if found is None else found.role
        return Actor(name or "somebody", Role(role))
