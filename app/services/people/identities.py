"""Who signs in: what an OpenID Connect provider says of somebody, as a person and their role.

A person is known by the issuer and its subject, and by nothing else: two people of one name stay
two, and an e-mail address never joins anybody to anybody. A verified address opens the door
(``members``) and makes an administrator of a newcomer (``admins``); one that is not verified
does neither. Names from claims are hostile text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.rights import Actor, Forbidden, Role
from app.services.people.annotators import switched_off
from app.services.runtime.legible import legible
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import ClslError
from db.models import Annotator, Identity
from db.queries import people, stored
from db.session import PEOPLE
from db.types import now

NAME_LENGTH = 80
"""Leaves room for the number that tells people of one name apart."""
NAMELESS = "somebody"
AHEAD = timedelta(minutes=5)
"""How far a provider's clock may be ahead of ours."""


class SignInRefused(ClslError):  # noqa: N818 - the words of the page
    """The claims prove nobody whom this workspace lets in; signing in again may."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What an issuer says of somebody, checked.

    Attributes:
        issuer: Who says it, ``iss``.
        subject: The issuer's own name for the person, ``sub``: it never changes.
        name: To be shown; legible, 1 to NAME_LENGTH characters, not unique.
        email: None when there is none.
        email_verified: Whether the issuer vouches for the address.
        issued_at: When they signed in, UTC.
    """

    issuer: str
    subject: str
    name: str
    email: str | None
    email_verified: bool
    issued_at: datetime


def read_claims(found: Mapping[str, object], client_id: str, hours: float) -> Claims:
    """Check the claims of an identity token whose signature was checked before.

    Args:
        found: The claims.
        client_id: For whom the token must have been issued.
        hours: How long a sign-in lasts.

    Raises:
        SignInRefused: They are not complete, not meant for this program, or too old.
    """
    issuer, subject = found.get("iss"), found.get("sub")
    for claim, value, most in (("iss", issuer, 500), ("sub", subject, 255)):
        if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
            raise SignInRefused(
                f"the provider's answer has no usable claim {claim!r}, by which people are known: "
                "sign in again; if that does not help, the provider is not set up for OpenID "
                "Connect"
            )
    audience = found.get("aud")
    meant_for = audience if isinstance(audience, list) else [audience]
    if client_id not in meant_for:
        raise SignInRefused(
            "the provider's answer is meant for another program: sign in again; if that does not "
            "help, compare client_id in .streamlit/secrets.toml with the provider's"
        )
    email = found.get("email")
    return Claims(
        issuer=str(issuer),
        subject=str(subject),
        name=_name(found),
        email=email if isinstance(email, str) and _is_address(email) else None,
        email_verified=found.get("email_verified") is True,
        issued_at=_issued_at(found.get("iat"), hours),
    )


def required(workspace: Workspace) -> bool:
    """Whether people must sign in whatever is configured: it is set so, or somebody once did.

    A workspace that people signed in to is not open to everybody because a file with secrets
    was moved; only the setting ``sign_in`` opens it again.
    """
    if workspace.settings.sign_in != "auto":
        return workspace.settings.sign_in == "required"
    with workspace.database.read() as session:
        return people.anybody_signs_in(session)


def sign_in(workspace: Workspace, claims: Claims) -> Actor:
    """Let somebody in; who signs in for the first time becomes a person.

    A newcomer begins as administrator when ``admins`` names their verified address, or, where
    it names nobody, when nobody ever signed in before; otherwise with the role of newcomers.

    Returns:
        Them, with the role they have now.

    Raises:
        SignInRefused: They are not among the members, or signed out.
        Forbidden: They are switched off.
    """
    _check_member(workspace.settings, claims)
    with workspace.database.read() as session:
        found = _find(session, claims)
        if found is not None and found.signed_in_at >= claims.issued_at:
            return _actor(session, found, claims)
    with workspace.database.write(PEOPLE) as session:
        found = _find(session, claims)
        if found is None:
            found = _welcome(session, workspace.settings, claims)
        elif found.signed_in_at < claims.issued_at:
            _renew(session, found, claims)
        return _actor(session, found, claims)


def known(workspace: Workspace, claims: Claims) -> Actor:
    """Somebody who has signed in, with the role they have now. Writes nothing.

    Raises:
        SignInRefused: They have not, or signed out, or are not among the members.
        Forbidden: They are switched off.
    """
    _check_member(workspace.settings, claims)
    with workspace.database.read() as session:
        found = _find(session, claims)
        if found is None:
            raise SignInRefused("you are not signed in any more: load the page again")
        return _actor(session, found, claims)


