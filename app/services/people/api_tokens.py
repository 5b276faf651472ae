"""Tokens for scripts: shown once, kept as a hash, revocable."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.services.access import audit_log, rights
from app.services.access.grants import AccessDenied, Grant
from app.services.access.rights import Right
from app.services.people.annotators import check_annotator
from app.services.workspace import Workspace
from clsl_core.errors import InputError, NotFoundError
from db.models import ApiToken
from db.queries import datasets, people, stored
from db.session import PEOPLE
from db.types import now

PREFIX = "clsl_"
USED_EVERY = timedelta(minutes=1)
"""How often the time of last use is written."""


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token as it is listed; nobody can read it back."""

    id: int
    name: str
    annotator: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


def create(workspace: Workspace, name: str, annotator: str, days: int | None = None) -> str:
    """Make a token with which a script acts as somebody who is known.

    Args:
        workspace: Where.
        name: What it is for.
        annotator: As whom the script acts; their role is the script's.
        days: After how many it ends by itself; None for never.

    Returns:
        The token. It is not kept, only its hash.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is nobody of that name.
        InputError: The name cannot be used, or the number of days.
    """
    rights.require(Right.MANAGE)
    if days is not None and not 1 <= days <= 3650:
        raise InputError(f"a token cannot end after {days} days: choose from 1 to 3650")
    token = PREFIX + secrets.token_urlsafe(32)
    ends = None if days is None else now() + timedelta(days=days)
    with workspace.database.write(PEOPLE) as session:
        person = people.by_name(session, annotator.strip())
        if person is None:
            raise NotFoundError(
                f"there is nobody called {annotator!r}: `clsl people role` makes them known"
            )
        made = ApiToken(
            name=check_annotator(name),
            annotator_id=person.id,
            digest=_digest(token),
            expires_at=ends,
        )
        stored.add(session, made)
        session.flush()
        audit_log.record(session, "token.create", f"token {made.id}", name=name, person=person.id)
    return token


def tokens(workspace: Workspace) -> list[TokenView]:
    """All tokens, the newest first."""
    with workspace.database.read() as session:
        return [
            TokenView(
                token.id,
                token.name,
                annotator,
                token.created_at,
                token.expires_at,
                token.last_used_at,
                token.revoked_at,
            )
            for token, annotator in people.tokens(session)
        ]


def revoke(workspace: Workspace, token_id: int) -> None:
    """End a token, at once and for good.

    Raises:
        Forbidden: Whoever acts is no administrator.
        NotFoundError: There is no such token.
    """
    rights.require(Right.MANAGE)
    with workspace.database.write(PEOPLE) as session:
        token = stored.find(session, ApiToken, token_id)
        if token is None:
            raise NotFoundError(f"there is no token {token_id}: `clsl token list` lists them")
        token.revoked_at = token.revoked_at or now()
        audit_log.record(session, "token.revoke", f"token {token_id}")


def check(workspace: Workspace, token: str, dataset: str) -> Grant:
    """What a script may do with a token on a dataset.

    Raises:
        AccessDenied: The token is unknown, revoked or over.
        NotFoundError: There is no such dataset.
    """
    moment = now()
    with workspace.database.read() as session:
        found = people.token_by_digest(session, _digest(token))
        over = found is not None and found.expires_at is not None and found.expires_at <= moment
        if found is None or found.revoked_at is not None or over:
            raise AccessDenied("the token is unknown, revoked or over: `clsl token create`")
        known = datasets.by_name(session, dataset)
        if known is None:
            raise NotFoundError("name a dataset there is in the header X-CLSL-Dataset")
        grant, used = Grant(found.annotator_id, known.id), found.last_used_at
    if used is None or moment - used > USED_EVERY:
        with workspace.database.write(PEOPLE) as session:
            stored.one(session, ApiToken, found.id).last_used_at = moment
    return grant


def _digest(token: str) -> str:
    """A token has 256 bits of chance: a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
