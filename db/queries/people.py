"""People, how they sign in, and the tokens of their scripts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Annotator, ApiToken, Identity, Role


def by_name(session: Session, name: str) -> Annotator | None:
    """The annotator of that name, if there is one."""
    return session.scalar(select(Annotator).where(Annotator.name == name))


def everybody(session: Session) -> Sequence[Annotator]:
    """All people by name."""
    return session.scalars(select(Annotator).order_by(Annotator.name)).all()


def names(session: Session) -> dict[int, str]:
    """The names of all people by their ids."""
    rows = session.execute(select(Annotator.id, Annotator.name))
    return {id_: name for id_, name in rows}


def newest_identities(session: Session) -> dict[int, Identity]:
    """How people signed in last, by their ids; who never did is not there."""
    signed = session.scalars(select(Identity).order_by(Identity.signed_in_at))
    return {one.annotator_id: one for one in signed}


def identity(session: Session, issuer: str, subject: str) -> Identity | None:
    """The identity of a subject of an issuer."""
    query = select(Identity).where(Identity.issuer == issuer, Identity.subject == subject)
    return session.scalar(query)


def identities_of(session: Session, annotator_id: int) -> Sequence[Identity]:
    """All ways in which somebody signs in."""
    return session.scalars(select(Identity).where(Identity.annotator_id == annotator_id)).all()


def signs_in(session: Session, annotator_id: int) -> bool:
    """Whether somebody has ever signed in."""
    query = select(Identity.id).where(Identity.annotator_id == annotator_id).limit(1)
    return session.scalar(query) is not None


def anybody_signs_in(session: Session) -> bool:
    """Whether anybody has ever signed in."""
    return session.scalar(select(Identity.id).limit(1)) is not None


def another_administrator(session: Session, leaving_id: int) -> bool:
    """Whether there is an active administrator besides somebody.

    Where that one signs in, only those count who do, too.
    """
    query = select(Annotator.id).where(
        Annotator.role == Role.ADMIN, Annotator.active, Annotator.id != leaving_id
    )
    if signs_in(session, leaving_id):
        query = query.where(Annotator.id.in_(select(Identity.annotator_id)))
    return session.scalar(query.limit(1)) is not None


def tokens(session: Session) -> Sequence[tuple[ApiToken, str]]:
    """All tokens with the names of those they act for, the newest first."""
    query = select(ApiToken, Annotator.name).join(Annotator).order_by(ApiToken.id.desc())
    return [(row[0], row[1]) for row in session.execute(query)]


def token_by_digest(session: Session, digest: str) -> ApiToken | None:
    """The token whose hash this is."""
    return session.scalar(select(ApiToken).where(ApiToken.digest == digest))
