"""The section [auth] of the secrets: complete and safe, or a message that says what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from app.services.people.providers import Provider, SetupError, check_reachable, providers
from tests import oidc_provider

URL = "https://issuer.example/.well-known/openid-configuration"
COMMON = {
    "redirect_uri": "https://clsl.example/oauth2callback",
    "cookie_secret": "0123456789abcdef0123456789abcdef",
}
CLIENT = {"client_id": "id", "client_secret": "secret", "server_metadata_url": URL}
COMPLETE: dict[str, Any] = {**COMMON, **CLIENT}


@pytest.fixture
def server() -> Iterator[oidc_provider.Provider]:
    made = oidc_provider.Provider()
    yield made
    made.close()


def test_one_provider_or_several() -> None:
    pytest.importorskip("authlib", reason="Authlib is not installed")
    default = Provider("default", "id", URL)
    assert providers(COMPLETE) == [default]
    assert providers(COMPLETE | {"client_kwargs": {"prompt": "login"}}) == [default]
    named = providers({**COMMON, "google": CLIENT, "keycloak": CLIENT})
    assert [one.name for one in named] == ["google", "keycloak"]
    both = providers({**COMPLETE, "google": CLIENT})
    assert [one.name for one in both] == ["default", "google"]


@pytest.mark.parametrize("missing", COMPLETE)
@pytest.mark.parametrize("value", [None, "", "  ", 7])
def test_what_is_missing_is_named(missing: str, value: object) -> None:
    with pytest.raises(SetupError, match=f"has no {missing}"):
        providers(COMPLETE | {missing: value})
    left = {key: one for key, one in COMPLETE.items() if key != missing}
    with pytest.raises(SetupError, match=f"has no {missing}"):
        providers(left)


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (None, "no section"),
        ({}, "has no redirect_uri"),
        (COMMON, "has no client_id"),
        ({**COMMON, "google": {"client_id": "x"}}, r"\[auth.google\] .* has no client_secret"),
        ({**COMMON, "my_own": CLIENT}, "without underscores"),
        (COMPLETE | {"redirect_uri": "https://clsl.example/"}, "must end in /oauth2callback"),
        (COMPLETE | {"redirect_uri": "http://clsl.example/oauth2callback"}, "https://"),
        (COMPLETE | {"redirect_uri": "http://localhost.evil/oauth2callback"}, "https://"),
        (COMPLETE | {"server_metadata_url": "http://issuer.example/x"}, "https://"),
        (COMPLETE | {"server_metadata_url": "file:///etc/passwd"}, "https://"),
        (COMPLETE | {"server_metadata_url": "https://[x"}, "https://"),
        (COMPLETE | {"cookie_secret": "xxx"}, "too short"),
    ],
)
def test_what_cannot_be_is_said(auth: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        providers(auth)


def test_no_authlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "authlib.integrations.starlette_client", None)
    with pytest.raises(SetupError, match=r"pip install 'clsl\[oidc\]'"):
        providers(COMPLETE)


def test_a_provider_answers_or_not(server: oidc_provider.Provider) -> None:
    check_reachable(Provider("default", "id", server.metadata_url))
    for path, message in (("/keys", "does not name its issuer"), ("/nothing", "answers 404")):
        with pytest.raises(SetupError, match=message):
            check_reachable(Provider("default", "id", server.issuer + path))
    address = server.metadata_url
    server.close()
    with pytest.raises(SetupError, match="cannot be reached"):
        check_reachable(Provider("default", "id", address), patience=2)
