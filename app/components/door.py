"""The page for who has not signed in, and the way out for who has."""

from __future__ import annotations

import streamlit as st

from app import sign_in
from app.context import open_workspace, plain, show_error
from app.services.access.rights import Actor
from app.services.people.providers import DEFAULT, SetupError, check_reachable
from clsl_core.errors import ClslError


def closed_door(error: ClslError | None) -> None:
    """All that somebody sees who is not let in.

    Args:
        error: Why not; None for somebody who has just come.
    """
    st.title("Sign in")
    if error is not None:
        show_error(error)
    try:
        choices = sign_in.configured()
    except SetupError as found:
        if error is None:
            show_error(found)
        return
    st.write("This collection is for people who sign in.")
    for provider in choices:
        label = "Sign in" if provider.name == DEFAULT else f"Sign in with {plain(provider.name)}"
        if st.button(label, type="primary", key=f"sign-in-{provider.name}"):
            try:
                check_reachable(provider)
            except SetupError as found:
                show_error(found)
            else:
                st.login(None if provider.name == DEFAULT else provider.name)
    if sign_in.signed_in():
        sign_out()
    st.caption("Back here without having signed in? The program's log says why.")


def who_is_here(actor: Actor) -> None:
    """The name at the side, and the way out."""
    st.caption("Signed in as")
    st.text(actor.name)
    st.caption(f"Role: {actor.role}")
    sign_out()


def sign_out() -> None:
    """The button that ends a sign-in, here and, where it can be asked to, at the provider."""
    if st.button("Sign out", key="sign-out", icon=":material/logout:"):
        sign_in.leave(open_workspace())
        st.session_state.clear()
        st.logout()
