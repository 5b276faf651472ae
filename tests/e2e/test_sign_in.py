"""Signing in, in a real browser, with a real provider: who is let in, as whom, and who is not."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.services.access import audit_log, rights
from app.services.access.grants import Grant
from app.services.access.rights import Role
from app.services.people import people
from app.services.reviewing.history import history
from app.services.workspace import Workspace
from tests.builders import make_dataset, make_grant, make_proposals, make_workspace
from tests.e2e.conftest import REPOSITORY, StreamlitServer
from tests.oidc_provider import Provider

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.second_order("journeys in a browser")]

ADA = {"sub": "a-1", "name": "Ada *Lovelace*", "email": "ada@example.org", "email_verified": True}
BOB = {"sub": "b-2", "name": "Ada *Lovelace*", "email": "bob@example.org", "email_verified": True}
DOOR = "Sign in"


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Workspace]:
    """The data directory, seen from outside, with a dataset to review."""
    workspace = make_workspace(tmp_path / "data")
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    yield workspace
    workspace.close()


@pytest.fixture
def server(provider: Provider, stored: Workspace, tmp_path: Path) -> Iterator[StreamlitServer]:
    """The real program, where people must sign in."""
    environment = {"CLSL_DATA_DIR": str(stored.data_dir), "CLSL_WORKER": "false"}
    made = StreamlitServer(REPOSITORY / "streamlit_app.py", environment, tmp_path / "server.log")
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(provider.secrets_toml(made.url))
    made.options["secrets.files"] = str(secrets)
    made.start()
    yield made
    made.kill()


def at_the_door(page: Page) -> None:
    page.get_by_role("heading", name=DOOR).wait_for()
    assert page.get_by_role("link", name="Review").count() == 0
    assert page.get_by_label("Your name").count() == 0
    assert "set" not in page.locator("[data-testid=stMain]").inner_text().split()


def come_in(page: Page) -> None:
    page.get_by_role("button", name=DOOR, exact=True).click()
    page.get_by_text("Signed in as").wait_for()


def test_two_people_of_one_name_and_a_way_out(
    page: Page, browser: Browser, server: StreamlitServer, provider: Provider, stored: Workspace
) -> None:
    for path in ("", "review", "export", "team?annotator=ada", "jobs"):
        page.goto(f"{server.url}/{path}")
        at_the_door(page)

    provider.person = ADA
    come_in(page)
    page.get_by_text("Ada *Lovelace*", exact=True).wait_for()
    page.get_by_text("Role: admin").wait_for()
    page.get_by_role("link", name="Review", exact=True).click()
    page.locator("[data-part=review][data-state=card]").wait_for()
    page.get_by_role("button", name="it is there").wait_for()
    done = page.locator("[data-part=verdicts]")
    before = done.inner_text()
    for _ in range(100):
        page.keyboard.press("a")
        page.wait_for_timeout(50)
        if done.inner_text() != before:
            break
    page.locator("[data-part=statusText]", has_text="All saved").wait_for()
    (ada,) = people.everybody(stored)
    assert (ada.name, ada.subject, ada.email) == (ADA["name"], "a-1", "ada@example.org")
    assert history(stored, Grant(ada.id, 1)).entries

    provider.person = BOB
    others = browser.new_context()
    second = others.new_page()
    second.set_default_timeout(60_000)
    second.goto(server.url)
    at_the_door(second)
    come_in(second)
    second.get_by_text("Ada *Lovelace* (2)", exact=True).wait_for()
    second.get_by_text("Role: viewer").wait_for()
    found = people.everybody(stored)
    assert [(one.role, one.subject) for one in found] == [("admin", "a-1"), ("viewer", "b-2")]
    assert audit_log.events(stored.database)[0].action == "sign-in.first"

    # Switched off: the door closes with the next step, and a reload does not open it.
    with rights.acting(rights.Actor("test", Role.ADMIN)):
        people.switch(stored, "Ada *Lovelace* (2)", on=False)
    second.get_by_role("link", name="Models", exact=True).click()
    second.get_by_text("is switched off").wait_for()
    at_the_door(second)
    second.reload()
    second.get_by_text("is switched off").wait_for()
    others.close()

    # A copy of the cookie opens nothing once its owner has signed out.
    copied = page.context.cookies()
    page.get_by_role("button", name="Sign out").click()
    at_the_door(page)
    page.reload()
    at_the_door(page)
    thief = browser.new_context()
    thief.add_cookies(copied)
    third = thief.new_page()
    third.set_default_timeout(60_000)
    third.goto(server.url)
    third.get_by_text("you have signed out").wait_for()
    at_the_door(third)
    thief.close()


@pytest.mark.parametrize("fault", ["key", "aud", "azp", "nonce", "iss", "old", "none"])
def test_a_forged_token_lets_nobody_in(
    page: Page, server: StreamlitServer, provider: Provider, stored: Workspace, fault: str
) -> None:
    provider.person, provider.fault = ADA, fault
    page.goto(server.url)
    at_the_door(page)
    page.get_by_role("button", name=DOOR, exact=True).click()
    for _ in range(300):
        if provider.tokens:
            break
        page.wait_for_timeout(100)
    page.wait_for_url(f"{server.url}/")
    page.wait_for_timeout(1000)
    at_the_door(page)
    assert provider.tokens == 1
    assert people.everybody(stored) == []
    # The same person with a sound token is let in: it was the token.
    provider.fault = ""
    come_in(page)
    assert [one.subject for one in people.everybody(stored)] == ["a-1"]


def test_a_provider_that_is_gone_is_said(
    page: Page, server: StreamlitServer, provider: Provider
) -> None:
    provider.close()
    page.goto(server.url)
    at_the_door(page)
    page.get_by_role("button", name=DOOR, exact=True).click()
    page.get_by_text("cannot be reached").wait_for()
    at_the_door(page)


def test_the_routes_take_no_key_of_who_never_signed_in(
    server: StreamlitServer, stored: Workspace
) -> None:
    key = stored.access.issue(make_grant(stored, 1, "ada"))
    request = urllib.request.Request(f"{server.url}/api/categories", headers={"X-CLSL-Token": key})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    assert caught.value.code == 403
    assert "has not signed in" in json.loads(caught.value.read())["error"]