def sign_out(workspace: Workspace, claims: Claims) -> None:
    """End a sign-in and the person's earlier ones: their cookies open nothing any more."""
    with workspace.database.write(PEOPLE) as session:
        found = _find(session, claims)
        if found is not None and (found.ended_at is None or found.ended_at < claims.issued_at):
            found.ended_at = claims.issued_at


def _find(session: Session, claims: Claims) -> Identity | None:
    return people.identity(session, claims.issuer, claims.subject)


def _actor(session: Session, identity: Identity, claims: Claims) -> Actor:
    if identity.ended_at is not None and claims.issued_at <= identity.ended_at:
        raise SignInRefused("you have signed out: sign in again")
    person = stored.one(session, Annotator, identity.annotator_id)
    if not person.active:
        raise Forbidden(switched_off(person.name))
    return Actor(person.name, person.role, person.id)


def _welcome(session: Session, settings: Settings, claims: Claims) -> Identity:
    """Make a person of somebody who was never here."""
    admins = _listed(settings.admins)
    if admins:
        begins_as_admin = claims.email_verified and _address(claims.email) in admins
    else:
        begins_as_admin = not people.anybody_signs_in(session)
    role = Role.ADMIN if begins_as_admin else settings.newcomers_role(signed_in=True)
    person = Annotator(name=_free_name(session, claims.name), role=role)
    stored.add(session, person)
    session.flush()
    identity = Identity(
        annotator_id=person.id,
        issuer=claims.issuer,
        subject=claims.subject,
        name=claims.name,
        email=claims.email,
        email_verified=claims.email_verified,
        signed_in_at=claims.issued_at,
    )
    stored.add(session, identity)
    with rights.acting(Actor(person.name, role, person.id)):
        audit_log.record(
            session, "sign-in.first", f"person {person.id}", role=role, name=person.name
        )
    session.flush()
    return identity


def _renew(session: Session, identity: Identity, claims: Claims) -> None:
    """Take over what the issuer says by now. The role stays what people here made it."""
    person = stored.one(session, Annotator, identity.annotator_id)
    if identity.name != claims.name:
        before, person.name = person.name, _free_name(session, claims.name, person.id)
        with rights.acting(Actor(person.name, person.role, person.id)):
            audit_log.record(
                session, "name", f"person {person.id}", before=before, name=person.name
            )
    identity.name = claims.name
    identity.email, identity.email_verified = claims.email, claims.email_verified
    identity.signed_in_at = claims.issued_at
    session.flush()


def _free_name(session: Session, name: str, person_id: int | None = None) -> str:
    """The name, with a number when somebody else has it or one that looks the same."""
    names = people.names(session)
    taken = {_folded(other) for id_, other in names.items() if id_ != person_id}
    number, free = 1, name
    while _folded(free) in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _folded(text: str | None) -> str:
    return unicodedata.normalize("NFKC", text or "").casefold().strip()


def _listed(setting: str) -> set[str]:
    return {_address(one) for one in setting.split(",") if one.strip()}


def _address(text: str | None) -> str:
    """An address to compare: only ASCII letters fold, so that no other sign passes for one."""
    text = (text or "").strip()
    return text.lower() if text.isascii() else text


def _check_member(settings: Settings, claims: Claims) -> None:
    members = _listed(settings.members)
    if not members:
        return
    address = _address(claims.email)
    domain = "@" + address.rpartition("@")[2]
    if not claims.email_verified or not address or not members & {address, domain}:
        raise SignInRefused(
            "your account is not among those that may use this: ask whoever runs it to add your "
            "address to CLSL_MEMBERS, or sign in with another account; the provider must have "
            "verified the address"
        )


def _name(found: Mapping[str, object]) -> str:
    """A name to show, out of what somebody may have chosen to mislead."""
    for claim in ("name", "preferred_username", "nickname", "email"):
        value = found.get(claim)
        if isinstance(value, str):
            shown = " ".join(legible(unicodedata.normalize("NFC", value), NAME_LENGTH).split())
            shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in shown)
            if any(sign.isalnum() for sign in shown):
                return shown
    return NAMELESS


def _is_address(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    return bool(local and at and domain) and len(text) <= 254 and text.isprintable()


def _issued_at(value: object, hours: float) -> datetime:
    moment = now()
    try:
        issued = datetime.fromtimestamp(float(str(value)), UTC)
    except (ValueError, OverflowError, OSError):
        raise SignInRefused("the provider does not say when you signed in: sign in again") from None
    if issued > moment + AHEAD:
        raise SignInRefused(
            "the provider's clock is ahead of this machine's: set both, then sign in again"
        )
    if moment - issued > timedelta(hours=hours):
        raise SignInRefused(f"you signed in more than {hours:g} hours ago: sign in again")
    return issued
