"""People and their roles."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.rights import Actor, Forbidden, Right, Role
from app.services.people.annotators import check_annotator, switched_off
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, InputError, NotFoundError
from db.models import Annotator
from db.queries import people, stored
from db.session import PEOPLE


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may do something, unless they are not ``active``.

    ``email``, ``issuer`` and ``subject`` are those of the newest sign-in; None without any.
    """

    id: int
    name: str
    role: Role
    active: bool = True
    email: str | None = None
    issuer: str | None = None
    subject: str | None = None


def everybody(workspace: Workspace) -> list[Person]:
    """All people by name."""
    with workspace.database.read() as session:
        identities = people.newest_identities(session)
        found = []
        for one in people.everybody(session):
            by = identities.get(one.id)
            proof = (by.email, by.issuer, by.subject) if by else (None, None, None)
            found.append(Person(one.id, one.name, one.role, one.active, *proof))
        return found


def set_role(workspace: Workspace, name: str, role: str) -> Person:
    """Give somebody a role; who is not known yet is made.

    Raises:
        Forbidden: Whoever acts is no administrator.
        InputError: There is no such role, or the name cannot be one.
        ConflictError: They are the last administrator.
    """
    rights.require(Right.MANAGE)
    if role not in {one.value for one in Role}:
        raise InputError(f"there is no role {role!r}; there are: {', '.join(Role)}")
    name = check_annotator(name)
    with workspace.database.write(PEOPLE) as session:
        found = people.by_name(session, name)
        if found is None:
            found = Annotator(name=name, role=Role(role))
            stored.add(session, found)
        else:
            if role != Role.ADMIN:
                _keep_an_administrator(session, found)
            found.role = Role(role)
        session.flush()
        audit_log.record(session, "role", f"person {found.id}", name=name, role=role)
        return Person(found.id, found.name, found.role)


def switch(workspace: Workspace, name: str, *, on: bool) -> Person:
    """Switch somebody off, so that they may do and see nothing from now on, or on again.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is nobody of that name.
        ConflictError: They are the last administrator.
    """
    rights.require(Right.MANAGE)
    with workspace.database.write(PEOPLE) as session:
        found = _find(session, name)
        if not on:
            _keep_an_administrator(session, found)
        found.active = on
        audit_log.record(
            session, f"people.{'on' if on else 'off'}", f"person {found.id}", name=name
        )
        return Person(found.id, found.name, found.role, found.active)


def link(workspace: Workspace, newcomer: str, known: str) -> Person:
    """Somebody who signed in is a person who was known by name: they sign in as that one now.

    The newcomer stays as a name without a sign-in, with whatever they did.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is nobody of one of the names.
        ConflictError: The newcomer never signed in, or the other one signs in by themselves.
    """
    rights.require(Right.MANAGE)
    with workspace.database.write(PEOPLE) as session:
        new, old = _find(session, newcomer), _find(session, known)
        moving = people.identities_of(session, new.id)
        if not moving:
            raise ConflictError(f"{new.name!r} has never signed in: there is nothing to link")
        if people.signs_in(session, old.id):
            raise ConflictError(f"{old.name!r} signs in already: two people stay two")
        _keep_an_administrator(session, new, instead=old)
        for one in moving:
            one.annotator_id = old.id
        audit_log.record(session, "people.link", f"person {old.id}", newcomer=new.id, name=old.name)
        return Person(old.id, old.name, old.role, old.active)


def actor(workspace: Workspace, annotator_id: int, *, signs_in: bool = False) -> Actor:
    """Somebody as who acts, with the role they have now.

    Args:
        workspace: Where.
        annotator_id: Who.
        signs_in: Whether only somebody who signs in counts.

    Raises:
        NotFoundError: There is no such person any more.
        Forbidden: They are switched off, or never signed in where that is asked.
    """
    with workspace.database.read() as session:
        found = stored.find(session, Annotator, annotator_id)
        if found is None:
            raise NotFoundError("whoever this key was made for is not known any more")
        if not found.active:
            raise Forbidden(switched_off(found.name))
        if signs_in and not people.signs_in(session, found.id):
            raise Forbidden(f"{found.name!r} has not signed in: load the page and sign in")
        return Actor(found.name, found.role, found.id)


def actor_by_name(workspace: Workspace, name: str) -> Actor:
    """Somebody at the screen of a local install: with their role, or that of new people.

    Raises:
        Forbidden: They are switched off.
    """
    with workspace.database.read() as session:
        found = people.by_name(session, name)
        if found is not None and not found.active:
            raise Forbidden(switched_off(name))
        role = workspace.settings.newcomers_role(signed_in=False) if found is None else found.role
        return Actor(name or "somebody", Role(role))


def _find(session: Session, name: str) -> Annotator:
    found = people.by_name(session, name.strip())
    if found is None:
        raise NotFoundError(f"there is nobody called {name!r}: `clsl people list` lists everybody")
    return found


def _keep_an_administrator(
    session: Session, leaving: Annotator, instead: Annotator | None = None
) -> None:
    """Refuse when nobody would be left who can give roles.

    Where people sign in, only those count who do.
    """
    if leaving.role is not Role.ADMIN or not leaving.active:
        return
    if instead is not None and instead.role is Role.ADMIN and instead.active:
        return
    if not people.another_administrator(session, leaving.id):
        raise ConflictError(f"{leaving.name!r} is the last administrator: name another one first")
