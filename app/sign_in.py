"""Signing in on the pages: what is configured, who has signed in, and the page for who has not.

Streamlit speaks with the provider and keeps a signed cookie (`st.login`); whom its claims make
of somebody is for the services.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from app.services.access.rights import Actor
from app.services.people import identities
from app.services.people.identities import Claims, SignInRefused
from app.services.people.providers import SECRETS, Provider, SetupError, providers
from app.services.workspace import Workspace


def needed(workspace: Workspace) -> bool:
    """Whether people must sign in: a provider is configured, however badly, or ever was."""
    if workspace.settings.sign_in == "off":
        return False
    try:
        if _section() is not None:
            return True
    except SetupError:
        return True
    return identities.required(workspace)


def configured() -> list[Provider]:
    """The providers that people can choose from.

    Raises:
        SetupError: Nobody can sign in as things are.
    """
    return providers(_section())


def arrive(workspace: Workspace) -> Actor | None:
    """Let in who has just signed in; None for who has not.

    Raises:
        SetupError: Nobody can sign in as things are.
        SignInRefused: The provider's answer is not taken.
        Forbidden: They are switched off.
    """
    claims = _claims(workspace)
    return None if claims is None else identities.sign_in(workspace, claims)


def present(workspace: Workspace) -> Actor:
    """Who is signed in, with the role they have at this moment.

    Raises:
        SetupError, SignInRefused: Nobody is.
        Forbidden: They are switched off.
    """
    claims = _claims(workspace)
    if claims is None:
        raise SignInRefused("you are not signed in: load the page again")
    return identities.known(workspace, claims)


def leave(workspace: Workspace) -> None:
    """End this sign-in and those before it, in every window and browser, at once."""
    with contextlib.suppress(SetupError, SignInRefused):  # it has ended by itself
        claims = _claims(workspace)
        if claims is not None:
            identities.sign_out(workspace, claims)


def signed_in() -> bool:
    """Whether there is anything to sign out of."""
    return bool(st.user.get("is_logged_in", False))


def _claims(workspace: Workspace) -> Claims | None:
    known = {provider.name: provider for provider in configured()}
    if not signed_in():
        return None
    found = st.user.to_dict()
    provider = known.get(str(found.get("provider", "")))
    if provider is None:
        raise SignInRefused(
            "you signed in with a provider that is not configured any more: sign out, then sign "
            "in with another one"
        )
    return identities.read_claims(found, provider.client_id, workspace.settings.sign_in_hours)


def _section() -> Mapping[str, object] | None:
    """The secrets' section ``[auth]``; None when there are no secrets, or none of that name.

    Raises:
        SetupError: There are secrets that cannot be read.
    """
    try:
        if "auth" not in st.secrets:
            return None
        section = st.secrets["auth"]
    except StreamlitSecretNotFoundError as error:
        files = [Path(one) for one in st.get_option("secrets.files")]
        if any(one.exists() for one in files):
            raise SetupError(
                f"{SECRETS} cannot be read, so nobody can sign in: {error}. Mend the file, then "
                "load the page again"
            ) from error
        return None
    if not isinstance(section, Mapping):
        raise SetupError(f"auth in {SECRETS} must be a section: see docs/how-to/sign-in.md")
    return section
