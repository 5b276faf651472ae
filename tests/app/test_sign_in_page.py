"""Where people must sign in, the door is closed until they have, whatever else is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit
from streamlit import config
from streamlit.testing.v1 import AppTest

from app import context
from app.services.access import rights
from app.services.access.rights import Role
from app.services.people import identities, people
from app.services.people.identities import read_claims
from app.services.workspace import Workspace
from db.types import now
from tests.app.test_pages import PAGES, texts
from tests.builders import make_dataset, make_proposals

pytest.importorskip("authlib", reason="Authlib is not installed")

MAIN = str(Path(__file__).parents[2] / "app" / "main.py")
AUTH: dict[str, Any] = {
    "redirect_uri": "http://localhost:8501/oauth2callback",
    "cookie_secret": "0123456789abcdef0123456789abcdef",
    "client_id": "clsl",
    "client_secret": "secret",
    "server_metadata_url": "http://localhost:1/.well-known/openid-configuration",
}


def user(sub: str = "1", name: str = "Ada", **more: object) -> dict[str, Any]:
    """What Streamlit's cookie holds of somebody."""
    return {
        "is_logged_in": True,
        "provider": "default",
        "iss": "https://issuer.example",
        "sub": sub,
        "aud": "clsl",
        "iat": int(now().timestamp()) - 60,
        "name": name,
        **more,
    }


@pytest.fixture(autouse=True)
def opened(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages see the test's workspace, with a dataset."""
    monkeypatch.setenv("CLSL_DATA_DIR", str(workspace.data_dir))
    make_proposals(workspace, make_dataset(workspace).dataset_id)
    context.open_workspace.cache_clear()
    yield
    context.open_workspace().close()
    context.open_workspace.cache_clear()


def draw(
    page: str = "datasets",
    auth: dict[str, Any] | None = None,
    person: dict[str, Any] | None = None,
) -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=30)
    app.session_state[context.ANNOTATOR_KEY] = "ada"
    if auth is not None:
        app.secrets["auth"] = auth
    app.user = person or {}
    app.run()
    if page != "datasets":
        app.switch_page(f"screens/{page}.py").run()
    assert not app.exception, app.exception
    return app


def closed(app: AppTest) -> str:
    """What the door says; nothing else is on the page."""
    assert [one.value for one in app.title] == ["Sign in"]
    assert not app.selectbox
    assert not app.text_input
    assert not app.sidebar.children
    return texts(app)


@pytest.mark.one_database
@pytest.mark.parametrize("page", PAGES)
def test_no_page_shows_anything_before(page: str) -> None:
    assert "people who sign in" in closed(draw(page, AUTH))


def test_who_signed_in_is_let_in_under_the_name_of_the_claims(workspace: Workspace) -> None:
    app = draw(auth=AUTH, person=user(name="<b>*Ada*</b>"))
    assert app.title[0].value != "Sign in"
    assert "<b>*Ada*</b>" in [one.value for one in app.sidebar.text]
    assert "Role: admin" in [one.value for one in app.sidebar.caption]
    assert not app.sidebar.text_input
    second = draw(auth=AUTH, person=user("2", "Bob"))
    assert "Role: viewer" in [one.value for one in second.sidebar.caption]
    assert [one.role for one in people.everybody(workspace)] == [Role.ADMIN, Role.VIEWER]


def test_out_again(workspace: Workspace) -> None:
    app = draw(auth=AUTH, person=user())
    app.button(key="sign-out").click().run()
    assert "people who sign in" in closed(draw(auth=AUTH))
    again = draw(auth=AUTH, person=user(iat=int(now().timestamp()) - 3600))
    assert "you have signed out" in closed(again)


@pytest.mark.one_database
@pytest.mark.parametrize("missing", AUTH)
def test_incomplete_secrets_open_nothing(missing: str) -> None:
    auth = {key: value for key, value in AUTH.items() if key != missing}
    for person in (None, user()):
        found = closed(draw(auth=auth, person=person))
        assert f"has no {missing}".replace("_", "\\_") in found


def test_no_authlib_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "authlib.integrations.starlette_client", None)
    assert "Authlib is not installed" in closed(draw(auth=AUTH, person=user()))


def test_secrets_that_cannot_be_read_open_nothing(tmp_path: Path) -> None:
    file = tmp_path / "secrets.toml"
    file.write_text("[auth\nredirect_uri = ")
    before = config.get_option("secrets.files")
    config.set_option("secrets.files", [str(file)])
    streamlit.secrets._reset()
    try:
        assert "cannot be read" in closed(draw(person=user()))
    finally:
        config.set_option("secrets.files", before)
        streamlit.secrets._reset()


def test_secrets_that_went_away_open_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    identities.sign_in(workspace, read_claims(user(), "clsl", 24))
    assert "no section" in closed(draw())
    context.open_workspace().close()
    context.open_workspace.cache_clear()
    monkeypatch.setenv("CLSL_SIGN_IN", "off")
    assert draw().sidebar.text_input[0].value == "ada"


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"aud": "other"}, "another program"),
        ({"iat": 1}, "hours ago"),
        ({"sub": ""}, "no usable claim"),
        ({"provider": "gone"}, "not configured any more"),
    ],
)
def test_claims_that_are_not_taken_open_nothing(changed: dict[str, Any], message: str) -> None:
    assert message in closed(draw(auth=AUTH, person=user(**changed)))


def test_an_unreachable_provider_is_said() -> None:
    app = draw(auth=AUTH)
    app.button(key="sign-in-default").click().run()
    assert "cannot be reached" in closed(app)


def test_switched_off_with_the_next_step(workspace: Workspace) -> None:
    draw(auth=AUTH, person=user())
    app = draw(auth=AUTH, person=user("2", "Bob"))
    people.switch(workspace, "Bob", on=False)
    app.run()
    assert "is switched off" in closed(app)


def _calls_back() -> None:
    import streamlit as st

    from app.services.access import rights

    def note() -> None:
        st.session_state["acted"] = (rights.current().name, str(rights.current().role))

    st.button("Act", on_click=note)


@pytest.mark.parametrize("signing_in", [True, False])
def test_a_callback_acts_as_the_person_and_never_as_the_program(
    workspace: Workspace, signing_in: bool
) -> None:
    people.set_role(workspace, "ada", "viewer")
    identity = read_claims(user("2", "Bob"), "clsl", 24)
    if signing_in:
        identities.sign_in(workspace, read_claims(user("1", "First"), "clsl", 24))
        identities.sign_in(workspace, identity)
    app = AppTest.from_function(_calls_back)
    app.session_state[context.ANNOTATOR_KEY] = "ada"
    if signing_in:
        app.secrets["auth"] = AUTH
        app.user = user("2", "Bob")
    app.run()
    app.button[0].click().run()
    assert app.session_state["acted"] == ("Bob" if signing_in else "ada", "viewer")
    assert rights.current() == rights.PROGRAM  # beside all pages
